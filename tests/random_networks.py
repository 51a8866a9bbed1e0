"""Networks drawn from a grammar: every part takes (N, 3, 4) to (N, 3, 4), rows on their own.

A network is written as nested tuples: ("dense", 5) is a part, ("residual", (part, ...)) wraps some.
"""

import torch
from hypothesis import strategies as st
from never_wrong_networks import Net
from torch import nn
from torch.nn import functional as F

PLACES, WIDTH = 3, 4
ACTIVATIONS = {"tanh": torch.tanh, "relu": F.relu, "gelu": F.gelu, "sine": torch.sin}


class Dense(nn.Module):
    """A dense layer to some width and another one back."""

    def __init__(self, width):
        super().__init__()
        self.up, self.down = nn.Linear(WIDTH, width), nn.Linear(width, WIDTH, bias=width % 2 == 0)

    def forward(self, x):
        return self.down(self.up(x).tanh())


class Across(nn.Module):
    """A layer that mixes the places instead of the channels."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x.mT).mT


class AsImage(nn.Module):
    """A convolution of the places and channels as pixels."""

    def __init__(self, size):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, size, padding="same")

    def forward(self, x):
        return self.conv(x[:, None]).sum(1)


class Attention(nn.Module):
    """In elementary operations: torch's fused ones have no second derivative."""

    def __init__(self, heads):
        super().__init__()
        self.qkv, self.heads = nn.Linear(WIDTH, 3 * WIDTH), heads

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return ((q @ k.mT).softmax(-1) @ v).transpose(1, 2).flatten(2)


PARTS = {
    "dense": Dense,
    "mixing": lambda _: Across(nn.Linear(PLACES, PLACES)),
    "conv": lambda size: Across(nn.Conv1d(WIDTH, WIDTH, size, padding="same")),
    "image": AsImage,
    "layer norm": lambda _: nn.LayerNorm(WIDTH),
    "group norm": lambda groups: Across(nn.GroupNorm(groups, WIDTH)),
    "batch norm": lambda _: nn.BatchNorm1d(PLACES),
    "attention": Attention,
    "activation": lambda name: Net(lambda net, x: ACTIVATIONS[name](x)),
}


def residual(body, x):
    return x + body(x)


def shared(body, x):
    return body(body(x).tanh())


def gated(body, x):
    return x * torch.sigmoid(body(x))


def permuted(body, x):
    """Rows in another order inside."""
    order = x.detach()[:, 0, 0].argsort()
    return body(x[order])[order.argsort()]


def differentiated(body, x):
    """Gradient of the square of the outputs by the inputs."""
    x = x if x.requires_grad else x.detach().requires_grad_()
    return torch.autograd.grad(body(x).square().sum(), x, create_graph=True)[0]


WRAPPERS = {each.__name__: each for each in (residual, shared, gated, permuted, differentiated)}

LEAVES = st.one_of(
    st.tuples(st.just("dense"), st.integers(1, 6)),
    st.tuples(st.sampled_from(["image", "conv"]), st.sampled_from([1, 3])),
    st.tuples(st.sampled_from(["group norm", "attention"]), st.sampled_from([1, 2])),
    st.tuples(st.sampled_from(["mixing", "layer norm", "batch norm"]), st.none()),
    st.tuples(st.just("activation"), st.sampled_from(list(ACTIVATIONS))),
)


def wrapped(inner):
    parts = st.lists(inner, min_size=1, max_size=3).map(tuple)
    return st.tuples(st.sampled_from(list(WRAPPERS)), parts)


GRAMMAR = st.lists(st.recursive(LEAVES, wrapped, max_leaves=5), min_size=1, max_size=3).map(tuple)


def chain(parts):
    return nn.Sequential(*(make(part) for part in parts))


def make(part):
    """The module of one part."""
    name, given = part
    if name not in WRAPPERS:
        return PARTS[name](given)
    return Net(lambda net, x: WRAPPERS[name](net.body, x), body=chain(given))


def network_of(parts, outputs=2):
    """The parts one after the other, and a readout, in float64 and evaluation mode."""
    torch.manual_seed(0)
    network = nn.Sequential(chain(parts), nn.Flatten(), nn.Linear(PLACES * WIDTH, outputs))
    return network.double().eval()


def inputs(n):
    return torch.randn(n, PLACES, WIDTH, dtype=torch.float64)
