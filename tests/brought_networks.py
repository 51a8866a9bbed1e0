"""Small networks as people write them by hand: state, parameters in odd places, odd operations."""

import torch
from never_wrong_networks import Net
from torch import nn
from torch.func import grad, jacrev, jvp, vmap
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

EDGES = torch.tensor([[0, 1, 2, 3, 4, 0], [1, 2, 3, 4, 0, 2]])


def own(*shape, dtype=torch.float32):
    return nn.Parameter(torch.randn(shape, dtype=dtype) / 2)


def vectors(n):
    return torch.randn(n, 4, dtype=torch.float64)


def sequences(n):
    return torch.randn(n, 5, 4, dtype=torch.float64)


def images(n):
    return torch.randn(n, 2, 6, 6, dtype=torch.float64)


def ids(n):
    return torch.randint(0, 7, (n, 5))


def two_layers(forward, width=3, **more):
    """Layers `a` and `b` of vectors of four numbers, and what else the forward pass has."""
    return Net(forward, a=nn.Linear(4, width), b=nn.Linear(width, 2), **more)


def state_from_none(net, x):
    h = net.a(x).tanh()
    h = h if net.state is None else h + net.state.mean(0)
    net.state = h.detach()
    return net.b(h)


def counting(net, x):
    net.state += 1
    return net.b((net.a(x) * net.state).tanh())


def appending(net, x):
    net.state["calls"].append(len(x))
    return net.b((net.a(x) * len(net.state["calls"])).tanh())


def adding_in_place(net, x):
    net.state.add_(0.5)
    return net.b((net.a(x) + net.state).tanh())


def caching_keys(net, x):
    keys = net.a(x).detach()
    net.state = keys if net.state is None else torch.cat([net.state, keys], 1)
    return net.b((net.q(x) @ net.state.mT).softmax(-1) @ net.state)[:, -1]


def of_state(forward, state, **more):
    return two_layers(forward, state=state, **more)


def hooked_weight(hook):
    network = two_layers(lambda net, x: net.b(net.a(x).tanh()))
    network.a.weight.register_hook(hook)
    return network


def masked(gradient):
    return gradient * (torch.arange(gradient.numel()) % 2).view_as(gradient)


def spectral(net, x):
    return net.b(torch.fft.irfft(torch.fft.rfft(net.a(x)) * net.w, n=6).tanh())


def complex_matrix(net, x):
    z = x.to(net.w.dtype) @ net.w
    return net.b(torch.cat([z.real, z.imag], 1).tanh())


def circulant(net, x):
    w = torch.view_as_complex(net.w)
    return net.b(torch.fft.irfft(torch.fft.rfft(x, dim=1) * w, n=5, dim=1).tanh().mean(1))


def fitted_first(net, x):
    """One step of descent on every row on its own, then the outputs."""

    def of_row(row):
        w = net.w - 0.3 * grad(lambda w: (row @ w).tanh().square().sum())(net.w)
        return (row @ w).tanh() @ net.v

    return vmap(of_row)(x)


def with_divergence(net, x):
    return vmap(lambda row: torch.cat([net.f(row), jacrev(net.f)(row).trace()[None]]))(x)


def on_edges(net, x):
    """Messages of all rows in one table of nodes."""
    nodes, count = x.reshape(-1, 4), len(x)
    source, target = ((EDGES[:, None] + 5 * torch.arange(count)[:, None]).flatten(1)).unbind(0)
    messages = net.a(nodes[source]).tanh()
    met = messages.new_zeros(len(nodes), 3).index_add(0, target, messages)
    rows = torch.arange(count).repeat_interleave(5)
    return net.b(met.new_zeros(count, 3).index_add(0, rows, net.u(met + net.a(nodes)).tanh()))


def masked_places(net, x):
    h = net.a(x).clone()
    h[x[..., 0] > 0] = net.t
    h[:, 0] += net.u
    return net.b(h.tanh().sum(1))


def solved(net, x):
    return torch.linalg.solve(3 * torch.eye(4, dtype=x.dtype) + net.w, x.mT).mT.tanh()


def spline(net, x):
    t = x.clamp(-1.99, 1.99) + 2
    i = t.floor().long()
    low, high = (net.c[torch.arange(4), :, k] for k in (i, i + 1))
    share = (t - i)[..., None]
    return net.b(((1 - share) * low + share * high).sum(1).tanh())


def quantised(net, x):
    h = net.a(x)
    q = net.c[(h[:, None] - net.c).square().sum(-1).argmin(1)]
    return net.b(h + (q - h).detach() + 0.1 * (q - h.detach()).square())


def scanned(net, x):
    step, enters, leaves = F.softplus(net.d(x)), net.e(x), net.l(x)
    h, found = x.new_zeros(len(x), 4, 3), []
    for t in range(x.shape[1]):
        h = torch.exp(-step[:, t, :, None] * net.s.exp()) * h
        h = h + (step[:, t] * x[:, t])[..., None] * enters[:, t, None]
        found.append((h * leaves[:, t, None]).sum(-1))
    return net.b(torch.stack(found, 1).mean(1))


def transported(net, x):
    scores = net.a(x) @ net.k(x).mT
    for _ in range(3):
        scores = scores - scores.logsumexp(2, keepdim=True)
        scores = scores - scores.logsumexp(1, keepdim=True)
    return net.b((scores.exp() @ x).tanh().sum(1))


def top_two(net, x):
    h = net.a(x)
    values, chosen = h.topk(2, 1)
    spread = torch.zeros_like(h).scatter(1, chosen, values.softmax(1))
    return net.b(spread) + h.sort(1)[0][:, :2] + h.median(1)[0][:, None]


def agreeing(net, x):
    votes = torch.einsum("nd,ide->nie", x, net.w).unflatten(2, (2, 4))
    scores = votes.new_zeros(votes.shape[:3])
    for _ in range(2):
        found = (scores.softmax(2)[..., None] * votes).sum(1)
        found = found / (1 + found.norm(dim=-1, keepdim=True))
        scores = scores + (votes.detach() * found[:, None]).sum(-1)
    return found.norm(dim=-1)


def recomputed_in_turn(net, x):
    for layer in net.layers:
        x = checkpoint(lambda h, layer=layer: layer(h).tanh() + h, x, use_reentrant=False)
    return net.b(x)


def warped(net, x):
    moved = net.a(x.flatten(1)).tanh().view(-1, 2, 3) + torch.eye(2, 3, dtype=x.dtype)
    places = F.affine_grid(moved, x.shape, align_corners=False)
    return net.b(F.grid_sample(x, places, align_corners=False).flatten(1))


def on_patches(net, x):
    patches = x.unfold(2, 3, 3).unfold(3, 3, 3).permute(0, 2, 3, 1, 4, 5).reshape(-1, 2, 3, 3)
    return net.b(net.c(patches).tanh().view(len(x), -1))


def attended(net, x):
    return net.m(x, x[..., :3], x[..., :2], need_weights=False)[0].sum(1)[:, :2]


def queried(net, x):
    return net.b(net.m(net.q.expand(len(x), -1, -1), x, x)[0].flatten(1))


def log_densities(net, x):
    mixture = torch.distributions.Categorical(logits=net.a(x))
    parts = torch.distributions.Normal(net.m(x), net.s.exp())
    return torch.distributions.MixtureSameFamily(mixture, parts).log_prob(x[:, 0])[:, None]


def odd_parameters(net, x):
    pairs = zip(net.ws, net.vs.values(), strict=True)
    return sum(w * (x @ v) * net.t for w, v in pairs)[:, :2] / net.t.exp()


COMPLEX = torch.complex64
ATTENTION = dict(kdim=3, vdim=2, batch_first=True, add_bias_kv=True, add_zero_attn=True)

# What must be right, by name: how to make it, and its inputs.
NETWORKS = {
    "state from none": (lambda: of_state(state_from_none, None), vectors),
    "counter": (lambda: of_state(counting, 0), vectors),
    "list in a dictionary": (lambda: of_state(appending, {"calls": []}), vectors),
    "tensor in place": (lambda: of_state(adding_in_place, torch.zeros(3)), vectors),
    "cache of keys": (lambda: of_state(caching_keys, None, q=nn.Linear(4, 3)), sequences),
    "masked gradient": (lambda: hooked_weight(masked), vectors),
    "watched gradient": (lambda: hooked_weight(lambda gradient: None), vectors),
    "complex filter": (
        lambda: Net(spectral, a=nn.Linear(4, 6), w=own(4, dtype=COMPLEX), b=nn.Linear(6, 2)),
        vectors,
    ),
    "complex matrix": (
        lambda: Net(complex_matrix, w=own(4, 3, dtype=COMPLEX), b=nn.Linear(6, 2)),
        vectors,
    ),
    "filter of pairs": (lambda: Net(circulant, w=own(3, 4, 2), b=nn.Linear(4, 2)), sequences),
    "low rank": (
        lambda: Net(
            lambda net, x: (x @ (net.u @ net.v)).tanh()[:, :2] + net.c.square().sum(),
            u=own(4, 2), v=own(2, 5), c=own(3),
        ),
        vectors,
    ),
    "weights of exponentials": (
        lambda: Net(
            lambda net, x: (x @ net.w.softmax(0)).tanh() @ net.v.exp(), w=own(4, 5), v=own(5, 2)
        ),
        vectors,
    ),
    "either parameter": (
        lambda: Net(
            lambda net, x: net.b(torch.where(x > 0, net.p * x, net.q * x).tanh()),
            p=own(4), q=own(4), b=nn.Linear(4, 2),
        ),
        vectors,
    ),
    "gates by index": (
        lambda: Net(
            lambda net, x: net.b((net.t[x] * net.g[x % 3][..., None]).tanh().sum(1)),
            t=own(7, 3), g=own(3), b=nn.Linear(3, 2),
        ),
        ids,
    ),
    "bilinear": (
        lambda: Net(
            lambda net, x: net.b(net.a(x, x.flip(1)).tanh()),
            a=nn.Bilinear(4, 4, 5), b=nn.Linear(5, 2),
        ),
        vectors,
    ),
    "attention of other keys": (
        lambda: Net(attended, m=nn.MultiheadAttention(4, 2, **ATTENTION)), sequences
    ),
    "queries of its own": (
        lambda: Net(
            queried, q=own(1, 2, 4), m=nn.MultiheadAttention(4, 1, batch_first=True),
            b=nn.Linear(8, 2),
        ),
        sequences,
    ),
    "circular filters": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), nn.Tanh(),
            nn.Conv2d(3, 2, 3, padding=2, padding_mode="reflect", dilation=2),
            nn.AdaptiveMaxPool2d(1), nn.Flatten(),
        ),
        images,
    ),
    "transposed groups": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3, stride=2), nn.Tanh(),
            nn.ConvTranspose2d(4, 4, 3, stride=2, output_padding=1, groups=2),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        ),
        images,
    ),
    "groups with multipliers": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 6, 3, groups=2), nn.Tanh(), nn.Conv2d(6, 4, 2, 2, groups=2), nn.Flatten()
        ),
        images,
    ),
    "groups on patches": (
        lambda: Net(on_patches, c=nn.Conv2d(2, 6, 2, groups=2), b=nn.Linear(96, 2)), images
    ),
    "warped image": (lambda: Net(warped, a=nn.Linear(72, 6), b=nn.Linear(72, 2)), images),
    "untied filters": (
        lambda: Net(
            lambda net, x: torch.einsum("ncp,pco->no", F.unfold(x, 3, stride=3), net.w).tanh(),
            w=own(4, 18, 2),
        ),
        images,
    ),
    "edges": (lambda: two_layers(on_edges, u=nn.Linear(3, 3)), sequences),
    "masked places": (lambda: two_layers(masked_places, t=own(3), u=own(3)), sequences),
    "step inside": (lambda: Net(fitted_first, w=own(4, 5), v=own(5, 2)), vectors),
    "divergence": (
        lambda: Net(
            with_divergence, f=nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 4))
        ),
        vectors,
    ),
    "directional derivative": (
        lambda: Net(
            lambda net, x: jvp(net.f, (x,), (x.cos(),))[1],
            f=nn.Sequential(nn.Linear(4, 5), nn.Softplus(), nn.Linear(5, 2)),
        ),
        vectors,
    ),
    "solved": (lambda: Net(solved, w=own(4, 4)), vectors),
    "rotated": (
        lambda: Net(
            lambda net, x: net.b((x @ torch.matrix_exp(net.w - net.w.mT)).tanh()),
            w=own(4, 4), b=nn.Linear(4, 2),
        ),
        vectors,
    ),
    "spline": (lambda: Net(spline, c=own(4, 3, 6), b=nn.Linear(3, 2)), vectors),
    "quantised": (lambda: two_layers(quantised, c=own(5, 3)), vectors),
    "selective scan": (
        lambda: Net(
            scanned, d=nn.Linear(4, 4), e=nn.Linear(4, 3), l=nn.Linear(4, 3), s=own(4, 3),
            b=nn.Linear(4, 2),
        ),
        sequences,
    ),
    "transport": (
        lambda: Net(transported, a=nn.Linear(4, 3), k=nn.Linear(4, 3), b=nn.Linear(4, 2)),
        sequences,
    ),
    "two largest": (lambda: two_layers(top_two, width=6), vectors),
    "capsules": (lambda: Net(agreeing, w=own(3, 4, 8)), vectors),
    "mixture": (
        lambda: Net(log_densities, a=nn.Linear(4, 3), m=nn.Linear(4, 3), s=own(3)), vectors
    ),
    "checkpoints in turn": (
        lambda: Net(
            recomputed_in_turn, layers=nn.ModuleList([nn.Linear(4, 4) for _ in range(3)]),
            b=nn.Linear(4, 2),
        ),
        vectors,
    ),
    "lists of parameters": (
        lambda: Net(
            odd_parameters, ws=nn.ParameterList([own(3), own(3)]), t=own(),
            vs=nn.ParameterDict({"a": own(4, 3), "b": own(4, 3)}),
        ),
        vectors,
    ),
    "slices of one": (
        lambda: Net(
            lambda net, x: (x @ net.w[:4, :3] + net.w[4, :3]).tanh() @ net.w[5:8, :2], w=own(9, 3)
        ),
        vectors,
    ),
    "ensemble": (
        lambda: Net(
            lambda net, x: torch.baddbmm(net.c, x.expand(3, -1, -1), net.w).tanh().mean(0),
            c=own(3, 1, 2), w=own(3, 4, 2),
        ),
        vectors,
    ),
    "projected state": (
        lambda: Net(
            lambda net, x: net.b(net.a(x)[0][:, -1]),
            a=nn.LSTM(4, 5, proj_size=3, batch_first=True, bidirectional=True), b=nn.Linear(6, 2),
        ),
        sequences,
    ),
    "first state": (
        lambda: Net(
            lambda net, x: net.b(net.a(x, net.h.expand(-1, len(x), -1).contiguous())[1][-1]),
            a=nn.GRU(4, 5, 2, batch_first=True), h=own(2, 1, 5), b=nn.Linear(5, 2),
        ),
        sequences,
    ),
}  # fmt: skip
