"""What each layer does to the variance of one input ("row") and the covariance of two ("pair").

Array layouts are those of geometry.py. A pair is carried as delta = 1 - K / sqrt(q q') and the
tangent kernel theta, so that nearly parallel inputs keep their small angles through all layers.
An operation may overwrite the pairs that it is given.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import ConfigurationError, UnsupportedLayerError
from . import geometry
from .duals import Dual, smooth_gap
from .geometry import left, right


class Row(NamedTuple):
    """Variance q (*pixels, N), what the pairs of this operation need (N last), and the layout."""

    q: Tensor
    parts: tuple[Tensor, ...] = ()
    flat: bool = False

    def take(self, inputs: slice) -> "Row":
        """The rows of some inputs."""
        return Row(self.q[..., inputs], tuple(part[..., inputs] for part in self.parts), self.flat)

    @property
    def is_map(self) -> bool:
        """Whether there are pixels."""
        return self.q.ndim == 3


class Pair(NamedTuple):
    """Correlation gap, tangent kernel, and eta = 1 + rho where some pair is nearly antiparallel."""

    delta: Tensor
    theta: Tensor
    eta: Tensor | None = None


class Side(NamedTuple):
    """Rows of an operation (`out`) and of its sources for the inputs of one side of a tile."""

    out: Row
    sources: list[Row]


def covariance(first: Row, second: Row, delta: Tensor, crossed: bool) -> Tensor:
    """K = sqrt(q q') (1 - delta)."""
    spread = crossed and first.is_map
    scale = left(first.q.sqrt(), spread) * right(second.q.sqrt(), spread)
    return scale.addcmul_(scale, delta, value=-1)


@dataclass(frozen=True)
class Dense:
    """Dense layer: sums over the features of an input, or over all pixels of a flattened map."""

    name: str
    sigma_w: float
    sigma_b: float
    bias: str
    fan_in: int

    def read(self, x: Tensor) -> Row:
        """Row of the first weight layer, from the inputs themselves."""
        features = self._features(x)
        if len(features) != self.fan_in:
            raise ConfigurationError(
                f"inputs of shape {tuple(x.shape)}: {self.name} sums over {len(features)} numbers "
                f"there, but has weights for {self.fan_in}"
            )
        q, units, _ = self._combine(features)
        return Row(q, (units,))

    def meet(self, first: Side, second: Side, crossed: bool) -> Pair:
        """Pair of the first weight layer: K = sigma_w^2 <x, x'> / n0 + sigma_b^2 = theta."""
        (u,), (v,) = first.out.parts, second.out.parts
        delta = geometry.gap(u, v, crossed)
        eta = geometry.opposite_gap(u, v, crossed, delta)
        return Pair(
            delta, self._add_late_bias(covariance(first.out, second.out, delta, crossed)), eta
        )

    def rows(self, source: Row) -> Row:
        """Variance Q = sigma_w^2 mean(q) + sigma_b^2, and the share of each term in sqrt(Q)."""
        q, units, inverse = self._combine(self._features(_as_data(source)))
        return Row(q, (units, inverse * self.sigma_w if source.is_map else units[0]))

    def pairs(self, source: Pair, first: Side, second: Side, crossed: bool) -> Pair:
        """K' = sigma_w^2 mean(K) + sigma_b^2 and theta' = sigma_w^2 mean(theta) + K'."""
        delta, eta = source.delta, source.eta
        if len(first.out.parts[0]) > 1 or first.sources[0].is_map:
            if first.sources[0].is_map:
                _scale(delta, first.sources[0].q, second.sources[0].q, crossed)
            base = self._average(delta, crossed)
            delta, eta = _combined_gap(base, first.out, second.out, crossed), None
        theta = covariance(first.out, second.out, delta, crossed)
        theta.add_(self._average(source.theta, crossed), alpha=self.sigma_w**2)
        return Pair(delta, self._add_late_bias(theta), eta)

    def _features(self, x: Tensor) -> Tensor:
        """What the layer sums over: (N, K) to (K, N)."""
        if x.ndim != 2:
            raise UnsupportedLayerError(
                f"{self.name}: Dense on images {tuple(x.shape)}; put nn.Flatten() or a mean over "
                "space before it"
            )
        return x.mT

    def _average(self, array: Tensor, crossed: bool) -> Tensor:
        """Mean over the equal pixels of a flattened map; nothing to do for one feature."""
        if array.ndim == 2:
            return array
        if crossed:
            array = array.diagonal(0, 0, 3).diagonal(0, 0, 2)
            return array.mean(dim=(-2, -1))
        return array.mean(dim=(0, 1))

    def _combine(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Variance of sigma_w mean(features) + bias, unit vector of its terms, 1/sqrt(variance)."""
        terms = features * (self.sigma_w / len(features) ** 0.5)
        if self.sigma_b and self.bias == "normal":
            bias = torch.full_like(terms[:1], self.sigma_b)
            terms = torch.cat([terms.movedim(0, -1), bias.movedim(0, -1)], -1).movedim(-1, 0)
        return _unit_terms(terms)

    def _add_late_bias(self, theta: Tensor) -> Tensor:
        """A bias that starts at zero moves, but adds nothing to the initial covariance."""
        return theta.add_(self.sigma_b**2) if self.bias == "zero" else theta


@dataclass(frozen=True)
class Convolution(Dense):
    """Convolution, stride 1: the same sums over the k x k diagonal shifts of a pixel pair."""

    filter_size: int
    padding: int

    def _features(self, x: Tensor) -> Tensor:
        """Patches (N, C, H, W) to (C k k, h, w, N)."""
        k, padding = self.filter_size, self.padding
        if x.ndim != 4 or min(x.shape[2:]) + 2 * padding < k:
            raise UnsupportedLayerError(
                f"{self.name}: Conv2d with a {k} x {k} filter needs images (N, C, H, W) at least "
                f"that large, not {tuple(x.shape)}"
            )
        patches = F.unfold(x, k, padding=padding)
        return patches.unflatten(-1, (x.shape[2] + 2 * padding - k + 1, -1)).permute(1, 2, 3, 0)

    def _average(self, array: Tensor, crossed: bool) -> Tensor:
        """Mean over the shifts of both pixels together."""
        for axis in (0, 1):
            axes = (axis, axis + 3) if crossed else (axis,)
            array = geometry.window_sum(array, axes, self.filter_size, self.padding)
        return array.div_(self.filter_size**2)


@dataclass(frozen=True)
class Activation:
    """Elementwise activation, through its dual."""

    name: str
    dual: Dual

    def rows(self, source: Row) -> Row:
        """E[s(u)^2] and what the dual prepares for each row."""
        return Row(self.dual.variance(source.q), self.dual.prepare(source.q), source.flat)

    def pairs(self, source: Pair, first: Side, second: Side, crossed: bool) -> Pair:
        """K' = E[s(u) s(v)] and theta' = theta E[s'(u) s'(v)]."""
        spread = crossed and first.out.is_map
        parts1 = [left(part, spread) for part in first.out.parts]
        parts2 = [right(part, spread) for part in second.out.parts]
        delta, slope = self.dual.respond(source.delta, source.eta, parts1, parts2)
        return Pair(delta, slope.mul_(source.theta))


@dataclass(frozen=True)
class Sum:
    """Sum of branches that are uncorrelated: kernels add."""

    name: str

    def rows(self, *sources: Row) -> Row:
        """Variance, and the share of each branch in its root."""
        q, units, inverse = _unit_terms(torch.stack([source.q.sqrt() for source in sources]))
        return Row(q, (units, inverse), sources[0].flat)

    def pairs(self, *pairs_and_sides) -> Pair:
        """K' = sum of K, theta' = sum of theta."""
        *pairs, first, second, crossed = pairs_and_sides
        for pair, row1, row2 in zip(pairs, first.sources, second.sources, strict=True):
            _scale(pair.delta, row1.q, row2.q, crossed)
        base = sum(pair.delta for pair in pairs)
        delta = _combined_gap(base, first.out, second.out, crossed)
        return Pair(delta, sum(pair.theta for pair in pairs))


@dataclass(frozen=True)
class Flatten:
    """Pixels become features of the dense layer that follows."""

    name: str

    def read(self, x: Tensor) -> Tensor:
        """Flatten the inputs themselves."""
        return x.flatten(1)

    def rows(self, source: Row) -> Row:
        """Nothing changes but what the next dense layer sums over."""
        return Row(source.q, flat=True)

    def pairs(self, source: Pair, first: Side, second: Side, crossed: bool) -> Pair:
        """Nothing changes."""
        return source


@dataclass(frozen=True)
class Unflatten:
    """Flat inputs become images, before any layer."""

    name: str
    shape: tuple[int, ...]

    def read(self, x: Tensor) -> Tensor:
        """Give the inputs the shape of images."""
        return x.unflatten(1, self.shape)


@dataclass(frozen=True)
class Pool:
    """Global average pooling: kernels are averaged over all pixel pairs."""

    name: str

    def read(self, x: Tensor) -> Tensor:
        """Pool the inputs themselves."""
        self._check(x.ndim == 4)
        return x.mean(dim=(-2, -1))

    def rows(self, source: Row, self_covariance: Callable[[], Tensor]) -> Row:
        """Variance (N,) is the mean of the input's own pixel-pair covariances."""
        self._check(source.is_map and not source.flat)
        return Row(self_covariance())

    def pairs(self, source: Pair, first: Side, second: Side, crossed: bool) -> Pair:
        """K' = mean of K and theta' = mean of theta over all pixel pairs."""
        value = self.average(covariance(first.sources[0], second.sources[0], source.delta, crossed))
        delta = smooth_gap(value, first.out.q.sqrt()[:, None], second.out.q.sqrt())
        return Pair(delta, self.average(source.theta))

    @staticmethod
    def average(array: Tensor) -> Tensor:
        """Mean over all pixel pairs of (h, w, N1, h, w, N2)."""
        return array.mean(dim=(0, 1, 3, 4))

    def _check(self, is_map: bool) -> None:
        if not is_map:
            raise UnsupportedLayerError(f"{self.name}: a mean over space needs images")


def _as_data(row: Row) -> Tensor:
    """Standard deviations as if they were inputs: (N, 1), (N, pixels) or (N, 1, h, w)."""
    root = row.q.sqrt()
    if not row.is_map:
        return root[:, None]
    return root.flatten(0, 1).mT if row.flat else root.permute(2, 0, 1)[:, None]


def _unit_terms(terms: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Squared norm, unit vector and inverse norm of terms (K, *pixels, N); zero stays zero."""
    norm = terms.norm(dim=0)
    inverse = 1 / torch.where(norm > 0, norm, 1)
    return norm.square(), terms * inverse, inverse


def _scale(array: Tensor, q1: Tensor, q2: Tensor, crossed: bool) -> None:
    """Multiply a pair array by sqrt(q q')."""
    spread = crossed and q1.ndim == 3
    array.mul_(left(q1.sqrt(), spread)).mul_(right(q2.sqrt(), spread))


def _combined_gap(base: Tensor, first: Row, second: Row, crossed: bool) -> Tensor:
    """Gap of a sum of uncorrelated terms, base holding their gaps up to a factor of each row.

    With unit vectors u, v of the terms' standard deviations, delta = <u v, delta> + 1 - <u, v>.
    """
    (u, factor1), (v, factor2) = first.parts, second.parts
    spread = crossed and first.is_map
    base.mul_(left(factor1, spread)).mul_(right(factor2, spread))
    return geometry.gap(u, v, crossed, base)
