"""Duals of activations without a closed form, by their Hermite series.

With orthonormal Hermite polynomials h_k and a_k(q) = E[s(sqrt(q) z) h_k(z)], z ~ N(0, 1), Mehler's
formula gives E[s(u) s(v)] = sum_k a_k(q) a_k(q') rho^k, and the same for s' (O'Donnell 2014,
Analysis of Boolean Functions, section 11.2; Daniely et al. 2016, arXiv:1602.05897). One-dimensional
integrals for each row and a polynomial for each pair replace a two-dimensional quadrature for each
pair; degree 64 here is worth more than 64 Gauss-Hermite nodes per axis.
"""

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import UnsupportedLayerError
from .duals import Moments, smooth_gap
from .quadrature import differentiate

_MAX_DEGREE = 1024
_REACH, _STEP = 13.0, 0.02  # the trapezoid rule converges exponentially on analytic functions
_TARGET, _ALLOWED = 1e-15, 1e-8  # share of E[s^2] that the series may leave out
_ROWS = 2048


class HermiteDual:
    """Dual of a smooth elementwise activation; refuses one whose series converges too slowly."""

    def __init__(self, function: Callable[[Tensor], Tensor], name: str):
        self.function, self.name = function, name

    def variance(self, q: Tensor) -> Tensor:
        """E[s(u)^2], from the quadrature itself."""
        values, _ = _on_rows(self._squares, q)
        return values

    def mean(self, q: Tensor) -> Tensor:
        """E[s(u)]."""
        return _on_rows(self._means, q)[0]

    def slope_mean(self, q: Tensor) -> Tensor:
        """E[s'(u)]."""
        return _on_rows(self._means, q)[1]

    def prepare(self, q: Tensor) -> tuple[Tensor, ...]:
        """Standard deviation (*pixels, N); coefficients of s and of s' (degree, *pixels, N)."""
        coefficients, squares = _on_rows(self._coefficients, q), _on_rows(self._squares, q)
        return squares[0].sqrt(), *map(self._truncate, coefficients, squares, (q, q))

    def respond(self, delta: Tensor, eta: Tensor | None, first: list, second: list) -> Moments:
        """Gap and slope from Mehler's formula."""
        (root1, value1, slope1), (root2, value2, slope2) = first, second
        value = series(value1, value2, 1 - delta)
        return smooth_gap(value, root1, root2), series(slope1, slope2, 1 - delta)

    def _samples(self, q: Tensor) -> Moments:
        """Values of s and s' at sqrt(q) z for all nodes z, each (rows, nodes)."""
        nodes, _, _ = _rule(q.dtype, q.device)
        return differentiate(self.function, q.sqrt()[:, None] * nodes)

    def _squares(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """E[s^2] and E[s'^2], each (rows,)."""
        _, weights, _ = _rule(q.dtype, q.device)
        value, slope = self._samples(q)
        return value.square() @ weights, slope.square() @ weights

    def _means(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """E[s] and E[s'], each (rows,)."""
        _, weights, _ = _rule(q.dtype, q.device)
        value, slope = self._samples(q)
        return value @ weights, slope @ weights

    def _coefficients(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """Hermite coefficients of s and s', each (degree, rows)."""
        _, _, polynomials = _rule(q.dtype, q.device)
        value, slope = self._samples(q)
        return polynomials @ value.mT, polynomials @ slope.mT

    def _truncate(self, coefficients: Tensor, square: Tensor, q: Tensor) -> Tensor:
        """Keep the degrees that matter; an unresolved activation is an error."""
        if q.is_meta or not q.numel():
            return coefficients[:1]  # values, and so the degree, are unknown; shapes do not care
        rest = coefficients.square().flip(0).cumsum(0).flip(0)  # sum over degrees >= k
        scale = square.clamp(min=torch.finfo(q.dtype).tiny)
        missing = ((square - rest[0]) / scale).amax().item()
        if not missing < max(_ALLOWED, 100 * torch.finfo(q.dtype).eps):
            raise UnsupportedLayerError(
                f"{self.name}: its Hermite series of degree {_MAX_DEGREE} leaves out "
                f"{missing:.1e} of the variance at q = {q.max().item():.3g}; allowed is "
                f"{_ALLOWED:.0e} (a smooth activation, inputs of moderate size); one whose value, "
                "slope or curvature jumps can be registered with register_activation(..., kinks=)"
            )
        needed = ((rest / scale) > _TARGET).flatten(1).any(1)
        return coefficients[: int(needed.sum())]


@functools.lru_cache(maxsize=8)
def _rule(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Nodes, Gaussian weights, and weighted polynomials h_k (degree, nodes) of the quadrature."""
    count = round(2 * _REACH / _STEP) + 1
    nodes = torch.linspace(-_REACH, _REACH, count, dtype=torch.float64, device=device)
    weights = torch.exp(-nodes.square() / 2) * (_STEP / math.sqrt(2 * math.pi))
    rows = [weights, nodes * weights]
    for k in range(1, _MAX_DEGREE - 1):
        rows.append((nodes * rows[k] - math.sqrt(k) * rows[k - 1]) / math.sqrt(k + 1))
    return tuple(t.to(dtype) for t in (nodes, weights, torch.stack(rows)))


def _on_rows(function, q: Tensor) -> list[Tensor]:
    """Apply a function of (rows,) in chunks to (*pixels, N), restoring the shape."""
    parts = [function(chunk) for chunk in q.flatten().split(_ROWS)]
    return [torch.cat(each, -1).unflatten(-1, q.shape) for each in zip(*parts, strict=True)]


def series(first: Tensor, second: Tensor, rho: Tensor) -> Tensor:
    """Horner's rule for sum_k first[k] second[k] rho^k."""
    total = torch.zeros_like(rho)
    for a1, a2 in reversed(list(zip(first, second, strict=False))):
        total.mul_(rho).add_(a1 * a2)
    return total
