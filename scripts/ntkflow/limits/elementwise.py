"""Functions of one value channel by channel, products of two, and dropout."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..errors import UnsupportedLayerError
from .duals import Dual
from .geometry import left, right
from .nodes import Meeting, Node, Pair, Request, Rows, independent, itself, of_means, uncorrelated


@dataclass(eq=False)
class Activation(Node):
    """Elementwise activation of a Gaussian value, through its dual."""

    rank: ClassVar[int] = 2
    source: Node
    dual: Dual
    function: Callable[[Tensor], Tensor]
    gain_dual: Dual | None = None

    def __post_init__(self):
        self.keys, self.gains = self.source.keys, self.source.gains

    @property
    def sources(self) -> list[Node]:
        """What it is applied to."""
        return [self.source]

    def variance(self, rows: Rows, own: Callable) -> Tensor:
        """E[s(u)^2]."""
        return self.dual.variance(rows.q(self.source))

    def mean(self, rows: Rows) -> Tensor:
        """E[s(u)]."""
        return self.dual.mean(rows.q(self.source))

    def parts(self, rows: Rows) -> tuple[Tensor, ...]:
        """What the dual prepares for each row."""
        return self.dual.prepare(rows.q(self.source))

    def requests(self, other: Node, crossed: bool) -> list[Request]:
        """The pair of what the activation is applied to."""
        if independent(self, other):
            return []
        if isinstance(other, Activation):
            self._check_alike(other)
            return [Request(self.source, other.source, crossed)]
        return [Request(self.source, other, crossed)]

    def _check_alike(self, other: "Activation") -> None:
        if not _same_dual(self.dual, other.dual):
            raise UnsupportedLayerError(
                f"{self.name}: {other.name} is another activation of correlated values, and both "
                "are added or read by one layer; give one of them a weight layer of its own"
            )

    def pairs(self, other: Node, meeting: Meeting, sources: list[Pair]) -> Pair:
        """K' = E[s(u) s(v)] and theta' = theta E[s'(u) s'(v)]; with a Gaussian v: Stein's lemma."""
        if independent(self, other):
            return of_means(self, other, meeting)
        (source,) = sources
        if isinstance(other, Activation):
            parts1 = [left(part, meeting.crossed) for part in meeting.first.parts(self)]
            parts2 = [right(part, meeting.crossed) for part in meeting.second.parts(other)]
            if self.gain_dual and other.gain_dual:
                return self._with_gain(other, meeting, source, parts1, parts2)
            delta, slope = self.dual.respond(source.delta, source.eta, parts1, parts2)
            return Pair(delta, slope.mul_(source.theta))
        slope = left(self.dual.slope_mean(meeting.first.q(self.source)), meeting.crossed)
        value = meeting.covariance(self.source, other, source.delta) * slope
        return Pair(meeting.correlated(self, other, value), source.theta * slope)

    def _with_gain(self, other, meeting: Meeting, source: Pair, parts1, parts2) -> Pair:
        """After a learnt gain g of y: theta of g is E[u v s'(u) s'(v)], not E[u v] E[s' s']."""
        learnt = self.source.learnt(other.source, meeting, source.delta)
        kept = source.delta.clone()
        delta, slope = self.dual.respond(source.delta, source.eta, parts1, parts2)
        theta = slope.mul_(source.theta.sub_(learnt))
        if not self.source.own_gains & other.source.own_gains:
            return Pair(delta, theta)
        if self.gain_dual is self.dual:  # u s'(u) = s(u)
            value = meeting.covariance(self, other, delta)
        else:
            value = self._gain_value(other, meeting, kept)
        return Pair(delta, theta.add_(self.source.at_places(value, meeting)))

    def _gain_value(self, other, meeting: Meeting, delta: Tensor) -> Tensor:
        sides = [(meeting.first, self, left), (meeting.second, other, right)]
        q = [rows.q(node.source) for rows, node, _ in sides]
        parts = [
            [side(part, meeting.crossed) for part in self.gain_dual.prepare(each)]
            for each, (*_, side) in zip(q, sides, strict=True)
        ]
        roots = [self.gain_dual.variance(each).sqrt() for each in q]
        gap, _ = self.gain_dual.respond(delta, None, *parts)
        return (1 - gap) * left(roots[0], meeting.crossed) * right(roots[1], meeting.crossed)


def _same_dual(a: Dual, b: Dual) -> bool:
    return a is b or (type(a) is type(b) and _said(a) == _said(b))


def _said(dual: Dual) -> dict:
    return {k: v for k, v in vars(dual).items() if k != "name"}


@dataclass(eq=False)
class Product(Node):
    """Product of independent values, channel by channel: kernels multiply."""

    rank: ClassVar[int] = 2
    factors: tuple[Node, Node]

    def __post_init__(self):
        self.keys = self.factors[0].keys | self.factors[1].keys
        self.gains = self.factors[0].gains | self.factors[1].gains
        self.centred = any(factor.centred for factor in self.factors)

    @property
    def sources(self) -> list[Node]:
        """What is multiplied."""
        return list(self.factors)

    def variance(self, rows: Rows, own: Callable) -> Tensor:
        """Q q'."""
        return rows.q(self.factors[0]) * rows.q(self.factors[1])

    def mean(self, rows: Rows) -> Tensor:
        """Product of the means."""
        return rows.mean(self.factors[0]) * rows.mean(self.factors[1])

    def requests(self, other: Node, crossed: bool) -> list[Request]:
        """The pairs of the first and of the second factors."""
        if independent(self, other):
            return []
        if not isinstance(other, Product) or not self._is_alike(other):
            raise UnsupportedLayerError(
                f"{self.name}: a product is added to, or read together with, one of its factors "
                f"({other.name}); put a weight layer between them"
            )
        both = zip(self.factors, other.factors, strict=True)
        return [Request(a, b, crossed) for a, b in both]

    def _is_alike(self, other: "Product") -> bool:
        """Whether first factors covary with first factors alone, and second with second."""
        (a, b), (c, d) = self.factors, other.factors
        zero = any(uncorrelated(*pair) for pair in ((a, c), (b, d)))
        return independent(a, d) and independent(b, c) and not zero

    def pairs(self, other: Node, meeting: Meeting, sources: list[Pair]) -> Pair:
        """K' = K_a K_b, theta' = theta_a K_b + K_a theta_b."""
        if independent(self, other):
            return of_means(self, other, meeting)
        a, b = sources
        delta = a.delta + b.delta - a.delta * b.delta
        values = [
            meeting.covariance(v, w, pair.delta)
            for v, w, pair in zip(self.factors, other.factors, sources, strict=True)
        ]
        return Pair(delta, a.theta * values[1] + b.theta * values[0])


@dataclass(eq=False)
class Dropped(Node):
    """Dropout in training mode: each entry is kept with a probability and divided by it.

    K' = K for two inputs, whose masks are independent, and K / keep for an entry with itself.
    """

    rank: ClassVar[int] = 4
    source: Node
    keep: float

    def __post_init__(self):
        self.keys, self.centred, self.gains = (
            self.source.keys,
            self.source.centred,
            self.source.gains,
        )

    @property
    def sources(self) -> list[Node]:
        """What entries are dropped from."""
        return [self.source]

    def variance(self, rows: Rows, own: Callable) -> Tensor:
        """Q / keep."""
        return rows.q(self.source) / self.keep

    def mean(self, rows: Rows) -> Tensor:
        """The mean stays."""
        return rows.mean(self.source)

    def requests(self, other: Node, crossed: bool) -> list[Request]:
        """The pair of what entries are dropped from."""
        there = other.source if isinstance(other, Dropped) else other
        return [Request(self.source, there, crossed)]

    def pairs(self, other: Node, meeting: Meeting, sources: list[Pair]) -> Pair:
        """Correlations shrink, but those of an entry with itself."""
        (source,) = sources
        share = self.keep**0.5 * (other.keep**0.5 if isinstance(other, Dropped) else 1)
        delta, theta = 1 - share * (1 - source.delta), source.theta
        if other is self and meeting.same:
            for array, new in ((delta, source.delta), (theta, theta / self.keep)):
                old, found = (itself(each, meeting.crossed) for each in (array, new))
                old.copy_(found)
        return Pair(delta, theta)
