"""Linear combinations of places, constants, and channels that become places."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from ..errors import UnsupportedLayerError
from . import geometry
from .geometry import left, right
from .nodes import (
    Meeting,
    Node,
    Pair,
    Request,
    Rows,
    fitted,
    independent,
    of_means,
    uncorrelated,
    unit_terms,
)
from .taps import Taps
from .weights import combined_gap


class Term(NamedTuple):
    """A source of a linear node: what each place reads of it, and the coefficient of each."""

    source: Node
    taps: Taps
    coefficient: float


@dataclass(eq=False)
class Linear(Node):
    """Linear combination of places and nodes, channel by channel: sums, means, scaled values."""

    rank: ClassVar[int] = 5
    terms: tuple[Term, ...]

    def __post_init__(self):
        sources = [term.source for term in self.terms]
        self.keys = frozenset().union(*(source.keys for source in sources))
        self.gains = frozenset().union(*(source.gains for source in sources))
        self.gaussian = all(source.gaussian for source in sources)
        self.centred = all(source.centred for source in sources)

    @property
    def sources(self) -> list[Node]:
        """What is summed."""
        return [term.source for term in self.terms]

    @cached_property
    def is_apart(self) -> bool:
        """Whether no two summands of a place covary, so that variances add."""
        if any(term.taps.slots > 1 for term in self.terms):
            return False
        return all(
            uncorrelated(a.source, b.source)
            for k, a in enumerate(self.terms)
            for b in self.terms[:k]
        )

    @property
    def own_requests(self) -> list[Request]:
        """All pairs of summands, unless their variances add."""
        if self.is_apart:
            return []
        return [
            Request(a.source, b.source, not _is_plain(a, b))
            for a in self.terms
            for b in self.terms
            if not uncorrelated(a.source, b.source)
        ]

    def variance(self, rows: Rows, own: Callable) -> Tensor:
        """Sum of c c' K over pairs of summands of the same input."""
        if self.is_apart:
            return self._deviations(rows).square().sum(0)
        total = None
        for a in self.terms:
            for b in self.terms:
                if uncorrelated(a.source, b.source):
                    continue
                crossed = not _is_plain(a, b)
                covariance = own(Request(a.source, b.source, crossed))
                found = _places_summed(a.taps, b.taps, covariance, crossed)
                found = fitted(found, crossed, False) * (a.coefficient * b.coefficient)
                total = found if total is None else total + found
        return total[..., 0].clamp(min=0)

    def _deviations(self, rows: Rows) -> Tensor:
        found = [term.taps.rows(rows.q(term.source).sqrt()) for term in self.terms]
        scaled = [f * abs(t.coefficient) for f, t in zip(found, self.terms, strict=True)]
        return torch.cat(scaled)

    def mean(self, rows: Rows) -> Tensor:
        """Sum of the means."""
        means = [
            term.taps.rows(rows.mean(term.source)).sum(0) * term.coefficient for term in self.terms
        ]
        return sum(means[1:], means[0])

    def parts(self, rows: Rows) -> tuple[Tensor, ...]:
        """Unit vector of the summands, and the inverse of its norm."""
        return unit_terms(self._deviations(rows)) if self.is_apart else ()

    def _met(self, other: Node) -> list[tuple[Term, Term]]:
        theirs = other.terms if isinstance(other, Linear) else (_whole(other),)
        return [(a, b) for a in self.terms for b in theirs if not uncorrelated(a.source, b.source)]

    def requests(self, other: Node, crossed: bool) -> list[Request]:
        """Pairs of summands that covary."""
        return [
            Request(a.source, b.source, crossed or not _is_plain(a, b)) for a, b in self._met(other)
        ]

    def pairs(self, other: Node, meeting: Meeting, sources: list[Pair]) -> Pair:
        """K' = sum of c c' K, theta' = sum of c c' theta."""
        met = self._met(other)
        theta = self._summed(met, [pair.theta for pair in sources], meeting)
        if self._keeps_angles(other, met):
            return Pair(self._gap(other, met, sources, meeting), theta)
        values = [
            meeting.crossing(meeting.crossed or not _is_plain(a, b)).covariance(
                a.source, b.source, pair.delta
            )
            for (a, b), pair in zip(met, sources, strict=True)
        ]
        value = self._summed(met, values, meeting)
        return Pair(meeting.correlated(self, other, value), theta)

    def _summed(self, met: list, arrays: list[Tensor], meeting: Meeting) -> Tensor:
        """Sum of c c' times pair arrays, which are used up."""
        total = None
        for (a, b), array in zip(met, arrays, strict=True):
            found, factor = _met(a, b, array, meeting), a.coefficient * b.coefficient
            if total is None:
                total = found if factor == 1 else found.mul_(factor)
            else:
                total.add_(found, alpha=factor)
        return total

    def _keeps_angles(self, other: Node, met: list) -> bool:
        """Whether summands of both sides meet one by one."""
        if not (isinstance(other, Linear) and self.is_apart and other.is_apart):
            return False
        if len(self.terms) != len(other.terms):
            return False
        places = [(self.terms.index(a), other.terms.index(b)) for a, b in met]
        return all(i == j for i, j in places) and all(
            a.coefficient * b.coefficient >= 0 for a, b in met
        )

    def _gap(self, other: "Linear", met: list, sources: list[Pair], meeting: Meeting) -> Tensor:
        (u, _), (v, _) = meeting.first.parts(self), meeting.second.parts(other)
        base, places = None, [self.terms.index(a) for a, _ in met]
        for k, (a, b), pair in zip(places, met, sources, strict=True):
            found = meeting.scaled(_met(a, b, pair.delta, meeting), u[k], v[k])
            base = found if base is None else base.add_(found)
        return combined_gap(base, u, v, places, meeting.crossed)


def _met(a: Term, b: Term, array: Tensor, meeting: Meeting) -> Tensor:
    """Sum of a pair array over what two summands read."""
    crossed = meeting.crossed or not _is_plain(a, b)
    return fitted(_places_summed(a.taps, b.taps, array, crossed), crossed, meeting.crossed)


def _whole(node: Node) -> Term:
    """A node as a summand of itself."""
    return Term(node, Taps(torch.arange(node.places)[:, None], node.places), 1.0)


def _is_plain(a: Term, b: Term) -> bool:
    """Whether equal places meet equal places alone."""
    return a.taps.slots == b.taps.slots == 1 and a.taps.agrees(b.taps)


def _places_summed(a: Taps, b: Taps, array: Tensor, crossed: bool) -> Tensor:
    """Sum of a pair array over what each place reads, on both sides."""
    if not crossed:
        return a.paired(b, array, False)
    return _read(_read(array, 1, a), 3, b)


def _read(array: Tensor, axis: int, taps: Taps) -> Tensor:
    """Sum over the slots along one axis."""
    if taps.is_identity:
        return array
    if taps.is_all:
        return array.sum(axis, keepdim=True)
    places = torch.arange(len(taps.index))[:, None].expand_as(taps.index)
    kept = taps.index >= 0
    read = tuple(each[kept].to(array.device) for each in (places, taps.index))
    matrix = array.new_zeros(len(taps.index), taps.source_places)
    matrix.index_put_(read, array.new_ones(()), accumulate=True)  # some are read more than once
    return torch.tensordot(matrix, array, ([1], [axis])).movedim(0, axis)


@dataclass(eq=False)
class Split(Node):
    """Channels of a place in groups, each a place of its own: different groups are independent."""

    rank: ClassVar[int] = 2
    source: Node
    taps: Taps
    groups: Tensor
    partition: tuple[int, ...]

    def __post_init__(self):
        self.keys, self.gaussian = self.source.keys, self.source.gaussian
        self.centred, self.gains = self.source.centred, self.source.gains

    @property
    def sources(self) -> list[Node]:
        """What is split."""
        return [self.source]

    def variance(self, rows: Rows, own: Callable) -> Tensor:
        """Q of the place."""
        return self.taps.rows(rows.q(self.source))[0]

    def mean(self, rows: Rows) -> Tensor:
        """Mean of the place."""
        return self.taps.rows(rows.mean(self.source))[0]

    def requests(self, other: Node, crossed: bool) -> list[Request]:
        """The pair of what is split, if by the same groups."""
        if not isinstance(other, Split) or self.partition != other.partition:
            raise UnsupportedLayerError(
                f"{self.name}: channels that became places are added to, or read together with, "
                f"{other.name}; put a weight layer between them"
            )
        return [Request(self.source, other.source, crossed or not self.taps.agrees(other.taps))]

    def pairs(self, other: "Split", meeting: Meeting, sources: list[Pair]) -> Pair:
        """K where groups are equal, and the product of means elsewhere."""
        crossed = meeting.crossed or not self.taps.agrees(other.taps)
        arrays = [_places_summed(self.taps, other.taps, array, crossed) for array in sources[0][:2]]
        if not crossed:
            return Pair(*arrays)
        same = (self.groups[:, None] == other.groups)[:, None, :, None].to(arrays[0].device)
        means = left(meeting.first.mean(self), True) * right(meeting.second.mean(other), True)
        other_delta = meeting.crossing(True).correlated(self, other, means)
        delta = torch.where(same, arrays[0], other_delta)
        found = delta, torch.where(same, arrays[1], 0)
        return Pair(*(fitted(array, True, meeting.crossed) for array in found))


@dataclass(eq=False)
class Shifted(Node):
    """Other channels of a value: channel c is the source's channel c + offset.

    Different channels are independent, and so are a value and its shifted self.
    """

    rank: ClassVar[int] = 1
    source: Node
    offset: int

    def __post_init__(self):
        self.keys, self.gains = map(self._moved, (self.source.keys, self.source.gains))
        self.gaussian, self.centred = self.source.gaussian, self.source.centred

    def _moved(self, keys: frozenset) -> frozenset:
        return frozenset((key, offset + self.offset) for key, offset in keys)

    @property
    def sources(self) -> list[Node]:
        """What is shifted."""
        return [self.source]

    def variance(self, rows: Rows, own: Callable) -> Tensor:
        """Q is the same for all channels."""
        return rows.q(self.source)

    def mean(self, rows: Rows) -> Tensor:
        """So is the mean."""
        return rows.mean(self.source)

    def requests(self, other: Node, crossed: bool) -> list[Request]:
        """The pair of what is shifted, if by the same number."""
        if independent(self, other):
            return []
        if not isinstance(other, Shifted) or self.offset != other.offset:
            raise UnsupportedLayerError(
                f"{self.name}: meets the same channels of {other.name} in another order; put a "
                "weight layer between them"
            )
        return [Request(self.source, other.source, crossed)]

    def pairs(self, other: Node, meeting: Meeting, sources: list[Pair]) -> Pair:
        """The same pair."""
        return sources[0] if sources else of_means(self, other, meeting)


class Code(NamedTuple):
    """Key of constants."""

    number: int


@dataclass(eq=False)
class Fixed(Node):
    """Constants, as a code of positions: K = <p, p'> / channels.

    Learnt ones add 1 to theta where places read the same numbers, `owners` of their parameter.
    """

    key: Code
    channels: int
    owners: Tensor | None

    def __post_init__(self):
        self.keys = frozenset([(self.key, 0)])

    def variance(self, rows: Rows, own: Callable) -> Tensor:
        """Mean square over channels."""
        return rows.data(self).square().mean(0)

    def mean(self, rows: Rows) -> Tensor:
        """Mean over channels."""
        return rows.data(self).mean(0)

    def parts(self, rows: Rows) -> tuple[Tensor, ...]:
        """Unit vectors."""
        return unit_terms(rows.data(self).clone())

    def requests(self, other: Node, crossed: bool) -> list[Request]:
        """None."""
        if isinstance(other, Fixed) and self.channels != other.channels:
            raise UnsupportedLayerError(
                f"{self.name}: is read together with constants of {other.channels} channels, not "
                f"{self.channels}; put a weight layer between them"
            )
        return []

    def pairs(self, other: Node, meeting: Meeting, sources: list[Pair]) -> Pair:
        """K = <p, p'> / channels."""
        if not isinstance(other, Fixed):
            return of_means(self, other, meeting)
        (u, _), (v, _) = meeting.first.parts(self), meeting.second.parts(other)
        delta = geometry.gap(u, v, meeting.crossed)
        theta = torch.zeros_like(delta)
        if self.owners is None or other.owners is None or self.key != other.key:
            return Pair(delta, theta)
        mine, theirs = self.owners.to(theta.device), other.owners.to(theta.device)
        shared = (
            mine[:, None, None, None] == theirs[:, None]
            if meeting.crossed
            else ((mine == theirs)[:, None, None])
        )
        return Pair(delta, theta.add_(shared))
