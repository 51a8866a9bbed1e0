"""Layers of weights: Gaussian values, which covary where the same weights are used."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

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
    swapped,
    turned_pair,
    uncorrelated,
    unit_terms,
)
from .taps import Taps


@dataclass(eq=False)
class Layer(Node):
    """A layer of weights: what tells it from others, its scales, and whether its bias is drawn."""

    key: object
    sigma_w: float
    sigma_b: float
    bias: str

    def __post_init__(self):
        self.keys, self.gaussian, self.centred = frozenset([(self.key, 0)]), True, True

    def terms(self, rows: Rows) -> Tensor:
        """Standard deviations of the independent summands but the bias, (K, B, P, N)."""
        raise NotImplementedError

    def variance(self, rows: Rows, own: Callable) -> Tensor:
        """Q = sum of the squared terms."""
        late = self.bias != "normal"
        return torch.linalg.vector_norm(self.terms(rows), dim=0).square() + (
            0 if late else self.sigma_b**2
        )

    def parts(self, rows: Rows) -> tuple[Tensor, ...]:
        """Unit vector of the terms, and the inverse of its norm."""
        return unit_terms(self._all_terms(rows))

    def _all_terms(self, rows: Rows) -> Tensor:
        terms = self.terms(rows)
        if self.sigma_b and self.bias == "normal":
            last = terms.movedim(0, -1)  # in memory, too: tiles then read whole lines
            bias = torch.full_like(last[..., :1], self.sigma_b)
            terms = torch.cat([last, bias], -1).movedim(-1, 0)
        elif not len(terms):
            terms = terms.new_zeros(1, *terms.shape[1:])
        return terms

    def late_bias(self, theta: Tensor) -> Tensor:
        """A bias that starts at zero moves, but adds nothing to the initial covariance."""
        return theta.add_(self.sigma_b**2) if self.bias == "zero" else theta


@dataclass(eq=False)
class First(Layer):
    """A weight layer on the inputs: K = sigma_w^2 <x, x'>/n0 + sigma_b^2 = theta."""

    def terms(self, rows: Rows) -> Tensor:
        """Numbers of the inputs, scaled."""
        data = rows.data(self)
        return data * (self.sigma_w / max(1, len(data)) ** 0.5)

    def requests(self, other: Node, crossed: bool) -> list[Request]:
        """None: the inputs suffice."""
        return []

    def pairs(self, other: Node, meeting: Meeting, sources: list[Pair]) -> Pair:
        """Pair of two uses of the layer on inputs, or of one with a use on hidden values."""
        if not isinstance(other, First):
            return self._meet_hidden(other, meeting)
        (u, _), (v, _) = meeting.first.parts(self), meeting.second.parts(other)
        delta = geometry.gap(u, v, meeting.crossed)
        eta = geometry.opposite_gap(u, v, meeting.crossed, delta)
        return Pair(delta, self.late_bias(meeting.covariance(self, other, delta)), eta)

    def _meet_hidden(self, other: Layer, meeting: Meeting) -> Pair:
        """Inputs and hidden values covary by their means, and by the bias."""
        self._check_slots(other)
        drawn = self.sigma_b**2 if self.bias == "normal" else 0.0
        means = meeting.first.data(self).mean(0), other.slots_mean(meeting.second)
        value = left(means[0], meeting.crossed) * right(means[1], meeting.crossed)
        value = value.mul_(self.sigma_w**2).add_(drawn)
        delta = meeting.correlated(self, other, value)
        return Pair(delta, self.late_bias(value))

    def _check_slots(self, other: Layer) -> None:
        if not isinstance(other, Weights) or sum(g.taps.slots for g in other.groups) > 1:
            raise UnsupportedLayerError(
                f"{self.name}: its weights are used on inputs, and on hidden values of several "
                "places; give one of them a layer of its own"
            )


@dataclass(eq=False)
class Lookup(Layer):
    """Rows of a table of tokens: K = sigma_w^2 where tokens are equal, else 0."""

    padding: int | None
    dtype: torch.dtype

    def variance(self, rows: Rows, own: Callable) -> Tensor:
        """sigma_w^2, and 0 for the token of padding."""
        return self._seen(rows).to(self.dtype) * self.sigma_w**2

    def _seen(self, rows: Rows) -> Tensor:
        tokens = rows.data(self)[0]
        return tokens != (-1 if self.padding is None else self.padding)

    def requests(self, other: Node, crossed: bool) -> list[Request]:
        """None: the inputs suffice."""
        return []

    def parts(self, rows: Rows) -> tuple[Tensor, ...]:
        """The tokens."""
        return (rows.data(self)[0],)

    def pairs(self, other: Node, meeting: Meeting, sources: list[Pair]) -> Pair:
        """Equal tokens have the same row."""
        (one,), (two,) = meeting.first.parts(self), meeting.second.parts(other)
        delta = (left(one, meeting.crossed) != right(two, meeting.crossed)).to(self.dtype)
        return Pair(delta, meeting.covariance(self, other, delta))


class Slots(NamedTuple):
    """Places of one source that a weight layer sums over, and the share of one in the fan-in."""

    source: Node
    taps: Taps
    share: float

    def part(self, start: int, stop: int) -> "Slots":
        """Some of the slots."""
        if (start, stop) == (0, self.taps.slots):
            return self
        return self._replace(taps=Taps(self.taps.index[:, start:stop], self.taps.source_places))


@dataclass(eq=False)
class Weights(Layer):
    """A weight layer on hidden values.

    Q = sigma_w^2 sum of shares q + sigma_b^2, K' the same of K over slots that the same weights
    read, theta' = K' + sigma_w^2 sum of shares theta. `columns` say which input meets which slot.
    """

    groups: tuple[Slots, ...]
    columns: tuple = ()

    @property
    def sources(self) -> list[Node]:
        """What is summed over."""
        return [group.source for group in self.groups]

    def terms(self, rows: Rows) -> Tensor:
        """sigma_w sqrt(share q) of every slot."""
        found = [
            group.taps.rows(rows.q(group.source).sqrt()) * (self.sigma_w * group.share**0.5)
            for group in self.groups
        ]
        return torch.cat(found)

    def slots_mean(self, rows: Rows) -> Tensor:
        """Mean over channels of what its one slot reads."""
        (group,) = self.groups
        return group.taps.rows(rows.mean(group.source))[0]

    def requests(self, other: Node, crossed: bool) -> list[Request]:
        """Pairs of sources that meet at a slot."""
        if isinstance(other, First):
            return []
        if not isinstance(other, Weights) or other.key is not self.key:
            raise UnsupportedLayerError(f"{self.name}: meets {other.name}, which is not known")
        self._check_alike(other)
        return [
            Request(mine.source, theirs.source, crossed or not mine.taps.agrees(theirs.taps))
            for _, mine, theirs in self._meetings(other)
        ]

    def _meetings(self, other: "Weights") -> list[tuple[int, Slots, Slots]]:
        """Slots of both sides that covary, with the number of the first."""
        cuts = sorted({*_starts(self.groups), *_starts(other.groups)})
        ends = [*cuts[1:], sum(group.taps.slots for group in self.groups)]
        both = [
            (start, _part(self.groups, start, stop), _part(other.groups, start, stop))
            for start, stop in zip(cuts, ends, strict=True)
        ]
        return [(k, a, b) for k, a, b in both if not uncorrelated(a.source, b.source)]

    def _check_alike(self, other: "Weights") -> None:
        counts = [sum(group.taps.slots for group in each.groups) for each in (self, other)]
        if counts[0] != counts[1] or self.columns != other.columns:
            raise UnsupportedLayerError(
                f"{self.name}: its weights are used on values in two different orders; apply a "
                "shared layer to channels in the same order each time"
            )

    @property
    def is_single(self) -> bool:
        """Whether places read themselves, without a bias that is drawn: angles stay as they are."""
        drawn = self.sigma_b and self.bias == "normal"
        return len(self.groups) == 1 and self.groups[0].taps.is_identity and not drawn

    def pairs(self, other: Node, meeting: Meeting, sources: list[Pair]) -> Pair:
        """Sum over the slots that both read."""
        if isinstance(other, First):
            return turned_pair(other._meet_hidden(self, swapped(meeting)), meeting.crossed)
        pairs = list(zip(self._meetings(other), sources, strict=True))
        if pairs and self.is_single and other.is_single:
            delta, eta = sources[0].delta, sources[0].eta
        else:
            delta, eta = self._gap(other, pairs, meeting), None
        theta = meeting.covariance(self, other, delta)
        for (_, mine, theirs), source in pairs:
            found = _met(mine, theirs, source.theta, meeting)
            theta.add_(found, alpha=self.sigma_w**2 * mine.share)
        return Pair(delta, self.late_bias(theta), eta)

    def _gap(self, other: "Weights", pairs: list, meeting: Meeting) -> Tensor:
        """<u v, delta> + 1 - <u, v> with unit vectors u, v of the terms' standard deviations."""
        (u, _), (v, _) = meeting.first.parts(self), meeting.second.parts(other)
        base, met = None, []
        for (start, mine, theirs), source in pairs:
            found = self._scaled_gap(other, start, (mine, theirs), source.delta, meeting)
            base = found if base is None else base.add_(found)
            met += range(start, start + mine.taps.slots)
        if self.sigma_b and self.bias == "normal":
            met.append(len(u) - 1)
            if base is not None and len(met) == len(u) == 2:
                return geometry.planar_gap(u, v, meeting.crossed, base)
        return combined_gap(base, u, v, met, meeting.crossed)

    def _scaled_gap(
        self,
        other: "Weights",
        start: int,
        both: tuple[Slots, Slots],
        delta: Tensor,
        meeting: Meeting,
    ) -> Tensor:
        """Sum over slots of their gaps times the unit vectors' entries; one slot is scaled once."""
        (u, inverse1), (v, inverse2) = meeting.first.parts(self), meeting.second.parts(other)
        mine, theirs = both
        if mine.taps.slots == 1:
            return meeting.scaled(_met(mine, theirs, delta, meeting), u[start], v[start])
        here = meeting.crossing(_is_crossed(mine, theirs, meeting))
        roots = here.first.q(mine.source).sqrt(), here.second.q(theirs.source).sqrt()
        found = _met(mine, theirs, here.scaled(delta, *roots), meeting)
        scale = self.sigma_w * mine.share**0.5
        return meeting.scaled(found, inverse1 * scale, inverse2 * scale)


def _met(mine: Slots, theirs: Slots, array: Tensor, meeting: Meeting) -> Tensor:
    """Sum of a pair array over slots that the same weights read."""
    crossed = _is_crossed(mine, theirs, meeting)
    return fitted(mine.taps.paired(theirs.taps, array, crossed), crossed, meeting.crossed)


def _starts(groups: Sequence[Slots]) -> list[int]:
    """Number of slots before each group."""
    sizes = [group.taps.slots for group in groups]
    return [sum(sizes[:k]) for k in range(len(sizes))]


def _part(groups: Sequence[Slots], start: int, stop: int) -> Slots:
    """Slots from `start` to `stop`, which belong to one group."""
    first = max(k for k, at in enumerate(_starts(groups)) if at <= start)
    offset = _starts(groups)[first]
    return groups[first].part(start - offset, stop - offset)


def _is_crossed(mine: Slots, theirs: Slots, meeting: Meeting) -> bool:
    return meeting.crossed or not mine.taps.agrees(theirs.taps)


def combined_gap(
    base: Tensor | None, u: Tensor, v: Tensor, met: list[int], crossed: bool
) -> Tensor:
    """Gap of sums of terms with unit vectors u, v, base holding the sum of u v delta.

    Where each term of one side meets the same of the other: base + 1 - <u, v>.
    """
    if len(met) < len(u):
        v = v.clone()
        rest = [k for k in range(len(u)) if k not in met]
        v[rest] = 0
    return geometry.gap(u, v, crossed, base)
