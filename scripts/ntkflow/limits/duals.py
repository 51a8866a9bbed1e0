"""Dual activations: Gaussian expectations of an activation s and of its derivative.

For (u, v) ~ N(0, [[q, S], [S, q']]) with S = sqrt(q q') (1 - delta), a dual gives E[s(u) s(v)] and
E[s'(u) s'(v)]; the second is the derivative of the first in S (Price's theorem).

Sources: Cho, Saul 2009 (ReLU, |x|); Williams 1997 (erf); Tsuchida et al. 2021, arXiv:2002.08517
(gelu); sin and cos follow from the characteristic function of the Gaussian.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

Moments = tuple[Tensor, Tensor]


@runtime_checkable
class Dual(Protocol):
    """What a network's recursion asks of an activation."""

    def variance(self, q: Tensor) -> Tensor:
        """E[s(u)^2] of rows with variance q."""

    def mean(self, q: Tensor) -> Tensor:
        """E[s(u)] of rows with variance q."""

    def slope_mean(self, q: Tensor) -> Tensor:
        """E[s'(u)] of rows with variance q."""

    def prepare(self, q: Tensor) -> tuple[Tensor, ...]:
        """What `respond` needs of each row, last axis as in q."""

    def respond(self, delta: Tensor, eta: Tensor | None, first: list, second: list) -> Moments:
        """New gap 1 - K' / sqrt(Q Q') with K' = E[s(u) s(v)], and E[s'(u) s'(v)].

        `delta` is used up; both results are new arrays or made in its place.
        """


class Homogeneous:
    """Activation a x + b |x|: relu (1/2, 1/2), leaky relu, abs (0, 1).

    With phi = arccos(1 - delta), odd and even part being uncorrelated,
    E[s s] = sqrt(q q') (a^2 cos phi + b^2 (2/pi) (sin phi + (pi/2 - phi) cos phi)) and
    E[s' s'] = a^2 + b^2 (1 - 2 phi/pi). Where q = 0, s'(u) is s'(0) as torch has it.
    """

    def __init__(self, function: Callable[[Tensor], Tensor]):
        up, down = function(torch.tensor([1.0, -1.0], dtype=torch.float64)).tolist()
        self.slope, self.slope_at_zero = (up - down) / 2, max(0.0, -down)
        self.odd, self.even = ((up - down) / 2) ** 2, ((up + down) / 2) ** 2
        self.bend = (up + down) / 2

    def variance(self, q: Tensor) -> Tensor:
        """E[s(u)^2] = (a^2 + b^2) q."""
        return (self.odd + self.even) * q

    def mean(self, q: Tensor) -> Tensor:
        """E[s(u)] = b sqrt(2 q / pi)."""
        return q.sqrt() * (self.bend * math.sqrt(2 / math.pi))

    def slope_mean(self, q: Tensor) -> Tensor:
        """E[s'(u)] = a; where q = 0, s'(0)."""
        return torch.where(q > 0, self.slope, self.slope_at_zero).to(q.dtype)

    def prepare(self, q: Tensor) -> tuple[Tensor, ...]:
        """Which rows vanish, if any do."""
        return () if q.is_meta or (q > 0).all() else ((q > 0).to(q.dtype),)

    def respond(self, delta: Tensor, eta: Tensor | None, first: list, second: list) -> Moments:
        """Gap and slope from the half angle, asin(sqrt(delta / 2))."""
        if eta is not None:
            half, far = delta.mul_(0.5).clamp_(0, 1), eta.clamp(0, 2).mul_(0.5)
            gap, slope = self._respond_antiparallel(half, far)
        elif _takes_loops(delta):
            from . import angle_loops

            gap = delta.contiguous()
            slope = torch.from_numpy(angle_loops.respond(gap.numpy(), self.odd, self.even))
        else:
            gap, slope = self._respond(delta.mul_(0.5))
        return gap, self._at_zero(slope, first, second) if first or second else slope

    def _respond(self, half: Tensor) -> Moments:
        """With half = sin^2(phi/2), slope = E[s' s'] and delta = 2 half as given.

        The new gap is (delta slope + (2/pi) b^2 (phi - sin phi)) / (a^2 + b^2).
        """
        total = self.odd + self.even
        sine = torch.addcmul(half, half, half, value=-1).sqrt_()
        angle = half.sqrt().asin_()
        slope = torch.rsub(angle, total, alpha=4 * self.even / math.pi)
        gap = angle.sub_(sine).mul_(4 * self.even / (math.pi * total))
        return gap.addcmul_(half, slope, value=2 / total), slope

    def _respond_antiparallel(self, half: Tensor, far: Tensor) -> Moments:
        """The same from the smaller of phi and pi - phi, the only one that is accurate."""
        near = torch.minimum(half, far)
        angle, sine = near.sqrt().asin_(), (half * far).sqrt_()
        supplement = torch.where(far < half, angle, math.pi / 2 - angle)
        slope = supplement.mul_(4 * self.even / math.pi).add_(self.odd - self.even)
        even_gap = near * (1 - angle * (4 / math.pi)) + (2 / math.pi) * (angle - sine)
        gap = (self.odd * half + self.even * even_gap).mul_(2 / (self.odd + self.even))
        return gap, slope

    def _at_zero(self, slope: Tensor, first: list, second: list) -> Tensor:
        """Slope with s'(0) in place of s'(u) where u = 0."""
        alive1, alive2 = (
            part[0] if part else torch.ones_like(slope[:1]) for part in (first, second)
        )
        none, both = (1 - alive1) * (1 - alive2), alive1 * alive2
        one = self.slope_at_zero * self.slope * (1 - both - none)
        return slope * both + one + self.slope_at_zero**2 * none


def _takes_loops(delta: Tensor) -> bool:
    """Whether compiled loops do it: on a CPU with numba, which the device check lacks."""
    known = delta.dtype in (torch.float32, torch.float64)
    return known and delta.device.type == "cpu" and _has_numba()


@cache
def _has_numba() -> bool:
    try:
        import numba  # noqa: F401
    except ImportError:
        return False
    return True


def smooth_gap(value: Tensor, root1: Tensor, root2: Tensor) -> Tensor:
    """1 - value / (root1 root2), zero where it is rounding error."""
    limits = torch.finfo(value.dtype)
    scale = (root1 * root2).clamp_(min=limits.tiny)
    delta = torch.addcdiv(value.new_ones(()), value, scale, value=-1, out=scale)
    return torch.threshold_(delta, 16 * limits.eps, 0).clamp_(max=2)


class ClosedForm:
    """Smooth activation with known moments.

    `moments` gives (E[s s], E[s' s']) of q, q' and delta, `means` (E[s], E[s']) of q.
    """

    def __init__(
        self,
        moments: Callable[[Tensor, Tensor, Tensor], Moments],
        means: Callable[[Tensor], Moments],
    ):
        self.moments, self.means = moments, means

    def mean(self, q: Tensor) -> Tensor:
        """E[s(u)]."""
        return self.means(q)[0]

    def slope_mean(self, q: Tensor) -> Tensor:
        """E[s'(u)]."""
        return self.means(q)[1]

    def variance(self, q: Tensor) -> Tensor:
        """E[s(u)^2], the moment at delta = 0."""
        return self.moments(q, q, torch.zeros_like(q))[0]

    def prepare(self, q: Tensor) -> tuple[Tensor, ...]:
        """Variance before and standard deviation after the activation."""
        return q, self.variance(q).sqrt()

    def respond(self, delta: Tensor, eta: Tensor | None, first: list, second: list) -> Moments:
        """Gap and slope from the moments."""
        (q1, root1), (q2, root2) = first, second
        value, slope = self.moments(q1, q2, delta)
        return smooth_gap(value, root1, root2), slope


def erf_moments(q1: Tensor, q2: Tensor, delta: Tensor) -> Moments:
    """E[s s] = (2/pi) asin(2S / sqrt((1+2q)(1+2q'))) and E[s' s'] = (4/pi) / sqrt(D).

    D = (1+2q)(1+2q') - 4 S^2, summed from positive terms, gives the asin as an atan.
    """
    root = _determinant(2 * q1, 2 * q2, delta).sqrt_()
    twice = 2 * _covariance(q1, q2, delta)
    return torch.atan(twice / root) * (2 / math.pi), (4 / math.pi) / root


def gelu_moments(q1: Tensor, q2: Tensor, delta: Tensor) -> Moments:
    """Moments of x Phi(x), Phi the normal distribution function.

    With D = (1+q)(1+q') - S^2 and A = 1/4 + atan(S / sqrt(D)) / (2 pi):
    E[s s] = S A + (q q' + S^2 (1/(1+q) + 1/(1+q') - 1)) / (2 pi sqrt(D)) and
    E[s' s'] = A + S (1/(1+q) + 1/(1+q') + 1/D) / (2 pi sqrt(D)).
    """
    determinant, s = _determinant(q1, q2, delta), _covariance(q1, q2, delta)
    root = determinant.sqrt()
    quadrant = torch.atan(s / root) / (2 * math.pi) + 0.25
    density = 1 / (2 * math.pi * root)
    inverse = 1 / (1 + q1) + 1 / (1 + q2)
    value = s * quadrant + density * (q1 * q2 + s.square() * (inverse - 1))
    return value, quadrant + s * density * (inverse + 1 / determinant)


def sin_moments(q1: Tensor, q2: Tensor, delta: Tensor) -> Moments:
    """E[s s] = exp(-(q+q')/2) sinh S and E[s' s'] = exp(-(q+q')/2) cosh S, without overflow."""
    s = _covariance(q1, q2, delta)
    peak = torch.exp(s.abs() - (q1 + q2) / 2) / 2
    decay = torch.expm1(-2 * s.abs())
    return peak * decay.neg() * s.sign(), peak * (decay + 2)


def cos_moments(q1: Tensor, q2: Tensor, delta: Tensor) -> Moments:
    """The moments of sin, exchanged."""
    value, slope = sin_moments(q1, q2, delta)
    return slope, value


def exp_moments(q1: Tensor, q2: Tensor, delta: Tensor) -> Moments:
    """E[s s] = E[s' s'] = exp((q+q')/2 + S); overflows at q = 350 in float64."""
    value = torch.exp((q1 + q2) / 2 + _covariance(q1, q2, delta))
    return value, value.clone()


def erfc_moments(q1: Tensor, q2: Tensor, delta: Tensor) -> Moments:
    """Moments of 1 - erf, erf being odd."""
    value, slope = erf_moments(q1, q2, delta)
    return value + 1, slope


def erf_means(q: Tensor) -> Moments:
    """E[s] = 0 and E[s'] = 2 / sqrt(pi (1+2q))."""
    return torch.zeros_like(q), 2 / (math.pi * (1 + 2 * q)).sqrt()


def erfc_means(q: Tensor) -> Moments:
    """E[s] = 1 and the slope of -erf."""
    value, slope = erf_means(q)
    return value + 1, -slope


def gelu_means(q: Tensor) -> Moments:
    """E[s] = q / sqrt(2 pi (1+q)) and E[s'] = 1/2."""
    return q / (2 * math.pi * (1 + q)).sqrt(), torch.full_like(q, 0.5)


def sin_means(q: Tensor) -> Moments:
    """E[s] = 0 and E[s'] = exp(-q/2)."""
    return torch.zeros_like(q), torch.exp(-q / 2)


def cos_means(q: Tensor) -> Moments:
    """E[s] = exp(-q/2) and E[s'] = 0."""
    return torch.exp(-q / 2), torch.zeros_like(q)


def exp_means(q: Tensor) -> Moments:
    """E[s] = E[s'] = exp(q/2)."""
    value = torch.exp(q / 2)
    return value, value.clone()


def _covariance(q1: Tensor, q2: Tensor, delta: Tensor) -> Tensor:
    """S = sqrt(q q') (1 - delta)."""
    return q1.sqrt() * q2.sqrt() * (1 - delta)


def _determinant(q1: Tensor, q2: Tensor, delta: Tensor) -> Tensor:
    """(1+q)(1+q') - S^2 = 1 + q + q' + q q' delta (2 - delta)."""
    return 1 + q1 + q2 + q1 * q2 * (delta * (2 - delta))
