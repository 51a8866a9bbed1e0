"""What layers do to the variance of one input ("row") and the covariance of two ("pair").

A node of a program is a value of the network: P places (pixels, tokens), each with a wide axis of
channels that are alike. Array layouts are those of geometry.py. A pair of nodes (v, w) is carried
as delta = 1 - K / sqrt(q q') and the tangent kernel theta, so that nearly parallel inputs keep
their small angles through all layers. An operation may overwrite the pairs that it is given.

The rule behind all of them: outputs of weight layers are Gaussian vectors, which covary where they
come from the same weights and are independent where not. Sources: Yang 2019 (arXiv:1902.04760,
arXiv:1910.12478), Yang 2020 (arXiv:2006.14548).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from .duals import smooth_gap
from .geometry import left, right
from .scores import Draws


class Pair(NamedTuple):
    """Correlation gap, tangent kernel, and eta = 1 + rho where some pair is nearly antiparallel."""

    delta: Tensor
    theta: Tensor
    eta: Tensor | None = None


@runtime_checkable
class Rows(Protocol):
    """What operations ask of one side: quantities (..., B, P, N) of the nodes so far."""

    draws: Draws | None

    def q(self, node: "Node") -> Tensor:
        """Variance."""

    def mean(self, node: "Node") -> Tensor:
        """Mean over channels."""

    def parts(self, node: "Node") -> tuple[Tensor, ...]:
        """What the pairs of the node need of each row."""

    def data(self, node: "Node") -> Tensor:
        """Numbers of the inputs that the node reads."""

    def keep(self, node: "Node", array: Tensor) -> None:
        """Keep (..., B, N) numbers of each input beside the variance."""

    def kept(self, node: "Node") -> Tensor:
        """What was kept."""


class Meeting(NamedTuple):
    """Rows of both sides, and whether all pairs of places meet or equal ones alone.

    `same`: input n of one side is input n of the other.
    """

    first: Rows
    second: Rows
    crossed: bool
    same: bool = False

    def scaled(self, array: Tensor, one: Tensor, two: Tensor) -> Tensor:
        """Array times a row quantity of each side, in place."""
        return array.mul_(left(one, self.crossed)).mul_(right(two, self.crossed))

    def covariance(self, v: "Node", w: "Node", delta: Tensor) -> Tensor:
        """K = sqrt(q q') (1 - delta)."""
        q1, q2 = self.first.q(v).sqrt(), self.second.q(w).sqrt()
        scale = left(q1, self.crossed) * right(q2, self.crossed)
        return scale.addcmul_(scale, delta, value=-1)

    def correlated(self, v: "Node", w: "Node", value: Tensor) -> Tensor:
        """The gap of K, up to rounding errors of K."""
        q1, q2 = self.first.q(v).sqrt(), self.second.q(w).sqrt()
        return smooth_gap(value, left(q1, self.crossed), right(q2, self.crossed))

    def crossing(self, crossed: bool) -> "Meeting":
        """The same rows with other pairs of places."""
        return self._replace(crossed=crossed)


class Request(NamedTuple):
    """Pair of nodes that an operation needs."""

    first: "Node"
    second: "Node"
    crossed: bool


@dataclass(eq=False)
class Node:
    """A value of the network.

    `keys` are the weight layers on which it depends but through other weight layers, and which of
    their channels, relative to its own: two nodes without a common one are independent. `centred`:
    the mean over channels is 0. `gains`: learnt gains, with channels alike, whose part of theta is
    still random, u v instead of its mean K. Of a pair, the node of higher `rank` is taken apart
    first: sums before what they sum. `is_sampled`: its expectations are means over the draws of
    the rows.
    """

    name: str
    index: int
    places: int
    keys: frozenset = field(init=False, default=frozenset())
    gaussian: bool = field(init=False, default=False)
    centred: bool = field(init=False, default=False)
    gains: frozenset = field(init=False, default=frozenset())
    rank: ClassVar[int] = 0
    is_sampled: ClassVar[bool] = False

    @property
    def sources(self) -> list["Node"]:
        """Nodes that this one is made of."""
        return []

    @property
    def own_requests(self) -> list[Request]:
        """Pairs of the same input that the variance needs."""
        return []

    def variance(self, rows: Rows, own: Callable[[Request], Tensor]) -> Tensor:
        """Variance (B, P, N), from rows of sources and covariances of the same input."""
        raise NotImplementedError

    def mean(self, rows: Rows) -> Tensor:
        """Mean over channels (B, P, N)."""
        return torch.zeros_like(rows.q(self))

    def parts(self, rows: Rows) -> tuple[Tensor, ...]:
        """What `pairs` needs of each row, (..., B, P, N) each."""
        return ()

    def reduces_before(self, other: "Node") -> bool:
        """Whether a pair is taken apart on this side first."""
        return self.rank >= other.rank

    def requests(self, other: "Node", crossed: bool) -> list[Request]:
        """Pairs that the pair of this node with another needs."""
        raise NotImplementedError

    def pairs(self, other: "Node", meeting: Meeting, sources: list[Pair]) -> Pair:
        """Pair of this node with another from those that were asked for."""
        raise NotImplementedError


def independent(v: Node, w: Node) -> bool:
    """Whether two nodes have no weights in common."""
    return v.keys.isdisjoint(w.keys)


def uncorrelated(v: Node, w: Node) -> bool:
    """Whether K and theta of two nodes are 0."""
    return independent(v, w) and (v.centred or w.centred)


def of_means(v: Node, w: Node, meeting: Meeting) -> Pair:
    """Of independent values: K' = E[s] E[s'], theta' = 0."""
    means = meeting.first.mean(v), meeting.second.mean(w)
    value = left(means[0], meeting.crossed) * right(means[1], meeting.crossed)
    return Pair(meeting.correlated(v, w, value), torch.zeros_like(value))


def fitted(array: Tensor, crossed: bool, wanted: bool) -> Tensor:
    """Equal places alone, where all pairs had to be formed."""
    if crossed and not wanted:
        return array.diagonal(0, 1, 3).movedim(-1, 1)
    return array


def itself(array: Tensor, crossed: bool) -> Tensor:
    """View of the entries of a pair array where an input's place meets itself."""
    if crossed:
        return array.diagonal(0, 2, 4).diagonal(0, 1, 2)
    return array.diagonal(0, 2, 3)


def swapped(meeting: Meeting) -> Meeting:
    """The sides exchanged."""
    return Meeting(meeting.second, meeting.first, meeting.crossed, meeting.same)


def turned_pair(pair: Pair, crossed: bool) -> Pair:
    """The pair with the sides exchanged."""
    return Pair(*(None if array is None else turned(array, crossed) for array in pair))


def turned(array: Tensor, crossed: bool) -> Tensor:
    """A pair array with the sides exchanged."""
    return array.permute(0, 3, 4, 1, 2) if crossed else array.mT


def unit_terms(terms: Tensor) -> tuple[Tensor, Tensor]:
    """Unit vector and inverse norm of terms (K, B, P, N), which are used up; zero stays zero."""
    norm = terms.norm(dim=0)
    inverse = 1 / torch.where(norm > 0, norm, 1)
    return terms.mul_(inverse), inverse
