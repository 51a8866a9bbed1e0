"""Table of elementwise activations and their duals.

An activation is a module class or a function of one tensor. Where it jumps, its slope is that of
torch, which knows nothing of the jump: E[s' s'] of `sign` is 0, as in the finite network.
Not here: softmax and GLU, which are not elementwise; RReLU in training, which draws its slopes;
heaviside, which torch cannot differentiate. The slope of PReLU counts as a constant.

Errors, relative, of activations with kinks, for q from 1e-6 to 1e4 and angles down to 1e-8: 1e-13
of E[s s], 1e-11 of E[s' s'] (1e-15 absolute where it is the tail of a Gaussian), 1e-9 of the gap,
but 1e-15 absolute where the angle is above 28 degrees or the gap above 1e-6. Smooth activations, by
their Hermite series: 1e-9 for q up to 10, and an error raised beyond what the series resolves.
"""

import functools
import math
import operator
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .. import networks
from ..errors import UnsupportedLayerError
from .duals import (
    ClosedForm,
    Dual,
    Homogeneous,
    Moments,
    cos_means,
    cos_moments,
    erf_means,
    erf_moments,
    erfc_means,
    erfc_moments,
    exp_means,
    exp_moments,
    gelu_means,
    gelu_moments,
    sin_means,
    sin_moments,
)
from .hermite import HermiteDual
from .piecewise import PiecewiseDual, PiecewiseLinearDual, Smoothing
from .quadrature import differentiate

Maker = Callable[[Callable[[Tensor], Tensor], str], Dual]


class _Arguments:
    """Stands in for a tensor in a call, whose other arguments are what it returns."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return args[1:], kwargs or {}


def options(activation: Callable, **defaults: object) -> list:
    """Values that an activation passes to torch, in the order of the defaults."""
    args, kwargs = activation(_Arguments())
    given = dict(zip(defaults, args, strict=False))
    return list((defaults | given | {k: v for k, v in kwargs.items() if k in defaults}).values())


def _homogeneous(function: Callable, name: str) -> Dual:
    return Homogeneous(function)


def _closed_form(moments: Callable, means: Callable) -> Maker:
    return lambda function, name: ClosedForm(moments, means)


def _linear(places: Callable[..., Sequence[float | int]], **defaults: object) -> Maker:
    """Maker of a dual with linear pieces, kinks as a function of the activation's options."""
    return lambda function, name: PiecewiseLinearDual(
        function, [k for k in places(*options(function, **defaults)) if k is not None]
    )


def _prelu(function: Callable, name: str) -> Dual:
    """Leaky ReLU with the present slope; the slope's own part of the NTK is left out."""
    (weight,) = options(function, weight=None)
    if weight.numel() > 1:
        raise UnsupportedLayerError(
            f"{name}: has a slope for each channel; a limit needs one for all"
        )
    slope = weight.detach().double().item()
    return Homogeneous(lambda x: F.leaky_relu(x, slope))


def _rrelu(function: Callable, name: str) -> Dual:
    """Leaky ReLU with the mean slope, in evaluation mode."""
    lower, upper, training = options(function, lower=1 / 8, upper=1 / 3, training=False)
    if training:
        raise UnsupportedLayerError(f"{name}: draws its slopes; use network.eval()")
    return Homogeneous(lambda x: F.leaky_relu(x, (lower + upper) / 2))


def _gelu(function: Callable, name: str) -> Dual:
    (approximate,) = options(function, approximate="none")
    exact = approximate == "none"
    return ClosedForm(gelu_moments, gelu_means) if exact else HermiteDual(function, name)


def _softplus(function: Callable, name: str) -> Dual:
    """Smooth unless it turns linear, at x = threshold/beta, where that is seen."""
    beta, threshold = options(function, beta=1.0, threshold=20.0)
    if threshold >= 20 and beta <= 1:
        return HermiteDual(function, name)
    return PiecewiseDual(function, [threshold / beta, 0.0])


def _power(function: Callable, name: str) -> Dual:
    """Polynomial, whose Hermite series ends."""
    exponent = math.log2(function(torch.tensor(2.0, dtype=torch.float64)).item())
    if exponent not in range(17):
        raise UnsupportedLayerError(f"{name}: the exponent is {exponent:.4g}; allowed: 0 to 16")
    return HermiteDual(function, name)


def _exponential(function: Callable, name: str) -> Dual:
    """ELU, CELU and SELU."""
    x = torch.tensor([1.0, -1e-150, -1e4], dtype=torch.float64)
    value, slope = (part.tolist() for part in differentiate(function, x))
    up, amplitude = slope[0], -value[2]
    smoothing = elu_smoothing(up, amplitude, slope[1] / amplitude) if amplitude else None
    return PiecewiseDual(function, [0.0], smoothing)


def elu_smoothing(up: float, amplitude: float, rate: float) -> Smoothing:
    """Means of s(x) = up x for x > 0 and A (exp(rate x) - 1) for x < 0, x ~ N(m, t^2).

    E[exp(rate x); x < 0] = exp(rate m + (rate t)^2 / 2) P(z < -m/t - rate t).
    """

    def means(m: Tensor, t: Tensor) -> Moments:
        ratio = (m / t).clamp(-1e3, 1e3)
        density = torch.exp(ratio.square() * -0.5) * (1 / math.sqrt(2 * math.pi))
        above, far = torch.special.ndtr(ratio), ratio + rate * t
        scaled = density * torch.special.erfcx(far.clamp(min=0) * math.sqrt(0.5))
        direct = torch.exp((rate * m + (rate * t).square() / 2).clamp(max=0))
        exponential = torch.where(
            far > 0, scaled * math.sqrt(math.pi / 2), direct * torch.special.ndtr(-far)
        )
        value = up * (m * above + t * density)
        value = value + amplitude * (exponential - torch.special.ndtr(-ratio))
        return value, up * above + amplitude * rate * exponential

    return means


def _hardswish(function: Callable, name: str) -> Dual:
    return PiecewiseDual(function, [-3.0, 3.0], hardswish_smoothing)


def hardswish_smoothing(m: Tensor, t: Tensor) -> Moments:
    """Means of x (x + 3) / 6 within [-3, 3], 0 below and x above, x ~ N(m, t^2).

    Truncated moments: E[x; x < k] = m P - t p and E[x^2; x < k] = (m^2 + t^2) P - t (m + k) p,
    with P = P(x < k) and p the normal density at (k - m)/t.
    """
    (low, low1, low2), (high, high1, high2) = (_below(k, m, t) for k in (-3.0, 3.0))
    inside, first, second = high - low, high1 - low1, high2 - low2
    upper = torch.special.ndtr((m - 3) / t)
    density = torch.exp(((3 - m) / t).square() * -0.5) * (1 / math.sqrt(2 * math.pi))
    value = second / 6 + first / 2 + m * upper + t * density
    return value, first / 3 + inside / 2 + upper


def _below(k: float, m: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """E[x^n; x < k] for n = 0, 1, 2."""
    ratio = (k - m) / t
    share = torch.special.ndtr(ratio)
    density = torch.exp(ratio.square() * -0.5) * (1 / math.sqrt(2 * math.pi))
    return share, m * share - t * density, (m * m + t * t) * share - t * (m + k) * density


def _hardsigmoid(function: Callable, name: str) -> Dual:
    """Written out, since torch's slope is 1/6 in single precision whatever the type is."""
    return PiecewiseLinearDual(lambda x: (x / 6 + 0.5).clamp(0, 1), [-3.0, 3.0])


def _softsign(function: Callable, name: str) -> Dual:
    return PiecewiseDual(function, [0.0])


_HOMOGENEOUS = [nn.ReLU, nn.LeakyReLU, networks.Abs]
_HOMOGENEOUS += [torch.relu, F.relu, F.leaky_relu, torch.abs, torch.absolute]
_SMOOTH = [nn.Tanh, nn.Sigmoid, nn.SiLU, nn.Mish, nn.Tanhshrink, nn.LogSigmoid]
_SMOOTH += [torch.tanh, F.tanh, torch.sigmoid, F.sigmoid, torch.special.expit, F.silu, F.mish]
_SMOOTH += [F.tanhshrink, F.logsigmoid, torch.atan, torch.arctan, torch.asinh, torch.arcsinh]
_hardtanh = _linear(lambda low, high: (low, high), min_val=-1.0, max_val=1.0)
_clamp = _linear(lambda low, high: (low, high), min=None, max=None)
_shrink = _linear(lambda lambd: (-lambd, lambd), lambd=0.5)
_threshold = _linear(lambda threshold: (threshold,), threshold=None)
_step = _linear(lambda: (0.0,))

ACTIVATIONS: dict[object, Maker] = {
    **dict.fromkeys(_HOMOGENEOUS, _homogeneous),
    **dict.fromkeys([nn.PReLU, F.prelu, torch.prelu], _prelu),
    **dict.fromkeys([nn.RReLU, F.rrelu, torch.rrelu], _rrelu),
    **dict.fromkeys([nn.Hardtanh, F.hardtanh], _hardtanh),
    **dict.fromkeys([torch.clamp, torch.clip], _clamp),
    **dict.fromkeys([nn.ReLU6, F.relu6], _linear(lambda: (0.0, 6.0))),
    **dict.fromkeys([nn.Hardsigmoid, F.hardsigmoid], _hardsigmoid),
    **dict.fromkeys([nn.Hardshrink, F.hardshrink, torch.hardshrink], _shrink),
    **dict.fromkeys([nn.Softshrink, F.softshrink], _shrink),
    **dict.fromkeys([nn.Threshold, F.threshold, torch.threshold], _threshold),
    **dict.fromkeys([torch.sign, torch.sgn], _step),
    **dict.fromkeys([nn.ELU, nn.CELU, nn.SELU], _exponential),
    **dict.fromkeys([F.elu, F.celu, F.selu, torch.celu, torch.selu], _exponential),
    **dict.fromkeys([nn.Hardswish, F.hardswish], _hardswish),
    **dict.fromkeys([nn.Softsign, F.softsign], _softsign),
    **dict.fromkeys([nn.Softplus, F.softplus], _softplus),
    **dict.fromkeys(
        [networks.Erf, torch.erf, torch.special.erf], _closed_form(erf_moments, erf_means)
    ),
    **dict.fromkeys([torch.erfc, torch.special.erfc], _closed_form(erfc_moments, erfc_means)),
    **dict.fromkeys([networks.Sin, torch.sin], _closed_form(sin_moments, sin_means)),
    torch.cos: _closed_form(cos_moments, cos_means),
    torch.exp: _closed_form(exp_moments, exp_means),
    **dict.fromkeys([nn.GELU, F.gelu], _gelu),
    **dict.fromkeys([torch.square, torch.pow, operator.pow], _power),
    **dict.fromkeys(_SMOOTH, HermiteDual),
}


def register_activation(
    activation: type[nn.Module] | Callable, kinks: Sequence[float | int] = ()
) -> None:
    """Let `limit_kernels` take an elementwise activation of one's own.

    Without kinks it must be smooth, since its Hermite series is used: where that has not converged
    at degree 1024, `limit_kernels` raises an UnsupportedLayerError. With kinks, pieces between them
    are integrated one by one, which takes about a millisecond for each pair of inputs whose angle
    at the activation is below 28 degrees (or above 152), and a microsecond for any other.

    Args:
        activation: a module class, or a function of one tensor that a `forward` calls by its name.
        kinks: points where the activation, its slope or its curvature jumps.

    Examples:
        >>> class Gaussian(torch.nn.Module):
        ...     def forward(self, x):
        ...         return torch.exp(-x.square() / 2)
        >>> ntkflow.register_activation(Gaussian)
        >>> network = torch.nn.Sequential(ntkflow.Dense(3, 1), Gaussian(), ntkflow.Dense(1, 1))
        >>> ntkflow.limit_kernels(network, torch.randn(5, 3)).ntk.shape
        torch.Size([5, 5])
    """
    maker = functools.partial(_registered, kinks=tuple(kinks)) if kinks else HermiteDual
    ACTIVATIONS[activation] = maker


def _registered(function: Callable, name: str, kinks: Sequence[float | int]) -> Dual:
    return PiecewiseDual(function, kinks)


def find_dual(activation: object, function: Callable[[Tensor], Tensor], name: str) -> Dual:
    """Dual of an activation in the table, `function` being it with its options."""
    return ACTIVATIONS[activation](function, name)
