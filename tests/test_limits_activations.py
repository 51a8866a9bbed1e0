"""Dual activations against integrals by mpmath and by a rule for two variables."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import ntkflow
from ntkflow.errors import UnsupportedLayerError
from ntkflow.limits import limit_kernels, register_activation
from ntkflow.limits.activations import ACTIVATIONS, find_dual
from ntkflow.limits.quadrature import differentiate
from ntkflow.networks import Dense

CASES = json.loads((Path(__file__).parent / "data/activation_references.json").read_text())


PIECEWISE = {
    "leaky_relu": nn.LeakyReLU(0.25),
    "elu": nn.ELU(),
    "elu_alpha": nn.ELU(0.5),
    "celu": nn.CELU(2.0),
    "selu": nn.SELU(),
    "hardtanh": nn.Hardtanh(),
    "hardtanh_options": nn.Hardtanh(-0.5, 2.0),
    "relu6": nn.ReLU6(),
    "hardsigmoid": nn.Hardsigmoid(),
    "hardswish": nn.Hardswish(),
    "hardshrink": nn.Hardshrink(),
    "softshrink": nn.Softshrink(),
    "threshold": nn.Threshold(0.25, 2.0),
    "sign": torch.sign,
}
SMOOTH = [nn.Tanh(), nn.Sigmoid(), nn.SiLU(), nn.Mish(), nn.Softplus(), nn.Softplus(beta=2.0)]
SMOOTH += [nn.LogSigmoid(), nn.Tanhshrink(), nn.GELU(), nn.GELU(approximate="tanh")]
SMOOTH += [torch.exp, torch.erf, torch.erfc, torch.sin, torch.cos, torch.square]
SMOOTH += [torch.atan, torch.asinh]


def tensor(value):
    return torch.tensor(value, dtype=torch.float64)


def dual_of(activation):
    key = type(activation) if isinstance(activation, nn.Module) else activation
    return find_dual(key, activation, "name")


def respond(dual, q1, q2, delta, eta=None):
    """Gap and slope (len(q1), len(q2))."""
    first = [part[..., None] for part in dual.prepare(q1)]
    second = [part[..., None, :] for part in dual.prepare(q2)]
    return dual.respond(delta.clone(), eta, first, second)


def gaps(angles):
    return 2 * torch.sin(angles / 2).square(), 2 * torch.cos(angles / 2).square()


def relative(value, expected, scale=0.0):
    return ((value - expected).abs() / (expected.abs() + scale).clamp(min=1e-290)).max().item()


@pytest.mark.parametrize("name", CASES)
def test_pieces_have_twenty_digits_behind_them(name):
    dual = dual_of(PIECEWISE[name])
    q1, q2, angle, value, slope, gap, mean, slope_mean = tensor(CASES[name]).mT
    delta, eta = (part.diag() for part in gaps(angle))
    got_gap, got_slope = (part.diagonal() for part in respond(dual, q1, q2, delta, eta))
    root = (dual.variance(q1) * dual.variance(q2)).sqrt()
    assert relative((1 - got_gap) * root, value, root) < 1e-12
    assert relative(got_slope, slope, 1e-6) < 1e-9
    # An error of 2e-13 in the angle, and of rounding where the gap is a difference.
    tolerance = 1e-9 * gap + 2e-13 * gap.sqrt() + 1e-15 * ((gap > 1e-7) | (angle > 0.4)) + 1e-30
    assert ((got_gap - gap).abs() <= tolerance)[root > 1e-280].all()
    assert relative(dual.mean(q1), mean, dual.variance(q1).sqrt()) < 1e-13
    assert relative(dual.slope_mean(q1), slope_mean) < 1e-11


def plane(function, q1, q2, angle):
    """E[s s], E[s' s'], E[s], E[s'] by the trapezoid rule in two variables."""
    z = torch.linspace(-13, 13, 401, dtype=torch.float64)
    weights = torch.exp(-z.square() / 2) * ((z[1] - z[0]) / math.sqrt(2 * math.pi))
    s, slope = differentiate(function, math.sqrt(q1) * z)
    mixed = math.cos(angle) * z[:, None] + math.sin(angle) * z
    t, other = differentiate(function, math.sqrt(q2) * mixed)
    pair = (weights * s) @ t @ weights, (weights * slope) @ other @ weights
    return (*pair, weights @ s, weights @ slope)


def check_plane(dual, function, q1, q2, angle, tolerance):
    delta, eta = (part[None, None] for part in gaps(tensor(angle)))
    rows = tensor([q1]), tensor([q2])
    gap, slope = respond(dual, *rows, delta, eta)
    root = (dual.variance(rows[0]) * dual.variance(rows[1])).sqrt()
    value = ((1 - gap) * root)[0, 0], slope[0, 0], dual.mean(rows[0]), dual.slope_mean(rows[0])
    for got, expected in zip(value, plane(function, q1, q2, angle), strict=True):
        assert relative(got, expected, 1e-3 * root) < tolerance


@pytest.mark.parametrize("angle", [1e-6, 0.3, 1.9, 3.1])
@pytest.mark.parametrize(("q1", "q2"), [(1.0, 1.0), (0.25, 2.5), (1e-6, 1.0)])
@pytest.mark.parametrize("function", SMOOTH, ids=lambda f: getattr(f, "__name__", repr(f)))
def test_smooth_activations(function, q1, q2, angle):
    check_plane(dual_of(function), function, q1, q2, angle, 1e-9)


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 5])
def test_powers(exponent):
    power = lambda x: torch.pow(x, exponent)  # noqa: E731
    check_plane(find_dual(torch.pow, power, "pow"), power, 0.5, 2.0, 0.7, 1e-12)


@pytest.mark.parametrize("exponent", [0.5, -1, 17])
def test_other_powers_are_refused(exponent):
    with pytest.raises(UnsupportedLayerError, match=r"^pow: the exponent is"):
        find_dual(torch.pow, lambda x: torch.pow(x, exponent), "pow")


def test_general_pieces_agree_with_closed_forms():
    """The quadrature that softsign and one's own activations have, where another way is known."""
    q1, q2 = tensor([0.3, 1.0, 4.0]), tensor([1.0])
    for module, kinks in ((nn.SELU(), [0.0]), (nn.Hardtanh(), [-1.0, 1.0])):
        register_activation(own := type("Own", (type(module),), {}), kinks)
        general = find_dual(own, module, "own")
        for angle in (1e-5, 0.1, 0.4, 3.0):
            delta, eta = (part.expand(3, 1) for part in gaps(tensor(angle)))
            got, expected = (
                respond(dual, q1, q2, delta, eta) for dual in (general, dual_of(module))
            )
            assert relative(got[0], expected[0]) < 1e-9
            assert relative(got[1], expected[1]) < 1e-9
        del ACTIVATIONS[own]


@pytest.mark.parametrize("angle", [0.2, 0.4, 1.0, 2.9])
def test_softsign(angle):
    """By a rule that ends at the kinks, one variable after the other."""
    x, weights = (tensor(part) for part in map(list, gauss_legendre(80)))
    dual, pieces = dual_of(nn.Softsign()), []
    for side in (-1, 1):
        z, wz = side * 6.5 * (x + 1), 6.5 * weights * density(6.5 * (x + 1))
        cut = (-z / math.tan(angle)).clamp(-13, 13)[:, None]
        for low, high in ((-13 + 0 * cut, cut), (cut, 13 + 0 * cut)):
            y = low + (high - low) * (x + 1) / 2
            v = math.cos(angle) * z[:, None] + math.sin(angle) * y
            wy = (high - low) / 2 * weights * density(y)
            pieces.append(((F.softsign(v) * wy).sum(1) * F.softsign(z) * wz).sum())
    delta, eta = (part[None, None] for part in gaps(tensor(angle)))
    gap, _ = respond(dual, tensor([1.0]), tensor([1.0]), delta, eta)
    assert (1 - gap.item()) * dual.variance(tensor([1.0])).item() == pytest.approx(
        sum(pieces).item(), rel=1e-9
    )


def gauss_legendre(count):
    import numpy as np

    return np.polynomial.legendre.leggauss(count)


def density(z):
    return torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)


WITHOUT_JUMPS = ["elu", "selu", "hardtanh", "hardswish", "softshrink"]


@pytest.mark.parametrize("name", WITHOUT_JUMPS)
@pytest.mark.parametrize("angle", [0.1, 0.4, 1.5, 3.0])
def test_slope_is_the_derivative_of_the_value(name, angle):
    """Price's theorem, by a central difference in S = sqrt(q q') rho."""
    dual, (q1, q2), step = dual_of(PIECEWISE[name]), (tensor([0.7]), tensor([1.9])), 1e-4
    gap, eta = (part[None, None] for part in gaps(tensor(angle)))
    (up, _), (down, _) = (respond(dual, q1, q2, gap + h, eta - h) for h in (step, -step))
    root = (dual.variance(q1) * dual.variance(q2)).sqrt().item()
    _, slope = respond(dual, q1, q2, gap, eta)
    derivative = (up - down).item() / (2 * step) * root / math.sqrt(0.7 * 1.9)
    assert slope.item() == pytest.approx(derivative, rel=1e-5)


@pytest.mark.parametrize("name", PIECEWISE)
def test_symmetry_and_definiteness(name):
    dual, generator = dual_of(PIECEWISE[name]), torch.Generator().manual_seed(0)
    x = torch.randn(12, 3, dtype=torch.float64, generator=generator)
    x = torch.cat([x, x[:3] + 1e-4, -x[:2]])
    q = x.square().sum(1)
    unit = x / q.sqrt()[:, None]
    delta = torch.cdist(unit, unit).square() / 2
    gap, slope = respond(dual, q, q, delta, torch.cdist(unit, -unit).square() / 2)
    root = dual.variance(q).sqrt()
    for gram in ((1 - gap) * root * root[:, None], slope):
        torch.testing.assert_close(gram, gram.mT, rtol=1e-12, atol=1e-13)
        assert torch.linalg.eigvalsh(gram)[0] > -1e-12 * gram.trace() - 1e-300
    assert gap.amin() >= 0
    assert gap.diagonal().amax() < 1e-14


@pytest.mark.parametrize("name", ["elu", "hardtanh", "hardswish", "threshold"])
def test_single_precision(name):
    dual, q = dual_of(PIECEWISE[name]), tensor([0.5, 2.0])
    delta = tensor([[0.0, 0.05], [0.4, 1.95]])
    exact = respond(dual, q, q, delta)
    for got, expected in zip(
        respond(dual, q.float(), q.float(), delta.float()), exact, strict=True
    ):
        assert got.dtype == torch.float32
        torch.testing.assert_close(got.double(), expected, rtol=1e-4, atol=1e-5)


LAYERS = [
    *PIECEWISE.values(),
    nn.Softsign(),
    nn.PReLU().requires_grad_(False),
    nn.RReLU().eval(),
    nn.Softplus(1.0, 2.0),
]


class Between(nn.Module):
    """An activation between weight layers, as a module or as a function."""

    def __init__(self, activation):
        super().__init__()
        self.first, self.last, self.activation = Dense(3, 1), Dense(1, 1), activation

    def forward(self, x):
        return self.last(self.activation(self.first(x)))


@pytest.mark.parametrize("activation", LAYERS, ids=lambda f: getattr(f, "__name__", repr(f)))
def test_networks_on_the_meta_device(activation):
    kernels = limit_kernels(Between(activation), torch.empty(4, 3, device="meta"))
    assert all(kernel.is_meta and kernel.shape == (4, 4) for kernel in kernels)


@pytest.mark.parametrize(
    ("function", "module"),
    [
        (lambda x: F.hardtanh(x, -0.5, 2.0), nn.Hardtanh(-0.5, 2.0)),
        (lambda x: F.hardshrink(x, 0.7), nn.Hardshrink(0.7)),
        (F.softshrink, nn.Softshrink()),
        (lambda x: F.threshold(x, 0.25, 2.0), nn.Threshold(0.25, 2.0)),
        (lambda x: x.clamp(-1, 1), nn.Hardtanh()),
        (lambda x: x.clamp(min=0), nn.ReLU()),
        (lambda x: F.celu(x, alpha=2.0), nn.CELU(2.0)),
        (lambda x: F.elu(x, 0.5), nn.ELU(0.5, inplace=True)),
        (F.selu, nn.SELU(inplace=True)),
        (F.softplus, nn.Softplus()),
        (F.hardswish, nn.Hardswish()),
        (lambda x: F.leaky_relu(x, 0.25), nn.PReLU().requires_grad_(False)),
        (lambda x: F.leaky_relu(x, (1 / 8 + 1 / 3) / 2), nn.RReLU().eval()),
        (lambda x: x**2, lambda x: x.square()),
        (torch.sgn, torch.sign),
    ],
)
def test_functions_and_modules_agree(function, module):
    x = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    kernels, expected = limit_kernels(Between(function), x), limit_kernels(Between(module), x)
    torch.testing.assert_close(kernels, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("module", [nn.ELU(), nn.Hardtanh(-1.0, 0.0), nn.Softsign(), nn.SELU()])
def test_inputs_that_vanish_have_the_slope_of_torch(module):
    dual, zero = dual_of(module), torch.zeros(1, dtype=torch.float64)
    value, slope = differentiate(module, zero)
    assert dual.variance(zero).item() == value.item() ** 2
    assert dual.slope_mean(zero).item() == pytest.approx(slope.item(), abs=1e-13)
    _, square = respond(dual, zero, zero, zero[None])
    assert square.item() == pytest.approx(slope.item() ** 2, abs=1e-13)


def test_random_slopes_and_slopes_of_channels_are_refused():
    with pytest.raises(UnsupportedLayerError, match=r"RReLU\): draws its slopes"):
        limit_kernels(Between(nn.RReLU()), torch.zeros(2, 3))
    with pytest.raises(UnsupportedLayerError, match=r"PReLU\): has a slope for each channel"):
        limit_kernels(Between(nn.PReLU(3).requires_grad_(False)), torch.zeros(2, 3))


def test_own_activation_with_kinks():
    class Tent(nn.Module):
        def forward(self, x):
            return (1 - x.abs()).relu()

    x = torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ntkflow.register_activation(Tent)
    with pytest.raises(UnsupportedLayerError, match=r"Tent\).*kinks="):
        limit_kernels(Between(Tent()), x)
    ntkflow.register_activation(Tent, kinks=[-1, 0, 1])
    kernels = limit_kernels(Between(Tent()), x)
    assert torch.linalg.eigvalsh(kernels.ntk)[0] > 0
    del ACTIVATIONS[Tent]


def test_a_learnt_slope_counts_as_fixed_and_says_so():
    x = torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with pytest.warns(UserWarning, match=r"PReLU.*counts as fixed"):
        found = limit_kernels(Between(nn.PReLU()), x)
    torch.testing.assert_close(found, limit_kernels(Between(nn.LeakyReLU(0.25)), x))
