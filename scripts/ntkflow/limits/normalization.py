"""Normalisation over channels, or over channels and places."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..errors import UnsupportedLayerError
from .geometry import left, right
from .nodes import Meeting, Node, Pair, Request, Rows, independent, of_means
from .taps import Taps


@dataclass(eq=False)
class Normalized(Node):
    """y = (h - mean) / sqrt(var + eps), with gain and shift if they are learnt.

    In the limit mean and variance over channels (and places) are numbers: E[h] and E[h^2] - E[h]^2.
    A gain of 1 that is learnt adds K_y to theta, a shift of 0 adds 1. Sources: Ba et al. 2016
    (arXiv:1607.06450); Yang 2019 (arXiv:1902.04760), appendix B.
    """

    rank: ClassVar[int] = 4
    source: Node
    over: Taps
    eps: float
    subtracts: bool
    gain: object
    shift: object
    per_place: bool

    def __post_init__(self):
        self.gaussian = self.source.gaussian
        self.centred = self.source.centred or (self.subtracts and self.over.is_identity)
        self.gains = self.source.gains | self.own_gains
        shifts = {(self.shift, 0)} if self.shift else set()
        self.keys = self.source.keys | self.own_gains | shifts  # shared ones make theta covary

    @property
    def own_gains(self) -> frozenset:
        """The learnt gain, if there is one."""
        return frozenset({(self.gain, 0)} if self.gain else ())

    @property
    def sources(self) -> list[Node]:
        """What is normalised."""
        return [self.source]

    @property
    def _moves(self) -> bool:
        """Whether the mean that is subtracted is not 0 anyway."""
        return self.subtracts and not self.source.centred

    def _mean(self, rows: Rows) -> Tensor:
        """The mean that is subtracted."""
        if not self._moves:
            return torch.zeros_like(rows.q(self.source))
        return self.over.rows(rows.mean(self.source)).mean(0)

    def _inverse(self, rows: Rows) -> Tensor:
        """1 / sqrt(var + eps); a value that is 0 stays 0."""
        variance = self.over.rows(rows.q(self.source)).mean(0) - self._mean(rows).square()
        total = variance.clamp(min=0) + self.eps
        return torch.where(total > 0, total, 1).rsqrt()

    def _moment(self, rows: Rows) -> Tensor:
        """E[(h - mean)^2]."""
        q, mean = rows.q(self.source), self._mean(rows)
        if not self._moves:
            return q
        return (q - mean * (2 * rows.mean(self.source) - mean)).clamp(min=0)

    def variance(self, rows: Rows, own: Callable) -> Tensor:
        """E[y^2]."""
        return self._moment(rows) * self._inverse(rows).square()

    def mean(self, rows: Rows) -> Tensor:
        """E[y]."""
        return (rows.mean(self.source) - self._mean(rows)) * self._inverse(rows)

    def parts(self, rows: Rows) -> tuple[Tensor, ...]:
        """What theta is scaled with, the mean that goes, and its share in the deviation."""
        root = rows.q(self.source).sqrt()
        share = rows.mean(self.source) / torch.where(root > 0, root, 1)
        return self._inverse(rows), self._mean(rows), share

    def requests(self, other: Node, crossed: bool) -> list[Request]:
        """The pair of what is normalised."""
        self._check_gains(other)
        there = _inside(other)
        return [] if independent(self.source, there) else [Request(self.source, there, crossed)]

    def _check_gains(self, other: Node) -> None:
        theirs = other.own_gains if isinstance(other, Normalized) else frozenset()
        if self.own_gains & _inside(other).gains or theirs & self.source.gains:
            raise UnsupportedLayerError(
                f"{self.name}: its learnt gain meets itself in {other.name}, where its part of the "
                "kernel is not known; put a weight layer between, or use elementwise_affine=False"
            )

    def pairs(self, other: Node, meeting: Meeting, sources: list[Pair]) -> Pair:
        """K and theta scaled, and the parts of gain and shift."""
        source = sources[0] if sources else of_means(self.source, _inside(other), meeting)
        both = isinstance(other, Normalized)
        theta = source.theta.mul_(left(meeting.first.parts(self)[0], meeting.crossed))
        if both:
            theta.mul_(right(meeting.second.parts(other)[0], meeting.crossed))
        delta, eta = self._gap(other, meeting, source)
        if both and self.own_gains & other.own_gains:
            theta.add_(self.learnt(other, meeting, delta))
        if both and self.shift and self.shift == other.shift:
            theta.add_(self.at_places(torch.ones_like(theta), meeting))
        return Pair(delta, theta, eta)

    def learnt(self, other: "Normalized", meeting: Meeting, delta: Tensor) -> Tensor:
        """The part of a gain in theta, K_y."""
        if not self.own_gains & other.own_gains:
            return torch.zeros_like(delta)
        return self.at_places(meeting.covariance(self, other, delta), meeting)

    def at_places(self, array: Tensor, meeting: Meeting) -> Tensor:
        """Equal places alone, where each has a gain of its own."""
        if not (self.per_place and meeting.crossed):
            return array
        places = torch.arange(array.shape[1], device=array.device)
        return array.mul_((places[:, None, None, None] == places[:, None]).to(array.dtype))

    def _gap(self, other: Node, meeting: Meeting, source: Pair) -> tuple[Tensor, Tensor | None]:
        if not self._moves and not getattr(other, "_moves", False):
            return source.delta, source.eta
        if not isinstance(other, Normalized):
            value = meeting.covariance(self.source, other, source.delta)
            value -= left(meeting.first.parts(self)[1], meeting.crossed) * right(
                meeting.second.mean(other), meeting.crossed
            )
            return self._correlated(other, meeting, value), None
        if self.over.is_identity and other.over.is_identity and self.subtracts and other.subtracts:
            return self._centred_gap(other, meeting, source.delta), None
        value = meeting.covariance(self.source, other.source, source.delta)
        return self._correlated(other, meeting, self._subtracted(other, meeting, value)), None

    def _correlated(self, other: Node, meeting: Meeting, value: Tensor) -> Tensor:
        value = value * left(meeting.first.parts(self)[0], meeting.crossed)
        if isinstance(other, Normalized):
            value = value * right(meeting.second.parts(other)[0], meeting.crossed)
        return meeting.correlated(self, other, value)

    def _subtracted(self, other: "Normalized", meeting: Meeting, value: Tensor) -> Tensor:
        """E[(h - mean) (h' - mean')]."""
        crossed = meeting.crossed
        mean1, mean2 = meeting.first.parts(self)[1], meeting.second.parts(other)[1]
        all1, all2 = meeting.first.mean(self.source), meeting.second.mean(other.source)
        value = value - left(mean1, crossed) * right(all2, crossed)
        return value - left(all1 - mean1, crossed) * right(mean2, crossed)

    def _centred_gap(self, other: "Normalized", meeting: Meeting, delta: Tensor) -> Tensor:
        """Gap of h - E[h]: (delta - (a - b)^2 / (r + 1 - a b)) / r with shares a, b of the means.

        r = sqrt((1 - a^2)(1 - b^2)); where a = b nothing cancels.
        """
        crossed = meeting.crossed
        a, b = meeting.first.parts(self)[2], meeting.second.parts(other)[2]
        a, b = left(a, crossed), right(b, crossed)
        root = ((1 - a * a) * (1 - b * b)).clamp(min=0).sqrt()
        gap = delta - (a - b).square() / (root + 1 - a * b)
        tiny = torch.finfo(delta.dtype).tiny
        return (gap / root.clamp(min=tiny)).clamp(0, 2)


def _inside(node: Node) -> Node:
    """What a normalised value is made of, or another value itself."""
    return node.source if isinstance(node, Normalized) else node
