"""Fluctuations of the kernel of ReLU networks of finite depth and width."""

import math
from collections.abc import Sequence


def inverse_width(widths: Sequence[float | int]) -> float:
    """Sum beta over hidden layers of 1 / width (Hanin, Nica 2019, arXiv:1909.05989, eq. 4)."""
    return sum(1 / width for width in widths)


def kernel_dispersion(widths: Sequence[float | int]) -> float:
    """ln(E[K^2] / E[K]^2) of the weights' part of the on-diagonal kernel K = Theta(x, x).

    u + ln(2 (u - 1 + e^-u) / u^2) with u = 5 beta, for ReLU networks with zero biases whose scale
    keeps the activations' mean square: layers l and m contribute products with mean
    exp(u (1 - |l - m| / d)), and this is their average over all pairs when d is large. Hanin and
    Nica (2019, arXiv:1909.05989, Theorem 1) give exp(5 beta) up to constants. Needs a hidden layer.
    """
    u = 5 * inverse_width(widths)
    return u + math.log(2 * (u + math.expm1(-u)) / u**2)
