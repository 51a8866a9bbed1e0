"""Duals of activations with kinks and jumps, which keep their accuracy at small angles.

Pairs that are far from parallel have a Hermite series that converges whatever the activation is
like. For the others, the correlation gap of a pair at the angle theta is that of parallel inputs
with the same variances, an integral of a square, plus sqrt(q q') times the integral of
E[s' s'] sin(t) over angles t < theta (Price's theorem): both are sums of positive terms where the
gap is small.
"""

import functools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .duals import Moments, smooth_gap
from .hermite import series
from .quadrature import FAR, RowMoments, differentiate, grid, ladder, largest, panels
from .wedges import Angle, Kinks, find_kinks, limit, wedge

_SMALL = 1e-6  # gap below which 1 - K / sqrt(Q Q') would lose more than six digits

Smoothing = Callable[[Tensor, Tensor], Moments]


class _KinkedDual(RowMoments):
    """Hermite series where |rho| < 0.88, so that it converges for any function; else `near`."""

    size = 2**13

    def prepare(self, q: Tensor) -> tuple[Tensor, ...]:
        """Standard deviations before and after; Hermite coefficients of s and of s'."""
        return q.sqrt(), self.variance(q).sqrt(), *self.coefficients(q)

    def respond(self, delta: Tensor, eta: Tensor | None, first: list, second: list) -> Moments:
        """Gap and slope, first of all pairs as if they were far from parallel."""
        (sigma1, root1, value1, slope1), (sigma2, root2, value2, slope2) = first, second
        rho = (1 - delta).clamp_(-FAR, FAR)
        gap = smooth_gap(series(value1, value2, rho), root1, root2)
        slope = series(slope1, slope2, rho)
        near = (1 - delta).abs() > FAR
        if not delta.is_meta and near.any():
            eta = 2 - delta if eta is None else eta
            parts = [sigma1, root1, sigma2, root2, delta, eta]
            flat = [part.expand(delta.shape)[near].split(self.size) for part in parts]
            results = [self.near(*chunk) for chunk in zip(*flat, strict=True)]
            gap[near], slope[near] = (torch.cat(each) for each in zip(*results, strict=True))
        return gap, slope

    def near(self, sigma1, root1, sigma2, root2, delta, eta) -> Moments:
        """Gap and slope of flat pairs that are nearly parallel or antiparallel."""
        raise NotImplementedError


class PiecewiseLinearDual(_KinkedDual):
    """Activation with linear pieces that meet in kinks or jumps.

    With s(x) = m x + sum of c relu(x - k) + j H(x - k), all products of two terms have known
    means, those of two kinks up to the integrals of wedges.py. Where the angle is obtuse, v is
    replaced by -v and s(v) by s(-(-v)). E[s' s'] is that of torch's derivative, without jumps.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], kinks: Sequence[float | int]):
        super().__init__(function, kinks, curved=False)
        self.shape = find_kinks(function, kinks)
        self.sides = _sides_at_zero(function, self.shape)

    def near(self, sigma1, root1, sigma2, root2, delta, eta) -> Moments:
        """Flat pairs: the gap of parallel inputs, and what the angle adds to it."""
        sign = torch.where(delta > eta, -1.0, 1.0).to(delta.dtype)
        near = torch.minimum(delta, eta).clamp_(min=0)
        rest, slope = self._kinks_and_lines(sigma1, sigma2, near, sign)
        scale = (root1 * root2).clamp_(min=torch.finfo(delta.dtype).tiny)
        parallel = parallel_gap(self, sigma1, root1, sign * sigma2, root2)
        return (parallel + rest / scale).clamp_(0, 2), slope * sign

    def _kinks_and_lines(self, sigma1, sigma2, near, sign) -> Moments:
        """K(0) - K(theta) and E[s' g'] of s(u) and g(v) = s(sign v), angle at most pi/2."""
        low, high = self.shape.ends
        line1, line2 = low, torch.where(sign > 0, low, -high)
        ends1 = self._standardise(sigma1, torch.ones_like(sign))
        ends2 = self._standardise(sigma2, sign)
        drop, slope = line1 * line2 * near * sigma1 * sigma2, line1 * line2 + 0 * near
        for line, sigma, others, other_sigma in (
            (line1, sigma1, ends2, sigma2),
            (line2, sigma2, ends1, sigma1),
        ):
            for place, bend, jump in others:
                upper, density = _upper(place), _density(place)
                slope += line * bend * upper
                drop += line * sigma * near * (bend * other_sigma * upper + jump * density)
        angle = Angle.of(near)
        for one in ends1:
            for two in ends2:
                added = _two_kinks(one, two, sigma1, sigma2, near, angle)
                drop, slope = drop + added[0], slope + added[1]
        return drop, slope

    def _standardise(self, sigma: Tensor, sign: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Place in standard deviations, bend and jump of each kink of s(sign x)."""
        bound, tiny = limit(sigma.dtype), torch.finfo(sigma.dtype).tiny
        kinks = []
        for k, bend, jump, side in zip(*self.shape[:3], self.sides, strict=True):
            place = (k / sigma.clamp(min=tiny)).clamp(-bound, bound)
            place = place if k else torch.where(sigma > 0, place, side * bound)
            kinks.append((sign * place, bend * torch.ones_like(sign), jump * sign))
        return kinks


def _two_kinks(one, two, sigma1, sigma2, near, angle: Angle) -> Moments:
    """Parts of K(0) - K(theta) and of E[s' g'] that come from a kink of each side."""
    (a, bend1, jump1), (b, bend2, jump2) = one, two
    swap = a < b
    high, low = torch.maximum(a, b), torch.minimum(a, b)
    bend_high = torch.where(swap, bend2 * sigma2, bend1 * sigma1)
    bend_low = torch.where(swap, bend1 * sigma1, bend2 * sigma2)
    jump_high, jump_low = torch.where(swap, jump2, jump1), torch.where(swap, jump1, jump2)
    share, above, below, both = wedge(high, low, angle)
    upper, density = _upper(high), _density(high)
    drop = bend_high * (bend_low * (near * upper - both) + jump_low * above)
    drop = drop + jump_high * (bend_low * (near * density - below) + jump_low * share)
    return drop, bend1 * bend2 * (upper - share)


def _sides_at_zero(function: Callable[[Tensor], Tensor], kinks: Kinks) -> list[float]:
    """For each kink at zero, -1 where torch has s(0) and s'(0) of the piece above it, else 1."""
    zero, up = torch.zeros(1, dtype=torch.float64), torch.full((1,), 1e-150, dtype=torch.float64)
    at, above = (torch.cat(differentiate(function, x)) for x in (zero, up))
    side = -1.0 if torch.allclose(at, above, rtol=1e-12, atol=1e-100) else 1.0
    return [side] * len(kinks.places)


class PiecewiseDual(_KinkedDual):
    """Activation of smooth pieces between kinks, where it, its slope or its curvature jumps.

    E[s(u) s(v)] = E[s(u) W(m)], W(m) = E[s(m + t z)] with m = rho sqrt(q'/q) u and
    t = sqrt(q' (1 - rho^2)), and the same for s', in panels that end at the kinks and follow the
    steps of W, as narrow as t. `smoothing`, where it is known, gives W of s and of s'; else it is
    one more quadrature for each node, a hundred times as slow. Where s itself jumps and is not
    linear, small gaps have an absolute error of 1e-15.
    """

    def __init__(
        self,
        function: Callable[[Tensor], Tensor],
        kinks: Sequence[float | int],
        smoothing: Smoothing | None = None,
    ):
        super().__init__(function, kinks)
        self.shape = find_kinks(function, kinks)
        self.smoothing = smoothing or self._smooth
        self.size = 2**8 if smoothing else 2**2
        self.bends = [(k, c) for k, c in zip(self.kinks, self.shape.bends, strict=True) if c]

    def near(self, sigma1, root1, sigma2, root2, delta, eta) -> Moments:
        """Flat pairs: from E[s s] where the gap is large, else from the integral of E[s' s']."""
        value, slope = self._moments(sigma1, sigma2, delta, eta)
        scale = (root1 * root2).clamp_(min=torch.finfo(delta.dtype).tiny)
        gap = 1 - value / scale
        small = (delta < _SMALL) & (not any(self.shape.jumps))
        if not delta.is_meta and small.any():
            rows = [part[small] for part in (sigma1, root1, sigma2, root2, delta)]
            gap[small] = self._small_gap(*rows)
        return gap.clamp_(0, 2), slope

    def _small_gap(self, sigma1, root1, sigma2, root2, delta) -> Tensor:
        """Gap of parallel inputs plus the integral of E[s' s'], kinks by wedges.

        What the kinks leave of E[s' s'] is linear in delta up to theta^3: its mean is at delta/2.
        """
        near = delta / 2
        smooth = self._moments(sigma1, sigma2, near, 2 - near)[1]
        smooth = smooth - self._bent(sigma1, sigma2, near)[1]
        change = self._bent(sigma1, sigma2, delta)[0] + smooth * sigma1 * sigma2 * delta
        scale = (root1 * root2).clamp_(min=torch.finfo(delta.dtype).tiny)
        return parallel_gap(self, sigma1, root1, sigma2, root2) + change / scale

    def _bent(self, sigma1, sigma2, delta) -> Moments:
        """K(0) - K(theta) and E[p' p'] of p = sum of c relu(x - k)."""
        drop, slope, angle = torch.zeros_like(delta), torch.zeros_like(delta), Angle.of(delta)
        one, none = torch.ones_like(delta), torch.zeros_like(delta)
        for k, c in self.bends:
            for other_k, other_c in self.bends:
                first = (_place(k, sigma1), c * one, none)
                second = (_place(other_k, sigma2), other_c * one, none)
                added = _two_kinks(first, second, sigma1, sigma2, delta, angle)
                drop, slope = drop + added[0], slope + added[1]
        return drop, slope

    def _moments(self, sigma1, sigma2, delta, eta) -> Moments:
        """E[s s] and E[s' s'] by the integral over u."""
        rho, sine = 1 - delta, (delta * eta).clamp(min=0).sqrt()
        z, weights = panels(grid(rho) + self._ends(sigma1, sigma2, rho, sine))
        value, slope = differentiate(self.function, sigma1 * z)
        spread = (sigma2 * sine).clamp(min=torch.finfo(z.dtype).tiny ** 0.5)
        smoothed = self.smoothing(sigma2 * rho * z, spread.expand_as(z))
        at_zero = differentiate(self.function, torch.zeros_like(sigma2))
        mean, mean_slope = map(functools.partial(torch.where, sigma2 > 0), smoothed, at_zero)
        return (weights * value * mean).sum(0), (weights * slope * mean_slope).sum(0)

    def _ends(self, sigma1, sigma2, rho, sine) -> list[Tensor]:
        """Ends of panels: those of s(u), and where E[s(v) | u] passes a kink."""
        tiny = torch.finfo(rho.dtype).tiny ** 0.5
        finest = torch.maximum(sigma1, sigma2)
        ends = ladder(sigma1, self.kinks, largest(finest), finest)
        for k in self.kinks or (0.0,):
            place = k / (sigma2 * rho.abs()).clamp(min=tiny) * rho.sign()
            width = sine / rho.abs().clamp(min=tiny)
            ends += [place + step * width for step in (-8.5, -3.0, 0.0, 3.0, 8.5)]
        return ends

    def _smooth(self, mean: Tensor, spread: Tensor) -> Moments:
        """E[s(m + t z)] and E[s'(m + t z)] by panels that end at the kinks."""
        places = ladder(torch.ones_like(mean), self.kinks, largest(spread))
        z, weights = panels(
            grid(mean, (-9.0, -4.0, -1.5, 1.5, 4.0, 9.0))
            + [(place - mean) / spread for place in places],
            12,
        )
        value, slope = differentiate(self.function, mean + spread * z)
        return (weights * value).sum(0), (weights * slope).sum(0)


def parallel_gap(dual: RowMoments, sigma1, root1, sigma2, root2) -> Tensor:
    """Gap of (u, v) = (sigma z, sigma' z), as E[(s(u)/R - s(v)/R')^2] / 2."""
    tiny = torch.finfo(sigma1.dtype).tiny
    ends = [end * sigma2.sign() for end in dual.ends(sigma2.abs())]
    z, weights = panels(grid(sigma1) + dual.ends(sigma1) + ends)
    difference = dual.function(sigma1 * z) / root1.clamp(min=tiny)
    difference = difference - dual.function(sigma2 * z) / root2.clamp(min=tiny)
    return (weights * difference.square()).sum(0) / 2


def _place(kink: float, sigma: Tensor) -> Tensor:
    """Kink in standard deviations."""
    bound = limit(sigma.dtype)
    return (kink / sigma.clamp(min=torch.finfo(sigma.dtype).tiny)).clamp(-bound, bound)


def _upper(a: Tensor) -> Tensor:
    """P(z > a)."""
    return torch.special.ndtr(-a)


def _density(a: Tensor) -> Tensor:
    """Normal density."""
    return torch.exp(a.square() * -0.5) * (1 / math.sqrt(2 * math.pi))
