"""Attention: places mixed with weights that depend on the input."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..errors import UnsupportedLayerError
from .nodes import Meeting, Node, Pair, Request, Rows


@dataclass(eq=False)
class Attended(Node):
    """sum_s A[t, s] v_s with A = score(K(q_t, k_s)), the limit of q.k/d with tied weights.

    A is a number for each input: its own derivatives by the weights are of order 1/d. Source:
    Hron et al. 2020 (arXiv:2006.10540), section 3.
    """

    rank: ClassVar[int] = 4
    query: Node
    key: Node
    value: Node
    score: Callable[[Tensor], Tensor]

    def __post_init__(self):
        self.keys, self.gaussian, self.centred = self.value.keys, True, True
        self.gains = self.value.gains

    @property
    def sources(self) -> list[Node]:
        """Queries, keys and values."""
        return [self.query, self.key, self.value]

    @property
    def own_requests(self) -> list[Request]:
        """Scores, and covariances of the values."""
        return [Request(self.query, self.key, True), Request(self.value, self.value, True)]

    def variance(self, rows: Rows, own: Callable) -> Tensor:
        """A K A' of the same input."""
        scores, values = (own(request)[:, :, 0, :, 0] for request in self.own_requests)
        weights = self.score(scores)  # (B, T, S)
        rows.keep(self, weights.permute(1, 2, 0)[..., None])
        return ((weights @ values) * weights).sum(-1, keepdim=True).clamp(min=0)

    def requests(self, other: Node, crossed: bool) -> list[Request]:
        """All pairs of values."""
        there = other.value if isinstance(other, Attended) else other
        return [Request(self.value, there, True)]

    def pairs(self, other: Node, meeting: Meeting, sources: list[Pair]) -> Pair:
        """K' = A K A', theta' = A theta A'."""
        (source,) = sources
        all_pairs = meeting.crossing(True)
        there = other.value if isinstance(other, Attended) else other
        value = all_pairs.covariance(self.value, there, source.delta)
        theta = self._mixed(other, meeting, source.theta).contiguous()
        return Pair(meeting.correlated(self, other, self._mixed(other, meeting, value)), theta)

    def _mixed(self, other: Node, meeting: Meeting, array: Tensor) -> Tensor:
        weights = meeting.first.kept(self)
        array = torch.einsum("tsbn,bsnrm->btnrm", weights, array)
        if not isinstance(other, Attended):
            return array if meeting.crossed else array.diagonal(0, 1, 3).movedim(-1, 1)
        weights = meeting.second.kept(other)
        if meeting.crossed:
            return torch.einsum("urbm,btnrm->btnum", weights, array)
        return torch.einsum("trbm,btnrm->btnm", weights, array)


@dataclass(eq=False)
class Heads(Node):
    """Concatenated heads of q.k/sqrt(d), with weights of their own; their number grows with d."""

    rank: ClassVar[int] = 3
    query: Node
    key: Node
    value: Node

    def __post_init__(self):
        self.keys, self.gaussian, self.centred = self.value.keys, False, True
        self.gains = frozenset()

    @property
    def sources(self) -> list[Node]:
        """Queries, keys and values."""
        return [self.query, self.key, self.value]

    def matched(self, other: Node) -> list[tuple[Node, Node]]:
        """Pairs of queries, of keys and of values."""
        if type(other) is not type(self):
            raise UnsupportedLayerError(
                f"{self.name}: its values meet those of {other.name}, which weights its keys in "
                "another way; give one of the two uses a layer of its own"
            )
        return list(zip(self.sources, other.sources, strict=True))


@dataclass(eq=False)
class ManyHeads(Heads):
    """Heads without softmax.

    K' = sum over s, s' of K_q[t, t'] K_k[s, s'] K_v[s, s'] where the mask lets t see s and t' see
    s', theta' by the product rule. Source: Hron et al. 2020 (arXiv:2006.10540), theorem 3.
    """

    mask: Tensor | None

    @property
    def own_requests(self) -> list[Request]:
        """Covariances of all three."""
        return self.requests(self, False)

    def variance(self, rows: Rows, own: Callable) -> Tensor:
        """K' of the same input."""
        q, k, v = (own(request) for request in self.own_requests)
        return (q * self._summed(self, k * v, False))[..., 0].clamp(min=0)

    def requests(self, other: Node, crossed: bool) -> list[Request]:
        """Pairs of queries, and all pairs of keys and of values."""
        crossings = crossed, True, True
        return [Request(*pair, c) for pair, c in zip(self.matched(other), crossings, strict=True)]

    def pairs(self, other: Node, meeting: Meeting, sources: list[Pair]) -> Pair:
        """K' and theta'."""
        crossings = meeting.crossed, True, True
        q, k, v = (
            meeting.crossing(c).covariance(*pair, source.delta)
            for c, pair, source in zip(crossings, self.matched(other), sources, strict=True)
        )
        thetas = [source.theta for source in sources]
        products = self._summed(other, k * v, meeting.crossed)
        changes = self._summed(other, thetas[1] * v + k * thetas[2], meeting.crossed)
        theta = thetas[0] * products + q * changes
        return Pair(meeting.correlated(self, other, q * products), theta)

    def _summed(self, other: "ManyHeads", array: Tensor, crossed: bool) -> Tensor:
        """Sum over the pairs of keys that two queries see: (B, S, N1, S', N2) to places of both."""
        if self.mask is None and other.mask is None:
            total = array.sum((1, 3))
            return total[:, None, :, None] if crossed else total[:, None]
        array = torch.einsum("ts,bsnrm->btnrm", self._seen(array), array)
        if crossed:
            return torch.einsum("ur,btnrm->btnum", other._seen(array), array)
        return torch.einsum("tr,btnrm->btnm", other._seen(array), array)

    def _seen(self, like: Tensor) -> Tensor:
        """Which keys each query sees, (T, S)."""
        if self.mask is None:
            return like.new_ones(self.places, self.key.places)
        return self.mask.to(like)
