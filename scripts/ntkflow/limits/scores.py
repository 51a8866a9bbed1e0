"""Random scores of attention with many heads, and what weights of keys made of them give.

For a pair of inputs (x, x') with T and U queries, S and R keys, the scores of a head are Gaussian,
with covariance K_q[t, u] K_k[s, r] within and between both. They are drawn as G = L_q Z L_k^T, Z of
standard normal numbers and L the symmetric root of the covariance of queries or keys of x and x'
together. Drawn arrays are (F, T, D, S): F pairs of inputs, D draws. Source: Hron et al. 2020
(arXiv:2006.10540), theorem 3.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ..randomness import torch_seed

_BLOCK = 2**16  # standard normal numbers that are drawn at once, whatever the tile is
_CHUNK_CPU, _CHUNK_ACCELERATOR = 2**18, 2**25  # numbers per array of scores


class Draws(NamedTuple):
    """How many draws of Z there are in one replicate, each used for (x, x') and for (x', x)."""

    count: int
    seed: int
    replicate: int

    def blocks(self, layer: int, n: int, m: int) -> Iterator[Float[Tensor, "d n m"]]:
        """All draws of a layer, the same numbers for all pairs of inputs."""
        seed = torch_seed(self.seed, "scores", self.replicate, layer)
        generator = torch.Generator().manual_seed(seed)
        step = block(n, m)
        for start in range(0, self.count, step):
            size = min(step, self.count - start), n, m
            yield torch.randn(size, dtype=torch.float64, generator=generator)


def block(n: int, m: int) -> int:
    """Draws at once of Z (n, m)."""
    return max(1, _BLOCK // (n * m))


class Blocks(NamedTuple):
    """Covariances within the places of x, within those of x', and between both."""

    first: Float[Tensor, "f p p"]
    second: Float[Tensor, "f r r"]
    cross: Float[Tensor, "f p r"]

    def chunks(self, size: int) -> Iterator["Blocks"]:
        """Some pairs of inputs at a time."""
        return map(Blocks._make, zip(*(block.split(size) for block in self), strict=True))

    def roots(self) -> tuple[Float[Tensor, "f p n"], Float[Tensor, "f r n"]]:
        """Rows of the symmetric root of the joint covariance; rounding errors of 0 are 0."""
        upper = torch.cat([self.first, self.cross], -1)
        joint = torch.cat([upper, torch.cat([self.cross.mT, self.second], -1)], -2)
        values, vectors = torch.linalg.eigh(joint)
        least = 16 * joint.shape[-1] * torch.finfo(joint.dtype).eps * values[..., -1:]
        scale = torch.where(values > least, values, 0).sqrt()
        root = (vectors * scale[..., None, :]) @ vectors.mT
        return root.split([self.first.shape[-1], self.second.shape[-1]], -2)


class Drawn(NamedTuple):
    """Weights A of the keys, and what their derivatives by the scores are made of."""

    weights: Float[Tensor, "f t d s"]
    slopes: Float[Tensor, "f t d s"]


@runtime_checkable
class Score(Protocol):
    """Weights of keys as a function of the scores."""

    def drawn(self, scores: Float[Tensor, "f t d s"]) -> Drawn:
        """Weights and slopes."""

    def changes(self, a: Tensor, b: Tensor, values: Tensor, theta: Tensor, crossed: bool) -> Tensor:
        """Sum over draws and keys of V[s, s'] H[r, r'] dA[s]/dG[r] dA'[s']/dG'[r'], of slopes."""


@dataclass(frozen=True)
class Softmax:
    """A = softmax(G + mask) over the keys, with dA[s]/dG[r] = A[s] (1[s = r] - A[r])."""

    mask: Float[Tensor, "t s"] | None

    def drawn(self, scores: Tensor) -> Drawn:
        """Weights, of which the derivatives are made."""
        scores = scores if self.mask is None else scores + self.mask.to(scores)[:, None]
        weights = torch.softmax(scores, -1)
        return Drawn(weights, weights)

    def changes(self, a: Tensor, b: Tensor, values: Tensor, theta: Tensor, crossed: bool) -> Tensor:
        """A (V H) A' - (A V) (A H) A' - A (V A') (H A') + (A V A') (A H A'), entry by entry."""
        left = mixed(a, values), mixed(a, theta)
        right = mixed(b, values.mT), mixed(b, theta.mT)
        total = met(mixed(a, values * theta) - left[0] * left[1], b, crossed)
        total = total - met(a, right[0] * right[1], crossed)
        return total + (each(left[0], b, crossed) * each(left[1], b, crossed)).sum(1)


@dataclass(frozen=True)
class Elementwise:
    """A = f(G + mask), 0 where the mask hides a key."""

    function: Callable[[Tensor], Tensor]
    mask: Float[Tensor, "t s"] | None

    def drawn(self, scores: Tensor) -> Drawn:
        """Values and slopes of f."""
        mask = scores.new_zeros(()) if self.mask is None else self.mask.to(scores)[:, None]
        hidden = mask == -torch.inf
        with torch.enable_grad():
            shifted = (scores + mask.masked_fill(hidden, 0)).detach().requires_grad_()
            weights = self.function(shifted)
            (slopes,) = torch.autograd.grad(weights.sum(), shifted)
        return Drawn(weights.detach().masked_fill(hidden, 0), slopes.masked_fill(hidden, 0))

    def changes(self, a: Tensor, b: Tensor, values: Tensor, theta: Tensor, crossed: bool) -> Tensor:
        """f'(G) (V H) f'(G')."""
        return met(mixed(a, values * theta), b, crossed)


def mixed(a: Float[Tensor, "f t d s"], matrix: Float[Tensor, "f s r"]) -> Tensor:
    """Product over the keys."""
    return (a.flatten(1, 2) @ matrix).unflatten(1, a.shape[1:3])


def met(a: Float[Tensor, "f t d s"], b: Float[Tensor, "f u d s"], crossed: bool) -> Tensor:
    """Sum over draws and keys: (F, T, U), or (F, T) where equal queries meet."""
    if crossed:
        return a.flatten(2) @ b.flatten(2).mT
    return (a * b).sum((2, 3))


def each(a: Float[Tensor, "f t d s"], b: Float[Tensor, "f u d s"], crossed: bool) -> Tensor:
    """The same for each draw: (F, D, T, U) or (F, D, T)."""
    if crossed:
        return a.transpose(1, 2) @ b.permute(0, 2, 3, 1)
    return (a * b).sum(3).mT


def drawn(
    scores: tuple[Score, Score], queries: Blocks, keys: Blocks, draws: Draws, layer: int
) -> Iterator[tuple[Drawn, Drawn]]:
    """Weights of the keys of x and of x', some draws at a time.

    Each Z is used a second time with the places of x and x' exchanged, so that the estimate for
    (x', x) is that for (x, x').
    """
    roots = list(zip(queries.roots(), keys.roots(), strict=True))
    (q, k), _ = roots
    for z in draws.blocks(layer, q.shape[-1], k.shape[-1]):
        z = torch.cat([z, z.roll((q.shape[-2], k.shape[-2]), (1, 2))]).to(q)
        sides = [mixed(torch.einsum("ftn,dnm->ftdm", q, z), k.mT) for q, k in roots]
        yield tuple(score.drawn(side) for score, side in zip(scores, sides, strict=True))


def chunk(queries: Blocks, keys: Blocks, draws: Draws) -> int:
    """Pairs of inputs whose scores are drawn together."""
    places = queries.first.shape[-1] + queries.second.shape[-1]
    width = keys.first.shape[-1] + keys.second.shape[-1]
    count = 2 * min(draws.count, block(places, width))
    numbers = _CHUNK_CPU if queries.first.device.type == "cpu" else _CHUNK_ACCELERATOR
    return max(1, numbers // (count * places * width))
