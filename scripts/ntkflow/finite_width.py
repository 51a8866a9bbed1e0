"""Fluctuations of the kernel of ReLU networks of finite depth and width."""

import math
from collections.abc import Sequence


def inverse_width(widths: Sequence[float | int]) -> float:
    """Sum beta over hidden layers of 1 / width (Hanin, Nica 2019, arXiv:1909.05989, eq. 4)."""
    return float(sum(1 / width for width in widths))


def kernel_dispersion(widths: Sequence[float | int]) -> float:
    """ln(E[K^2] / E[K]^2) of the weights' part of the on-diagonal kernel K = Theta(x, x).

    u + ln(2 (u - 1 + e^-u) / u^2) with u = 5 beta, for ReLU networks with zero biases whose scale
    keeps the activations' mean square: layers l and m contribute products with mean
    exp(u (1 - |l - m| / d)), and this is their average over all pairs when d is large. Hanin and
    Nica (2019, arXiv:1909.05989, Theorem 1) give exp(5 beta) up to constants. Needs a hidden layer.
    """
    u = 5 * inverse_width(widths)
    return u + math.log(2 * (u + math.expm1(-u)) / u**2)


def finite_dispersion(widths: Sequence[float | int]) -> float:
    """The same for few layers: ln of the mean over pairs (l, m) of weight layers of r_lm.

    r_lm is a product over hidden layers: 1 + 1/n for those between layers l and m, 1 + 5/n for the
    others. Outside, both terms hold the same squared norm, whose second moment is 1 + 5/n; between,
    one holds the forward and the other the backward norm, which share only the active neurons.
    Exact for one hidden layer, else up to 4/n^2 per layer between; `kernel_dispersion` is its limit
    for many layers without the 1/n.
    """
    layers = range(len(widths) + 1)
    total = 0.0
    for first in layers:
        for last in layers:
            between = range(*sorted((first, last)))
            total += math.prod(1 + (1 if i in between else 5) / n for i, n in enumerate(widths))
    return math.log(total / len(layers) ** 2)
