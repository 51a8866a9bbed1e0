"""Random small networks: what limit kernels must do whatever the network is."""

import pytest
import torch
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from limit_networks import Net, conv, dense, norm
from limit_sequences import attention
from torch import nn

import ntkflow
from ntkflow import Conv1d, RNNCell, limit_kernels
from ntkflow.errors import UnsupportedLayerError

STEPS, SIZE = 3, 2


class Gate(nn.Module):
    """One half of the channels times a sigmoid of the other."""

    def __init__(self, w):
        super().__init__()
        self.wide = dense(w, 2 * w)

    def forward(self, h):
        value, gate = self.wide(h).chunk(2, -1)
        return value * torch.sigmoid(gate)


class Convolved(nn.Module):
    """A convolution over the steps."""

    def __init__(self, w):
        super().__init__()
        self.conv = conv(Conv1d, w, w, 3)

    def forward(self, h):
        return self.conv(h.mT).mT


class Attending(nn.Module):
    """Attention of a sequence to itself."""

    def __init__(self, w):
        super().__init__()
        self.attention = attention(w)

    def forward(self, h):
        return self.attention(h, h, h)[0]


class Repeated(nn.Module):
    """A layer with the same weights at every step, on its state."""

    def __init__(self, w):
        super().__init__()
        self.cell = RNNCell(w, w, "erf", sigma_w=0.9, sigma_b=0.2, dtype=torch.float64)

    def forward(self, h):
        states = [self.cell(h[:, 0])]
        for step in h.unbind(1)[1:]:
            states.append(self.cell(step, states[-1]))
        return torch.stack(states, 1)


class Twice(nn.Module):
    """A layer that is used twice, with an activation between, beside what it is used on."""

    def __init__(self, w):
        super().__init__()
        self.layer = dense(w, w)

    def forward(self, h):
        return h + self.layer(torch.relu(self.layer(h)))


class Beside(nn.Module):
    """Two halves side by side, each of its own layer."""

    def __init__(self, w):
        super().__init__()
        self.one, self.two, self.both = dense(w, w), dense(w, w), dense(2 * w, w)

    def forward(self, h):
        return self.both(torch.cat([torch.relu(self.one(h)), self.two(h).flip(1)], -1))


class Active(nn.Module):
    """A dense layer and an activation."""

    def __init__(self, w, function):
        super().__init__()
        self.layer, self.function = dense(w, w), function

    def forward(self, h):
        return self.function(self.layer(h))


BLOCKS = {
    "dense": lambda w: dense(w, w),
    "relu": lambda w: Active(w, torch.relu),
    "erf": lambda w: Active(w, torch.erf),
    "conv": Convolved,
    "norm": lambda w: norm(w),
    "plain norm": lambda w: norm(w, False),
    "residual": lambda w: ntkflow.Residual(Active(w, torch.relu)),
    "shared": Twice,
    "gate": Gate,
    "attention": Attending,
    "concatenation": Beside,
    "recurrence": Repeated,
}
HEADS = {
    "mean": lambda m, h: m.last(h.mean(1)),
    "last": lambda m, h: m.last(h[:, -1]),
    "flat": lambda m, h: m.wide(h.flatten(1)),
}
LISTS = st.lists(st.sampled_from(list(BLOCKS)), max_size=4)


def network(plan, w=2):
    """The network of a list of blocks and a head, of some width."""
    blocks, head = plan

    def forward(m, x):
        return HEADS[head](m, m.blocks(m.first(x)))

    layers = nn.Sequential(*(BLOCKS[name](w) for name in blocks))
    heads = dict(last=dense(w, 2), wide=dense(STEPS * w, 2))
    return Net(forward, first=dense(SIZE, w), blocks=layers, **heads)


def sequences(n, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, STEPS, SIZE, dtype=torch.float64, generator=generator)


def close(one, two):
    torch.testing.assert_close(one, two, rtol=1e-8, atol=1e-10)


def cut(kernels, rows, columns):
    return type(kernels)(*(kernel[rows][:, columns] for kernel in kernels))


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.tuples(LISTS, st.sampled_from(list(HEADS))), st.integers(0, 2**16))
def test_limits_of_random_networks(plan, seed):
    x = sequences(5, seed)
    x = torch.cat([x, x[:1], 0 * x[:1]])
    try:
        whole = limit_kernels(network(plan), x)
    except UnsupportedLayerError as refusal:  # a sigmoid of inputs that have grown too large
        if "Hermite series" not in str(refusal):
            raise
        reject()
    close(limit_kernels(network(plan), x[:3], x[2:]), cut(whole, slice(0, 3), slice(2, None)))
    close(limit_kernels(network(plan), x[:1]), cut(whole, slice(0, 1), slice(0, 1)))
    close(limit_kernels(network(plan), x, tile=2), whole)
    close(limit_kernels(network(plan, w=6), x), whole)
    order = torch.tensor([3, 0, 6, 5, 1, 2, 4])
    close(limit_kernels(network(plan), x[order]), cut(whole, order, order))
    for kernel in whole:
        assert torch.equal(kernel, kernel.mT)
        assert torch.linalg.eigvalsh(kernel)[0] > -1e-8 * kernel.abs().max()
