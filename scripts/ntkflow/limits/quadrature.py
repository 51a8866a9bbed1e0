"""Gaussian expectations of one variable by Gauss-Legendre panels that end at the kinks."""

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

REACH = 13.0  # standard deviations, as for Hermite polynomials, whose share lies further out
DEGREE, FAR = 320, 0.88  # FAR^DEGREE = 2e-18
_NODES = 16
_ROWS = 512


@functools.lru_cache(maxsize=16)
def legendre(count: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Nodes and weights of the Gauss-Legendre rule on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    options = {"dtype": dtype, "device": device}
    return torch.tensor((nodes + 1) / 2, **options), torch.tensor(weights / 2, **options)


def panels(ends: Sequence[Tensor], count: int = _NODES) -> tuple[Tensor, Tensor]:
    """Nodes z (nodes, *pairs) and Gaussian weights of panels between ends in any order."""
    edges = torch.stack(torch.broadcast_tensors(*ends)).clamp(-REACH, REACH).sort(0).values
    nodes, weights = legendre(count, edges.dtype, edges.device)
    column = (1, count, *[1] * (edges.ndim - 1))
    length = edges.diff(dim=0)[:, None]
    z = (edges[:-1, None] + length * nodes.view(column)).flatten(0, 1)
    measure = (length * weights.view(column)).flatten(0, 1)
    return z, measure * torch.exp(z.square() * -0.5) * (1 / math.sqrt(2 * math.pi))


def ladder(
    sigma: Tensor, kinks: Sequence[float | int], widest: float, finest: Tensor | None = None
) -> list[Tensor]:
    """Ends of panels in units of sigma: the kinks, and steps 2, 8, 32... to both sides of them.

    An activation changes over distances of about 1, however large sigma is; where no kink is
    given, zero is where it does. `widest` is the largest sigma, 0 for linear pieces; the steps
    are in units of `finest`.
    """
    tiny = torch.finfo(sigma.dtype).tiny ** 0.5
    scale, unit = sigma.clamp(min=tiny), (sigma if finest is None else finest).clamp(min=tiny)
    steps = [2.0 * 4**i for i in range(8) if 2.0 * 4**i < REACH * widest]
    offsets = [0.0, *steps, *(-step for step in steps)]
    return [kink / scale + offset / unit for kink in kinks or [0.0] for offset in offsets]


def grid(like: Tensor, ends: Sequence[float | int] = (-REACH, -6.0, -2.0, 2.0, 6.0, REACH)):
    """Ends of panels in which the Gaussian itself is smooth."""
    return [torch.full_like(like, end) for end in ends]


def differentiate(function: Callable[[Tensor], Tensor], u: Tensor) -> tuple[Tensor, Tensor]:
    """Values of s and of s' as torch differentiates it."""
    with torch.enable_grad():
        u = u.detach().requires_grad_()
        value = function(u.clone())
        if not value.requires_grad:  # a step, whose derivative is zero
            return value, torch.zeros_like(u)
        (slope,) = torch.autograd.grad(value.sum(), u)
    return value.detach(), slope


class RowMoments:
    """E[s], E[s'] and E[s^2] of u ~ N(0, q) for an activation with given kinks."""

    def __init__(
        self,
        function: Callable[[Tensor], Tensor],
        kinks: Sequence[float | int] = (),
        curved: bool = True,
    ):
        self.function, self.curved = function, curved
        self.kinks = tuple(sorted({float(kink) for kink in kinks}))

    def mean(self, q: Tensor) -> Tensor:
        """E[s(u)]."""
        return self._expect(q, lambda value, slope: value)

    def slope_mean(self, q: Tensor) -> Tensor:
        """E[s'(u)], s' as torch has it: where s jumps, the jump is left out."""
        return self._expect(q, lambda value, slope: slope)

    def variance(self, q: Tensor) -> Tensor:
        """E[s(u)^2]."""
        return self._expect(q, lambda value, slope: value.square())

    def _expect(self, q: Tensor, integrand: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """E[integrand(s(u), s'(u))] in chunks of rows."""
        parts = [self._expect_rows(chunk, integrand) for chunk in q.flatten().split(_ROWS)]
        return torch.cat(parts).view(q.shape)

    def _expect_rows(self, q: Tensor, integrand: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        z, weights = panels(grid(q) + self.ends(q.sqrt()))
        return (weights * integrand(*differentiate(self.function, q.sqrt() * z))).sum(0)

    def ends(self, sigma: Tensor) -> list[Tensor]:
        """Ends of panels in which s(sigma z) is smooth."""
        return ladder(sigma, self.kinks, largest(sigma) if self.curved else 0.0)

    def coefficients(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """Hermite coefficients of s(sqrt(q) z) and of s'(sqrt(q) z), each (degree, *pixels, N)."""
        parts = [self._coefficients(chunk) for chunk in q.flatten().split(_ROWS)]
        return tuple(
            torch.cat(each, -1).unflatten(-1, q.shape) for each in zip(*parts, strict=True)
        )

    def _coefficients(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """By the recursion of orthonormal Hermite polynomials at the nodes."""
        edges = torch.linspace(-REACH, REACH, 40).tolist()
        z, weights = panels(grid(q, edges) + self.ends(q.sqrt()))
        value, slope = differentiate(self.function, q.sqrt() * z)
        before, at, found = torch.zeros_like(z), weights, []
        for k in range(1 if q.is_meta else DEGREE):
            found.append(((at * value).sum(0), (at * slope).sum(0)))
            before, at = at, (z * at - math.sqrt(k) * before) / math.sqrt(k + 1)
        return tuple(torch.stack(each) for each in zip(*found, strict=True))


def largest(sigma: Tensor) -> float:
    """Largest entry; one where there is none to look at."""
    return 1.0 if sigma.is_meta or not sigma.numel() else sigma.amax().item()
