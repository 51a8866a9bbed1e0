"""Which networks fast kernels get wrong or do not take, and which must be refused."""

import torch
from never_wrong_networks import (
    Case,
    Clamp,
    Net,
    Reversed,
    aliased,
    assigned_experts,
    burgers,
    by_first_entry,
    clipped_gradient,
    differentiated,
    doubled_gradient,
    early_exit,
    encoder,
    experts,
    flipping,
    from_first_entry,
    frozen_backbone,
    halves_exchanged,
    halves_put_back,
    hamiltonian_field,
    hooked,
    images,
    laplacian,
    lora_network,
    masked_mean,
    of_experts,
    overwritten,
    packed,
    recurrent,
    reordered,
    sequences,
    shrinking,
    slope,
    tanh_mlp,
    times_its_transpose,
    times_permutation,
    tokens,
    two,
    unrolled,
    vectors,
)
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from ntkflow.networks import mlp


def on_vectors(forward, **options):
    return Case(lambda: two(forward, **options), vectors(4))


def of_slopes(inputs, combine):
    """A scalar network that is differentiated by its input."""
    return Case(lambda: differentiated(tanh_mlp(inputs, 1), combine), vectors(inputs))


def moved(there, back):
    return Case(lambda: reordered(there, back), vectors(4))


def nested(net, x):
    return net.b(checkpoint(net.a, x[:, None], use_reentrant=False).flatten(1))


def recomputed(net, x):
    return net.b(checkpoint(lambda h: net.a(h).tanh(), x, use_reentrant=False))


CASES = {
    "prelu": Case(lambda: nn.Sequential(nn.Linear(4, 5), nn.PReLU(), nn.Linear(5, 4)), vectors(4)),
    "prelu, weights in prelu": Case(lambda: nn.Sequential(nn.PReLU(5)), vectors(5)),
    "cdist": Case(
        lambda: Net(
            lambda net, x: net.b((-torch.cdist(x, net.a.weight)).exp()),
            a=nn.Linear(3, 5),
            b=nn.Linear(5, 2),
        ),
        vectors(3),
    ),
    "input in place": Case(
        lambda: Net(lambda net, x: net.body(x.sub_(0.5).div_(0.25)), body=tanh_mlp(4, 2)),
        vectors(4),
    ),
    "burgers": of_slopes(2, burgers),
    "force": of_slopes(2, lambda x, e: -slope(e, x)),
    "energy and force": of_slopes(2, lambda x, e: torch.cat([e, -slope(e, x)], 1)),
    "hamiltonian": of_slopes(4, hamiltonian_field),
    "hamiltonian, dense": Case(
        lambda: differentiated(mlp(4, [6], 1, activation="erf", sigma_b=0.3), hamiltonian_field),
        vectors(4),
    ),
    "gradient penalty": Case(
        lambda: differentiated(
            tanh_mlp(4, 1), lambda x, u: slope(u, x).square().sum(1, keepdim=True)
        ),
        vectors(4),
    ),
    "force on an image": Case(
        lambda: differentiated(
            nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(18, 1)),
            lambda x, e: slope(e, x)[:, 0, 1:3, 2],
        ),
        images,
    ),
    "laplacian by torch.func": Case(lambda: Net(laplacian, body=tanh_mlp(2, 1)), vectors(2)),
    "sorted": moved(by_first_entry, from_first_entry),
    "flipped": moved(flipping, flipping),
    "halves exchanged": moved(halves_exchanged, halves_put_back),
    "permutation matrix": Case(
        lambda: reordered(times_permutation, times_its_transpose), vectors(4)
    ),
    "experts": Case(lambda: of_experts(experts), vectors(4)),
    "experts by assignment": Case(lambda: of_experts(assigned_experts), vectors(4)),
    "no_grad": on_vectors(frozen_backbone),
    "detached": on_vectors(lambda net, x: net.b(net.a(x).tanh().detach())),
    "checkpoint": on_vectors(recomputed),
    "checkpoint of a convolution": Case(
        lambda: Net(
            nested,
            a=nn.Sequential(nn.Conv1d(1, 3, 3), nn.Tanh()),
            b=nn.Linear(6, 2),
        ),
        vectors(4),
    ),
    "function": on_vectors(lambda net, x: net.b(Clamp.apply(net.a(x)))),
    "gradient reversed": on_vectors(lambda net, x: net.b(Reversed.apply(net.a(x)).tanh())),
    "rounded": on_vectors(lambda net, x: net.b((h := net.a(x)) + (h.round() - h).detach())),
    "gradient doubled": on_vectors(doubled_gradient),
    "gradient clipped": on_vectors(clipped_gradient),
    "backward hook": Case(hooked, vectors(4)),
    "gru": Case(lambda: recurrent(nn.GRU), sequences),
    "lstm": Case(lambda: recurrent(nn.LSTM), sequences),
    "rnn": Case(lambda: recurrent(nn.RNN, num_layers=2), sequences),
    "lstm cell": Case(
        lambda: Net(unrolled, cell=nn.LSTMCell(4, 3), read=nn.Linear(3, 2)), sequences
    ),
    "packed": Case(
        lambda: Net(
            packed,
            embed=nn.Embedding(9, 4, padding_idx=0),
            body=nn.LSTM(4, 3, batch_first=True),
            read=nn.Linear(3, 2),
        ),
        tokens,
    ),
    "padding mask": Case(
        lambda: Net(
            masked_mean,
            embed=nn.Embedding(9, 4),
            body=encoder(batch_first=True),
            read=nn.Linear(4, 2),
        ),
        tokens,
    ),
    "sequence first": Case(
        lambda: Net(
            lambda net, x: net.read(net.body(x.transpose(0, 1)).mean(0)),
            body=encoder(),
            read=nn.Linear(4, 2),
        ),
        sequences,
    ),
    "sparse embedding": Case(
        lambda: Net(
            lambda net, ids: net.read(net.embed(ids).mean(1)),
            embed=nn.Embedding(9, 4, sparse=True),
            read=nn.Linear(4, 2),
        ),
        tokens,
    ),
    "bag": Case(lambda: nn.Sequential(nn.EmbeddingBag(9, 4), nn.Tanh(), nn.Linear(4, 2)), tokens),
    "early exit": on_vectors(early_exit, width=4),
    "fourier": on_vectors(lambda net, x: net.b(torch.fft.fft(net.a(x)).abs())),
    "alias": Case(aliased, vectors(4)),
    "hidden in place": on_vectors(overwritten),
    "normalised weights": Case(
        lambda: nn.Sequential(
            parametrizations.weight_norm(nn.Linear(4, 5)), nn.ReLU(), nn.Linear(5, 2)
        ),
        vectors(4),
    ),
    "orthogonal": Case(
        lambda: nn.Sequential(
            parametrizations.orthogonal(nn.Linear(4, 4)), nn.Tanh(), nn.Linear(4, 2)
        ),
        vectors(4),
    ),
    "lora": Case(lora_network, vectors(4)),
    "squeezed": Case(
        lambda: Net(lambda net, x: net.body(x).squeeze(), body=tanh_mlp(4, 1)), vectors(4)
    ),
}

# Rows interact, or come back in another order.
INTERACTING = {
    "batch_first": Case(
        lambda: Net(
            lambda net, x: net.read(net.body(x).mean(1)), body=encoder(), read=nn.Linear(4, 2)
        ),
        sequences,
    ),
    "recurrent over rows": Case(
        lambda: Net(
            lambda net, x: net.read(net.body(x)[0].mean(1)),
            body=nn.LSTM(4, 3),
            read=nn.Linear(3, 2),
        ),
        sequences,
    ),
    "centred": on_vectors(lambda net, x: net.b(net.a(x)) - net.b(net.a(x)).mean(0)),
    "own statistics": on_vectors(
        lambda net, x: net.b((h := net.a(x)) / (1 + h.var(0, correction=0)).sqrt())
    ),
    "needs several rows": on_vectors(
        lambda net, x: net.b(F.batch_norm(net.a(x), None, None, training=True))
    ),
    "softmax over rows": on_vectors(lambda net, x: net.b(net.a(x).softmax(0))),
    "while": on_vectors(shrinking, width=4),
    "cumulative": on_vectors(lambda net, x: net.b(net.a(x).cumsum(0))),
    "share of the batch": on_vectors(lambda net, x: net.b(net.a(x).tanh()) / len(x)),
    "largest input": on_vectors(lambda net, x: net.b(net.a(x / x.abs().max()).tanh())),
    "outputs sorted": on_vectors(lambda net, x: by_first_entry(x)(net.b(net.a(x).tanh()))),
    "outputs flipped": on_vectors(lambda net, x: net.b(net.a(x).tanh()).flip(0)),
    "outputs shifted": on_vectors(lambda net, x: net.b(net.a(x).tanh()).roll(1, 0)),
}
