"""Attention with many heads whose weights of the keys are no closed form: they are sampled."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from .attention import Heads
from .duals import smooth_gap
from .nodes import Meeting, Node, Pair, Request, Rows
from .scores import Blocks, Draws, Score, chunk, drawn, met, mixed


class Sums(NamedTuple):
    """Sums over draws of A K_v A' of x and of x' with itself, and of both; and of theta."""

    first: Float[Tensor, "f t"]
    second: Float[Tensor, "f u"]
    both: Float[Tensor, "f t *u"]
    theta: Float[Tensor, "f t *u"]


class Covariances(NamedTuple):
    """Covariances of queries, keys and values."""

    queries: Blocks
    keys: Blocks
    values: Blocks

    def chunks(self, draws: Draws) -> Iterator["Covariances"]:
        """Some pairs of inputs at a time."""
        size = chunk(self.queries, self.keys, draws)
        return map(Covariances._make, zip(*(each.chunks(size) for each in self), strict=True))


@dataclass(eq=False)
class SampledHeads(Heads):
    """Concatenated heads A v with A = score(q.k/sqrt(d)), their number growing with d.

    K' = sum of E[A[t, s] A'[u, r]] K_v[s, r], theta' = sum of E[A A'] theta_v + K_v dA dA' (theta_q
    K_k + K_q theta_k) over the Gaussian scores of a head. Correlations K' / sqrt(q q') are taken
    within a sample, so that those of an input with itself are 1. Source: Hron et al. 2020
    (arXiv:2006.10540), theorem 3.
    """

    is_sampled: ClassVar[bool] = True
    score: Score

    @property
    def own_requests(self) -> list[Request]:
        """Covariances of all three."""
        return self.requests(self, True)

    def requests(self, other: Node, crossed: bool) -> list[Request]:
        """All pairs of queries, of keys and of values."""
        return [Request(*pair, True) for pair in self.matched(other)]

    def variance(self, rows: Rows, own: Callable) -> Tensor:
        """K' of the same input, from the draws that pairs of it with itself see."""
        found = [own(request)[:, :, 0, :, 0] for request in self.own_requests]  # (B, P, P) each
        kept = torch.cat([each.flatten(1) for each in found], 1)
        rows.keep(self, kept.mT[..., None])
        every = Covariances(*(Blocks(each, each, each) for each in found))
        parts = [self._own_sum(part, rows.draws) for part in every.chunks(rows.draws)]
        return torch.cat(parts)[..., None] / (2 * rows.draws.count)

    def _own_sum(self, covariances: Covariances, draws: Draws) -> Float[Tensor, "f t"]:
        queries, keys, values = covariances
        weights = drawn((self.score, self.score), queries, keys, draws, self.index)
        return sum(_squares(a.weights, values.first) for a, _ in weights)

    def pairs(self, other: Node, meeting: Meeting, sources: list[Pair]) -> Pair:
        """K' and theta'."""
        draws = meeting.first.draws
        covariances = self._covariances(other, meeting, sources)
        thetas = [_by_pair(source.theta) for source in sources]
        size = chunk(covariances.queries, covariances.keys, draws)
        parts = [
            self._sums(other, part, theta, draws, meeting.crossed)
            for part, *theta in zip(
                covariances.chunks(draws), *(theta.split(size) for theta in thetas), strict=True
            )
        ]
        sums = Sums(*map(torch.cat, zip(*parts, strict=True)))
        return _pair(sums, sources[0].theta.shape, 2 * draws.count, meeting.crossed)

    def _covariances(self, other: Node, meeting: Meeting, sources: list[Pair]) -> Covariances:
        matched, every = self.matched(other), meeting.crossing(True)
        found = [
            _by_pair(every.covariance(*pair, source.delta))
            for pair, source in zip(matched, sources, strict=True)
        ]
        count = sources[0].theta.shape[2], sources[0].theta.shape[4]
        first = [_repeated(block, 2, count[1]) for block in self.within(meeting.first)]
        second = [_repeated(block, 1, count[0]) for block in other.within(meeting.second)]
        return Covariances(*map(Blocks, first, second, found))

    def within(self, rows: Rows) -> list[Float[Tensor, "b n p p"]]:
        """Covariances of queries, keys and values of the same input."""
        places = [node.places for node in self.sources]
        kept = rows.kept(self).split([count**2 for count in places])
        return [
            block.unflatten(0, (count, count)).permute(2, 3, 0, 1)
            for block, count in zip(kept, places, strict=True)
        ]

    def _sums(
        self, other: Node, covariances: Covariances, thetas: list[Tensor], draws, crossed: bool
    ) -> Sums:
        queries, keys, values = covariances
        layer = min(self.index, other.index)
        total = None
        for a, b in drawn((self.score, other.score), queries, keys, draws, layer):
            found = Sums(
                _squares(a.weights, values.first),
                _squares(b.weights, values.second),
                met(mixed(a.weights, values.cross), b.weights, crossed),
                self._tangents((a, b), covariances, thetas, crossed),
            )
            total = found if total is None else Sums(*map(torch.add, total, found))
        return total

    def _tangents(self, weights, covariances: Covariances, thetas: list[Tensor], crossed: bool):
        (a, b), (queries, keys, values) = weights, covariances
        of_queries, of_keys, of_values = thetas
        scales = [_equal(each, crossed) for each in (of_queries, queries.cross)]
        changes = [
            self.score.changes(a.slopes, b.slopes, values.cross, each, crossed)
            for each in (keys.cross, of_keys)
        ]
        total = met(mixed(a.weights, of_values), b.weights, crossed)
        return total.addcmul_(scales[0], changes[0]).addcmul_(scales[1], changes[1])


def _squares(weights: Float[Tensor, "f t d s"], values: Float[Tensor, "f s s"]) -> Tensor:
    """Sum over draws of A V A, (F, T)."""
    return met(mixed(weights, values), weights, False)


def _equal(array: Float[Tensor, "f t u"], crossed: bool) -> Tensor:
    """All pairs of queries, or equal ones alone."""
    return array if crossed else array.diagonal(0, 1, 2)


def _by_pair(array: Float[Tensor, "b p n r m"]) -> Float[Tensor, "f p r"]:
    """Pairs of inputs first."""
    return array.permute(0, 2, 4, 1, 3).flatten(0, 2)


def _repeated(block: Float[Tensor, "b n p p"], axis: int, count: int) -> Float[Tensor, "f p p"]:
    """Blocks of one side for all pairs of inputs."""
    return block.unsqueeze(axis).expand(*_sizes(block, axis, count)).flatten(0, 2)


def _sizes(block: Tensor, axis: int, count: int) -> list[int]:
    sizes = list(block.shape)
    sizes.insert(axis, count)
    return sizes


def _pair(sums: Sums, shape: tuple[int, ...], draws: int, crossed: bool) -> Pair:
    """Pair arrays; the gap is scaled with the variances of the same draws."""
    batch, _, n1, _, n2 = shape
    first, second = sums.first.sqrt(), sums.second.sqrt()
    if crossed:
        first, second = first[:, :, None], second[:, None]
    delta = smooth_gap(sums.both, first, second)
    found = [each.unflatten(0, (batch, n1, n2)) for each in (delta, sums.theta / draws)]
    order = (0, 3, 1, 4, 2) if crossed else (0, 3, 1, 2)
    return Pair(*(each.permute(order).contiguous() for each in found))
