"""Small networks of the kinds that fast kernels get wrong or do not take, and ways to go wrong."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn
from torch.func import functional_call, hessian, vmap
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence


class Case(NamedTuple):
    """How to make a network, and N inputs."""

    make: Callable[[], nn.Module]
    inputs: Callable[[int], torch.Tensor]


def vectors(size):
    return lambda n: torch.randn(n, size, dtype=torch.float64)


def sequences(n):
    return torch.randn(n, 5, 4, dtype=torch.float64)


def images(n):
    return torch.randn(n, 1, 5, 5, dtype=torch.float64)


def tokens(n):
    """Numbers 1 to 8, padded by 0 to different lengths."""
    ids = torch.randint(1, 9, (n, 5))
    for row in range(n):
        ids[row, 2 + row % 4 :] = 0
    return ids


def tanh_mlp(inputs, outputs, width=6):
    return nn.Sequential(nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, outputs))


def slope(values, x):
    """Gradient of every row's value by that row."""
    return torch.autograd.grad(values.sum(), x, create_graph=True)[0]


class Net(nn.Module):
    """Layers by name, and a forward pass that is a function of the network and x."""

    def __init__(self, forward, **layers):
        super().__init__()
        self._run = forward
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, *x):
        return self._run(self, *x)


def differentiated(body, combine):
    """combine(x, u(x)) with an x that takes gradients."""

    def forward(net, x):
        x = x.detach().requires_grad_()
        return combine(x, net.body(x))

    return Net(forward, body=body)


def burgers(x, u):
    g = slope(u, x)
    return g[:, 1:] + u * g[:, :1] - 0.1 * slope(g[:, 0], x)[:, :1]


def hamiltonian_field(x, energy):
    q, p = slope(energy, x).chunk(2, dim=1)
    return torch.cat([p, -q], dim=1)


def laplacian(net, x):
    weights = dict(net.body.named_parameters())

    def of_row(row):
        curvature = hessian(lambda r: functional_call(net.body, weights, (r[None],))[0, 0])(row)
        return curvature.trace()[None]

    return vmap(of_row)(x)


def reordered(there, back):
    """Rows in another order between two layers; every row's output is its own."""

    def forward(net, x):
        order = there(x)
        return net.b(
            torch.tanh(net.a(order(x))) if back is None else back(x)(net.a(order(x))).tanh()
        )

    return Net(forward, a=nn.Linear(4, 5), b=nn.Linear(5, 2))


def by_first_entry(x):
    order = x[:, 0].argsort()
    return lambda h: h[order]


def from_first_entry(x):
    order = x[:, 0].argsort().argsort()
    return lambda h: h[order]


def flipping(x):
    return lambda h: h.flip(0)


def halves_exchanged(x):
    half = len(x) // 2
    return lambda h: torch.cat([h[half:], h[:half]])


def halves_put_back(x):
    half = len(x) - len(x) // 2
    return lambda h: torch.cat([h[half:], h[:half]])


def permutation(x):
    return F.one_hot(x[:, 0].argsort(), len(x)).to(x)


def times_permutation(x):
    return lambda h: permutation(x) @ h


def times_its_transpose(x):
    return lambda h: permutation(x).T @ h


def experts(net, x):
    share, chosen = net.gate(x).softmax(1).max(1)
    out = x.new_zeros(len(x), 2)
    for index, expert in enumerate(net.experts):
        rows = (chosen == index).nonzero().flatten()
        out = out.index_add(0, rows, expert(x[rows]) * share[rows, None])
    return out


def assigned_experts(net, x):
    chosen, out = net.gate(x).argmax(1), x.new_zeros(len(x), 2)
    for index, expert in enumerate(net.experts):
        if (chosen == index).any():
            out[chosen == index] = expert(x[chosen == index])
    return out


def of_experts(forward):
    return Net(forward, gate=nn.Linear(4, 2), experts=nn.ModuleList(tanh_mlp(4, 2) for _ in "ab"))


def frozen_backbone(net, x):
    with torch.no_grad():
        h = net.a(x).tanh()
    return net.b(h)


class Clamp(torch.autograd.Function):
    """ReLU, as functions were written before torch.func."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, gradient):
        return gradient * (ctx.saved_tensors[0] > 0)


class Reversed(torch.autograd.Function):
    """The identity, with the gradient's sign changed."""

    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return -gradient


def recurrent(kind, **options):
    def forward(net, x):
        return net.read(net.body(x)[0][:, -1])

    return Net(forward, body=kind(4, 3, batch_first=True, **options), read=nn.Linear(3, 2))


def packed(net, ids):
    lengths = (ids != 0).sum(1).cpu()
    h = pack_padded_sequence(net.embed(ids), lengths, batch_first=True, enforce_sorted=False)
    return net.read(net.body(h)[1][0][0])


def unrolled(net, x):
    state = None
    for step in x.unbind(1):
        state = net.cell(step, state)
    return net.read(state[0])


def masked_mean(net, ids):
    padding = ids == 0
    h = net.body(net.embed(ids), src_key_padding_mask=padding)
    return net.read((h * ~padding[..., None]).sum(1) / (~padding).sum(1, keepdim=True))


def encoder(**options):
    return nn.TransformerEncoderLayer(4, 2, 6, dropout=0.0, **options)


def shrinking(net, x):
    while x.abs().max() > 0.5:
        x = 0.7 * net.a(x).tanh()
    return net.b(x)


def early_exit(net, x):
    rows = [net.b(row.tanh()) if row[0].item() > 0 else net.b(net.a(row).tanh()) for row in x]
    return torch.stack(rows)


def doubled_gradient(net, x):
    h = net.a(x)
    if h.requires_grad:
        h.register_hook(lambda gradient: 2 * gradient)
    return net.b(h.tanh())


def clipped_gradient(net, x):
    h = net.a(x)
    if h.requires_grad:
        h.register_hook(lambda gradient: gradient.clamp(-0.1, 0.1))
    return net.b(h.tanh())


def aliased():
    """A weight that also stands in a plain list, where nothing can put another in its place."""
    net = Net(
        lambda net, x: net.b(net.a(x).tanh() @ net.plain[0]), a=nn.Linear(4, 5), b=nn.Linear(5, 2)
    )
    net.middle = nn.Parameter(torch.randn(5, 5, dtype=torch.float64))
    net.plain = [net.middle]
    return net


def overwritten(net, x):
    h = net.a(x)
    h[:, 0] = 0.3
    h.mul_(x[:, :1]).tanh_()
    return net.b(h)


def hooked():
    net = nn.Sequential(
        nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(4, 2)
    )
    net[2].register_full_backward_hook(lambda layer, into, out: None)
    return net


def two(forward, width=5):
    return Net(forward, a=nn.Linear(4, width), b=nn.Linear(width, 2))


def lora(net, x):
    return net.b((net.a(x) + net.up(net.down(x))).tanh())


def lora_network():
    net = Net(lora, a=nn.Linear(4, 5), b=nn.Linear(5, 2), down=nn.Linear(4, 2, bias=False),
              up=nn.Linear(2, 5, bias=False))  # fmt: skip
    net.a.requires_grad_(False)
    return net


def build(case, n=4, seed=0):
    """Network in float64 and evaluation mode, and its inputs."""
    torch.manual_seed(seed)
    network = case.make().double().eval()
    return network, case.inputs(n)


def plain_jacobian(network, x):
    """Gradients (N, O, P) by name: one backward pass per row and output of the network as it is."""
    named = {name: p for name, p in network.named_parameters() if p.requires_grad}
    rows = []
    for row in zip(*x, strict=True) if isinstance(x, tuple) else zip(x, strict=True):
        outputs = network(*(part[None].clone() for part in row)).reshape(-1)
        rows.append([plain_gradient(output, named) for output in outputs])
    return {
        name: torch.stack([torch.stack([each[name] for each in row]) for row in rows])
        for name in named
    }


def plain_gradient(output, named):
    found = torch.autograd.grad(output, list(named.values()), retain_graph=True, allow_unused=True)
    return {
        name: torch.zeros(p.numel(), dtype=p.dtype) if g is None else g.to_dense().flatten()
        for (name, p), g in zip(named.items(), found, strict=True)
    }


def plain_kernels(network, x1, x2):
    """Block kernel (O, O, N1, N2) of every parameter."""
    left, right = plain_jacobian(network, x1), plain_jacobian(network, x2)
    return {name: torch.einsum("nop,mqp->oqnm", left[name], right[name]) for name in left}


class Broken(torch.autograd.Function):
    """A copy whose backward pass raises an error of two lines."""

    @staticmethod
    def forward(ctx, x):
        return x * 1

    @staticmethod
    def backward(ctx, gradient):
        raise RuntimeError("no derivative\nis known")
