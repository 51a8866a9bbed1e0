"""Factors whose pairwise products are blocks of the kernel, and where those products go.

Every method writes the kernel as a sum over parameters of products of two factors, one for the
rows x1 and one for the rows x2. A factor holds S outputs; `Layout` says which of the S x S pairs
of outputs are wanted and where they are accumulated.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

# Entries of a product that are formed at once, so that they are still in a cache when they are
# scaled and added: 256 rows for 10 outputs and 1000 columns.
TILE_ENTRIES = 2_560_000
TILE_HEIGHT = 16


class Target(NamedTuple):
    """Pairs (output, partners) of outputs and the view (partners, N1, N2) that takes them."""

    output: int
    partners: slice
    values: Tensor


@dataclass(frozen=True)
class Layout:
    """Which pairs of S outputs are kept: all (block), the equal ones, or the sum of those."""

    mode: str
    outputs: int

    def empty(self, n1: int, n2: int, like: Tensor) -> Tensor:
        """Kernel of n1 x n2 rows, yet to be filled."""
        lead = {"block": (self.outputs,) * 2, "diagonal": (self.outputs,), "trace": ()}
        return like.new_empty(*lead[self.mode], n1, n2)

    def targets(self, values: Tensor, symmetric: bool) -> Iterator[Target]:
        """Where each output's products go, but for a trace; `symmetric` leaves out o' < o."""
        for o in range(self.outputs):
            if self.mode == "block":
                first = o if symmetric else 0
                yield Target(o, slice(first, None), values[o, first:])
            else:
                yield Target(o, slice(o, o + 1), values[o : o + 1])

    def mirror(self, values: Tensor, i: slice, j: slice) -> None:
        """Fill block (j, i), and on the diagonal the pairs o' < o, exactly symmetric."""
        if i != j:
            values[..., j, i] = self.transpose(values[..., i, j])
        elif self.mode != "block":
            values[..., i, i] = _mirrored(values[..., i, i])
        else:
            square = values[..., i, i]
            for o in range(self.outputs):
                square[o, o] = _mirrored(square[o, o])
                square[o + 1 :, o] = square[o, o + 1 :].mT

    def transpose(self, values: Tensor) -> Tensor:
        """The kernel with x1 and x2 exchanged."""
        return values.transpose(0, 1).mT if self.mode == "block" else values.mT


def _mirrored(square: Float[Tensor, "*o n n"]) -> Float[Tensor, "*o n n"]:
    return square.triu() + square.triu(1).mT


class Term(NamedTuple):
    """One summand scale[n, n'] <left[o, n], right[o', n']> of the kernel; no scale is 1."""

    left: Float[Tensor, "s n1 k"]
    right: Float[Tensor, "s n2 k"]
    scale: Float[Tensor, "n1 n2"] | None

    def summed(self) -> "Term":
        """The sum over equal outputs as one product of longer rows."""
        left, right = (each.transpose(0, 1).flatten(1)[None] for each in (self.left, self.right))
        return Term(left, right, self.scale)


@dataclass(frozen=True)
class JacobianFactor:
    """Rows of a Jacobian: the product is <J[o, n], J'[o', n']>."""

    rows: Float[Tensor, "s n p"]

    def terms(self, other: "JacobianFactor") -> list[Term]:
        """The product with the factor of other rows."""
        return [Term(self.rows, other.rows, None)]

    def gradient(self, weights: Float[Tensor, " s"], n: int) -> Float[Tensor, " p"]:
        """Of the weighted outputs of row n."""
        return weights.to(self.rows) @ self.rows[:, n]


@dataclass(frozen=True)
class GramFactor:
    """Layer h_p = W a_p: the product is sum over p, p' of <a_p, a'_p'> <g_p, g'_p'>.

    g = df/dh; T positions, or uses of the layer; scale and bias of the layer are part of a.
    """

    inputs: Float[Tensor, "t n d"]
    gradients: Float[Tensor, "t s n c"]

    def terms(self, other: "GramFactor") -> list[Term]:
        """The product with the factor of other rows, a term for each pair of places."""
        left = list(zip(self.inputs, self.gradients, strict=True))
        right = list(zip(other.inputs, other.gradients, strict=True))
        return [Term(g, g2, a @ a2.mT) for a, g in left for a2, g2 in right]

    def gradient(self, weights: Float[Tensor, " s"], n: int) -> Float[Tensor, " p"]:
        """Of the weighted outputs of row n: sum over places of g a'."""
        g = weights.to(self.gradients) @ self.gradients[:, :, n]
        return (g.mT @ self.inputs[:, n]).flatten()


@dataclass(frozen=True)
class ReadoutFactor:
    """Last layer f = W a: the product is <a, a'> where o = o', else 0."""

    inputs: Float[Tensor, "n d"]

    def gram(self, other: "ReadoutFactor") -> Float[Tensor, "n1 n2"]:
        """The product where o = o'."""
        return self.inputs @ other.inputs.mT

    def gradient(self, weights: Float[Tensor, " s"], n: int) -> Float[Tensor, " p"]:
        """Of the weighted outputs of row n, the weights of these outputs alone."""
        return torch.outer(weights.to(self.inputs), self.inputs[n]).flatten()


Factor = JacobianFactor | GramFactor | ReadoutFactor


def fill_products(
    left: list[Factor], right: list[Factor], layout: Layout, values: Tensor, symmetric: bool
) -> None:
    """Fill `values` with the sum of the products of factors."""
    terms: list[Term] = []
    readout = None
    for factor, other in zip(left, right, strict=True):
        if isinstance(factor, ReadoutFactor):
            readout = factor.gram(other)
        else:
            terms += factor.terms(other)
    if not terms:
        values.zero_()
    elif layout.mode == "trace":
        summed = [term.summed() for term in terms]
        _fill_terms(summed, Layout("diagonal", 1), values[None], symmetric)
    else:
        _fill_terms(terms, layout, values, symmetric)
    if readout is None:
        return
    if layout.mode == "trace":
        values.add_(readout, alpha=layout.outputs)
        return
    for output, partners, target in layout.targets(values, symmetric):
        target[output - partners.start].add_(readout)


def _fill_terms(terms: list[Term], layout: Layout, values: Tensor, symmetric: bool) -> None:
    """Tile by tile, all terms while the tile is in a cache; one matrix product per term."""
    plain = [term for term in terms if term.scale is None]
    scaled = [term for term in terms if term.scale is not None]
    n1, n2 = values.shape[-2:]
    buffer = values.new_empty(max(TILE_ENTRIES, TILE_HEIGHT * layout.outputs * n2))
    for output, partners, target in layout.targets(values, symmetric):
        width = len(target) * n2
        height = max(TILE_HEIGHT, TILE_ENTRIES // width)
        for start in range(0, n1, height):
            rows = slice(start, min(start + height, n1))
            matrix = buffer[: (rows.stop - start) * width].view(-1, width)
            product = matrix.unflatten(1, (-1, n2)).transpose(0, 1)
            tile = target[:, rows]
            for index, (left, right, _) in enumerate(plain):
                columns = right[partners].flatten(0, 1).mT
                matrix.addmm_(left[output, rows], columns, beta=min(index, 1))
            if plain:
                tile.copy_(product)
            for index, (left, right, scale) in enumerate(scaled):
                torch.mm(left[output, rows], right[partners].flatten(0, 1).mT, out=matrix)
                if plain or index:
                    tile.addcmul_(scale[rows], product)
                else:
                    torch.mul(scale[rows], product, out=tile)
