"""Dual of piecewise linear activations with kinks and jumps, by integrals over thin wedges.

For standard normal (U, V) at the angle theta and a >= b, relu(U - a) relu(V - b) is
(U - a)_+ (V - b), whose mean is elementary, plus a term that is not zero in the wedge
{U > a, V < b} only. In polar coordinates around the wedge's apex the radial integral is known
(repeated integrals of the error function) and the one over its angle is that of a smooth function
over [0, theta], so that nothing cancels however small the angle is: the means over the wedge of
1, of a distance to one of its sides, and of both, are of order theta, theta^2 and theta^3.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .quadrature import differentiate, legendre

_ANGLES = 24


class Kinks(NamedTuple):
    """Places k, jumps of the slope and of the value there, and the slopes at both ends."""

    places: list[float]
    bends: list[float]
    jumps: list[float]
    ends: tuple[float, float]


def find_kinks(function: Callable[[Tensor], Tensor], places: Sequence[float | int]) -> Kinks:
    """Jumps of s and of s' at the kinks, from the values next to them."""
    k = torch.tensor(sorted(set(map(float, places))), dtype=torch.float64)
    offset = (k.abs() * 2**-50).clamp(min=1e-150)
    above, slope_above = differentiate(function, k + offset)
    below, slope_below = differentiate(function, k - offset)
    jumps = above - below - offset * (slope_above + slope_below)
    jumps = torch.where(jumps.abs() < 1e-13 * (1 + k.abs()), 0, jumps)
    bends = slope_above - slope_below
    bends = torch.where(bends.abs() < 1e-13, 0, bends)
    ends = (slope_below[0].item(), slope_above[-1].item())
    return Kinks(k.tolist(), bends.tolist(), jumps.tolist(), ends)


class Wedge(NamedTuple):
    """Means of 1, (U - a), (b - V) and (U - a)(b - V) over {U > a, V < b}, a >= b."""

    share: Tensor
    above: Tensor
    below: Tensor
    both: Tensor


class Angle(NamedTuple):
    """What the wedges of a pair share: half the angle and its tangent, and the sine."""

    half: Tensor
    tangent: Tensor
    sine: Tensor

    @classmethod
    def of(cls, delta: Tensor) -> "Angle":
        """From delta = 1 - cos(theta) <= 1."""
        half = (delta * 0.5).sqrt().asin()
        return cls(half, half.tan(), (delta * (2 - delta)).sqrt())


def wedge(a: Tensor, b: Tensor, angle: Angle) -> Wedge:
    """Moments of a wedge of at most a right angle.

    The apex lies at (a, y), y = a tan(theta/2) - (a - b)/sin(theta), in coordinates in which U
    and V = U cos(theta) + y sin(theta); towards psi in [0, theta] the density falls by
    exp(-w r - r^2/2), w = a sin(psi - theta/2)/cos(theta/2) + (a - b) cos(psi)/sin(theta).
    """
    tiny = torch.finfo(a.dtype).tiny
    apart = ((a - b) / angle.sine.clamp(min=tiny**0.5)).clamp(max=3 * limit(a.dtype))
    apex = a.square() + (a * angle.tangent - apart).square()
    tilt, theta = a / angle.half.cos(), 2 * angle.half
    sums = [torch.zeros_like(apex) for _ in range(4)]
    for node, weight in zip(*legendre(_ANGLES, a.dtype, a.device), strict=True):
        psi = theta * node
        up, down = psi.sin(), (theta - psi).sin()
        radial = _radial(tilt * (psi - angle.half).sin() + apart * psi.cos())
        for total, power, factor in zip(sums, (1, 2, 2, 3), (1, up, down, up * down), strict=True):
            total.add_(radial[power] * factor * weight)
    scale = theta * torch.exp(apex * -0.5) * (0.5 / math.pi)
    return Wedge(*(scale * total for total in sums))


def _radial(w: Tensor) -> list[Tensor]:
    """Integrals over r > 0 of r^n exp(-w r - r^2/2), n = 0..3: I_n = (n-1) I_(n-2) - w I_(n-1)."""
    zeroth = torch.special.erfcx(w * math.sqrt(0.5)) * math.sqrt(math.pi / 2)
    first = 1 - w * zeroth
    second = zeroth - w * first
    return [zeroth, first, second, 2 * first - w * second]


def limit(dtype: torch.dtype) -> float:
    """Standard deviations beyond which a kink does not matter, 30 in float64."""
    return 0.8 * math.sqrt(-2 * math.log(torch.finfo(dtype).tiny))
