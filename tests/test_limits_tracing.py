"""How networks are read: functions like modules, sums, quadrature, and what has no limit."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import ntkflow
from ntkflow.errors import UnsupportedLayerError
from ntkflow.limits import limit_kernels, register_activation
from ntkflow.networks import Conv2d, Dense, Residual


def inputs(n, dim, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, dim, dtype=torch.float64, generator=generator)


class Callable(nn.Module):
    """A network whose middle is written as functions."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.first, self.last = Dense(3, 1, sigma_b=0.2), Dense(1, 1, sigma_w=1.3)

    def forward(self, x):
        return self.last(self.function(self.first(x)))


@pytest.mark.parametrize(
    ("function", "activation"),
    [
        (torch.relu, "relu"),
        (F.relu, "relu"),
        (lambda x: x.relu(), "relu"),
        (torch.erf, "erf"),
        (torch.sin, "sin"),
        (torch.abs, "abs"),
        (lambda x: x.abs(), "abs"),
        (F.gelu, "gelu"),
        (torch.tanh, "tanh"),
        (lambda x: F.leaky_relu(x, 0.0), "relu"),
        (lambda x: F.leaky_relu(x, negative_slope=-1.0), "abs"),
        (lambda x: F.leaky_relu(x, negative_slope=1.0), "linear"),
    ],
)
def test_functions_are_read_like_modules(function, activation):
    x = inputs(4, 3)
    module = ntkflow.networks.activation_layer(activation)
    expected = limit_kernels(
        nn.Sequential(Dense(3, 1, sigma_b=0.2), module, Dense(1, 1, sigma_w=1.3)), x
    )
    torch.testing.assert_close(
        limit_kernels(Callable(function), x), expected, rtol=1e-13, atol=1e-14
    )


class QuadratureErf(nn.Module):
    def forward(self, x):
        return torch.erf(x)


class QuadratureGelu(nn.Module):
    def forward(self, x):
        return F.gelu(x)


class QuadratureSin(nn.Module):
    def forward(self, x):
        return torch.sin(x)


class Kink(nn.Module):
    def forward(self, x):
        return torch.relu(x)


@pytest.mark.parametrize(
    ("module", "activation"),
    [(QuadratureErf, "erf"), (QuadratureGelu, "gelu"), (QuadratureSin, "sin")],
)
def test_quadrature_agrees_with_closed_forms(module, activation):
    register_activation(module)
    x = inputs(5, 3)
    options = {"sigma_w": 2.0, "sigma_b": 0.3}
    layers = [Dense(3, 1, **options), module(), Dense(1, 1, **options), module(), Dense(1, 1)]
    closed = [
        ntkflow.networks.activation_layer(activation) if i % 2 else m for i, m in enumerate(layers)
    ]
    torch.testing.assert_close(
        limit_kernels(nn.Sequential(*layers), x),
        limit_kernels(nn.Sequential(*closed), x),
        rtol=1e-11,
        atol=1e-12,
    )


def test_quadrature_refuses_a_kink():
    register_activation(Kink)
    with pytest.raises(UnsupportedLayerError, match=r"1 \(Kink\).*smooth"):
        limit_kernels(nn.Sequential(Dense(3, 1), Kink(), Dense(1, 1)), inputs(2, 3))


def swish(x):
    return x * torch.sigmoid(x)


class WithSwish(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = Dense(4, 1), Dense(1, 1)

    def forward(self, x):
        return self.last(swish(self.first(x)))


def test_registered_function():
    register_activation(swish)
    x = inputs(3, 4)
    expected = limit_kernels(nn.Sequential(Dense(4, 1), nn.SiLU(), Dense(1, 1)), x)
    torch.testing.assert_close(limit_kernels(WithSwish(), x), expected)


def test_residual_sum_of_dense_layers():
    x = inputs(3, 4)
    block = nn.Sequential(nn.ReLU(), Dense(1, 1, sigma_w=0.7))
    network = nn.Sequential(Dense(4, 1, sigma_w=1.2), Residual(block), nn.ReLU(), Dense(1, 1))
    stem = limit_kernels(nn.Sequential(Dense(4, 1, sigma_w=1.2)), x)
    branch = limit_kernels(nn.Sequential(Dense(4, 1, sigma_w=1.2), *block), x)
    total = limit_kernels(network[:2], x)
    torch.testing.assert_close(total.nngp, stem.nngp + branch.nngp)
    torch.testing.assert_close(total.ntk, stem.ntk + branch.ntk)
    q = total.nngp.diagonal()
    value, slope = relu_map(q[:, None], q, total.nngp)
    torch.testing.assert_close(limit_kernels(network, x).ntk, total.ntk * slope + value)


def relu_map(q1, q2, s):
    phi = torch.acos((s / (q1 * q2).sqrt()).clamp(-1, 1))
    value = (q1 * q2).sqrt() * (phi.sin() + (math.pi - phi) * phi.cos()) / (2 * math.pi)
    return value, (math.pi - phi) / (2 * math.pi)


class TwoBranches(nn.Module):
    """Two dense layers that read the same inputs, added; `mid` reads the sum."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.last = Dense(3, 1), Dense(3, 1, sigma_w=2.0), Dense(1, 1)

    def forward(self, x):
        return self.last(torch.relu(self.a(x) + self.b(x)))


def test_sum_of_two_layers_is_one_layer_of_both_variances():
    x = inputs(4, 3)
    one = nn.Sequential(Dense(3, 1, sigma_w=5**0.5), nn.ReLU(), Dense(1, 1))
    torch.testing.assert_close(limit_kernels(TwoBranches(), x), limit_kernels(one, x))


def written(h):
    """A value that is written into through another view of it."""
    view = h.view(-1, 3)
    torch.relu_(h)
    return view


class Lambda(nn.Module):
    """A forward given as a function of (layers, x)."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.a, self.b, self.last = Dense(3, 3), Dense(3, 3), Dense(3, 1)
        self.skip = Residual(nn.ReLU())
        self.mix, self.one = Dense(3, 2), Dense(3, 1)
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return self.function(self, x)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda m, x: m.last(x + m.a(x)), "inputs themselves"),
        (lambda m, x: m.last(torch.relu(torch.sin(m.a(x)))), r"relu .*right before"),
        (lambda m, x: m.last(torch.relu(m.skip(m.a(x)))), r"relu .*Gaussian and a non-Gaussian"),
        (lambda m, x: torch.relu(m.a(x)), r"relu .*end with a weight layer"),
        (lambda m, x: m.last(m.a(x) * m.scale), r"mul .*learnable number"),
        (lambda m, x: m.last(m.a(x).cumsum(1)), r"cumsum .*no known limit"),
        (lambda m, x: m.a(torch.relu(m.a(x))), r"a \(Dense\): .*read-out are used inside"),
        (lambda m, x: m.last(x) if x[0, 0] else x, "cannot trace"),
        (lambda m, x: (m.a(x), m.b(x)), "not one tensor"),
        (lambda m, x: m.last(m.a(x).mean(-1, keepdim=True) + m.a(x)), "over channels"),
        (lambda m, x: m.last(torch.relu(m.a(x)) * m.one(m.b(x))), "over many channels"),
        (lambda m, x: m.last(m.a(x) - m.a(x).mean(0)), "axis of the rows"),
        (lambda m, x: m.last(m.a(m.a(x).flip(-1)) + m.a(m.a(x))), "two different orders"),
        (lambda m, x: m.last(written(m.a(x))), "written into"),
        (lambda m, x: m.last(F.linear(m.a(x), m.a.weight.T)), "linear .*no known limit"),
        (lambda m, x: m.last(m.a(x).softmax(-1)), "softmax"),
        (lambda m, x: m.last(m.a(x)[:, [int(m.a(x)[0, 0]), 0]]), "looks at numbers"),
        (lambda m, x: m.last(m.mix(m.a(x[:, None] * x[:, :, None]).mT).mT.mean(1)), "all channels"),
    ],
)
def test_unsupported_forwards(function, message):
    with pytest.raises(UnsupportedLayerError, match=message):
        limit_kernels(Lambda(function), inputs(2, 3))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.Linear(3, 3), r"1 \(Linear\) has no known limit; use ntkflow\.Dense, whose"),
        (nn.BatchNorm1d(3), r"1 \(BatchNorm1d\) has no known limit"),
        (nn.Dropout(), r"1 \(Dropout\)"),
        (nn.Softmax(-1), r"1 \(Softmax\)"),
        (Conv2d(1, 1, 3), r"1 \(Conv2d\): .*images"),
        (ntkflow.GlobalAveragePool(), r"1 \(GlobalAveragePool\): .*images"),
    ],
)
def test_unsupported_layers_are_named(layer, message):
    with pytest.raises(UnsupportedLayerError, match=message):
        limit_kernels(nn.Sequential(Dense(3, 3), layer, nn.ReLU(), Dense(3, 1)), inputs(2, 3))


@pytest.mark.parametrize("kind", [ntkflow.LSTM, ntkflow.GRU, ntkflow.LSTMCell, ntkflow.GRUCell])
def test_gated_recurrence_is_for_monte_carlo(kind):
    x = inputs(2, 3) if kind.__name__.endswith("Cell") else inputs(2, 3)[:, None]
    with pytest.raises(UnsupportedLayerError, match=rf"{kind.__name__}.*monte_carlo_kernels"):
        limit_kernels(kind(3, 4), x)
