"""Factors whose pairwise products are blocks of the kernel, and where those products go.

Every method writes the kernel as a sum over parameters of products of two factors, one for the
rows x1 and one for the rows x2. A factor holds S outputs; `Layout` says which of the S x S pairs
of outputs are wanted and where they are accumulated.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

# Entries of a product that are formed at once, so that they are still in a cache when they are
# scaled and added: 256 rows for 10 outputs and 1000 columns.
TILE_ENTRIES = 2_560_000


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

    def zeros(self, n1: int, n2: int, like: Tensor) -> Tensor:
        """Empty kernel of n1 x n2 rows."""
        lead = {"block": (self.outputs,) * 2, "diagonal": (self.outputs,), "trace": ()}
        return like.new_zeros(*lead[self.mode], n1, n2)

    def targets(self, values: Tensor, symmetric: bool) -> Iterator[Target]:
        """Where each output's products go; `symmetric` leaves out the pairs o' < o."""
        for o in range(self.outputs):
            if self.mode == "block":
                first = o if symmetric else 0
                yield Target(o, slice(first, None), values[o, first:])
            elif self.mode == "diagonal":
                yield Target(o, slice(o, o + 1), values[o : o + 1])
            else:
                yield Target(o, slice(o, o + 1), values[None])

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


@dataclass(frozen=True)
class JacobianFactor:
    """Rows of a Jacobian: the product is <J[o, n], J'[o', n']>."""

    rows: Float[Tensor, "s n p"]

    def accumulate(self, other: "JacobianFactor", layout: Layout, values, symmetric) -> None:
        """Add the products to `values`."""
        add_products(self.rows, other.rows, None, layout, values, symmetric)


@dataclass(frozen=True)
class GramFactor:
    """Layer h_p = W a_p: the product is sum over p, p' of <a_p, a'_p'> <g_p, g'_p'>.

    g = df/dh; T positions, or uses of the layer; scale and bias of the layer are part of a.
    """

    inputs: Float[Tensor, "t n d"]
    gradients: Float[Tensor, "t s n c"]

    def accumulate(self, other: "GramFactor", layout: Layout, values, symmetric) -> None:
        """Add the products to `values`."""
        for a, g in zip(self.inputs, self.gradients, strict=True):
            for a2, g2 in zip(other.inputs, other.gradients, strict=True):
                add_products(g, g2, a @ a2.mT, layout, values, symmetric)


@dataclass(frozen=True)
class ReadoutFactor:
    """Last layer f = W a: the product is <a, a'> where o = o', else 0."""

    inputs: Float[Tensor, "n d"]

    def accumulate(self, other: "ReadoutFactor", layout: Layout, values, symmetric) -> None:
        """Add the products to `values`."""
        gram = self.inputs @ other.inputs.mT
        for output, partners, target in layout.targets(values, symmetric):
            target[output - (partners.start or 0)].add_(gram)


Factor = JacobianFactor | GramFactor | ReadoutFactor


def add_products(
    left: Float[Tensor, "s n1 k"],
    right: Float[Tensor, "s n2 k"],
    scale: Float[Tensor, "n1 n2"] | None,
    layout: Layout,
    values: Tensor,
    symmetric: bool,
) -> None:
    """Add scale[n, n'] <left[o, n], right[o', n']>, one matrix product per output and row tile."""
    n2, width = right.shape[1:]
    for output, partners, target in layout.targets(values, symmetric):
        columns = right[partners].reshape(-1, width).mT
        height = max(16, TILE_ENTRIES // columns.shape[1])
        for start in range(0, left.shape[1], height):
            rows = slice(start, start + height)
            product = (left[output, rows] @ columns).unflatten(1, (-1, n2)).transpose(0, 1)
            if scale is None:
                target[:, rows].add_(product)
            else:
                target[:, rows].addcmul_(scale[rows], product)
