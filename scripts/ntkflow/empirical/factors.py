"""Factors whose pairwise products are blocks of the kernel, and where those products go.

Every method writes the kernel as a sum over parameters of products of two factors, one for the
rows x1 and one for the rows x2. A factor holds S outputs; `Layout` says which of the S x S pairs
of outputs are wanted and where they are accumulated.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

TILE_HEIGHT = 16
FEW_PLACES = 8  # pairs of places that are better added one by one than summed


class Sizes(NamedTuple):
    """Entries of a product that are formed at once, and up to which outputs share a product.

    On a CPU a tile is still in a cache when it is scaled and added: 256 rows for 10 outputs and
    1000 columns. Outputs in one product cost the pairs o' < o again, and save calls.
    """

    tile: int
    group: int

    @classmethod
    def on(cls, device: torch.device) -> "Sizes":
        """Sizes for a device; an accelerator wants few calls."""
        return cls(2_560_000, 2**17) if device.type == "cpu" else cls(2**25, 2**25)


class Target(NamedTuple):
    """Outputs, their partners, and the view (B, G, P, N1, N2) that takes their products.

    In a block G outputs meet P partners (B = 1); else B outputs meet themselves (G = P = 1).
    """

    outputs: slice
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
        """Where the products go, but for a trace, a few outputs at once.

        `symmetric` leaves out partners before the first output of a target.
        """
        block = self.mode == "block"
        size = values[0].numel() if block else values.shape[-2:].numel()
        step = max(1, Sizes.on(values.device).group // size)
        for start in range(0, self.outputs, step):
            outputs = slice(start, min(start + step, self.outputs))
            if block:
                partners = slice(start if symmetric else 0, self.outputs)
                yield Target(outputs, partners, values[None, outputs, partners])
            else:
                yield Target(outputs, outputs, values[outputs, None, None])

    def mirror(self, values: Tensor, i: slice, j: slice) -> None:
        """Fill block (j, i), and on the diagonal the pairs o' < o, exactly symmetric."""
        if i != j:
            values[..., j, i] = self.transpose(values[..., i, j])
        elif self.mode != "block":
            values[..., i, i] = _mirrored(values[..., i, i])
        else:
            square = values[..., i, i]
            for outputs, _, _ in self.targets(square, True):
                own = square[outputs, outputs].transpose(1, 2)
                size = own.shape[:2].numel()
                own.copy_(_mirrored(own.reshape(size, size)).view(own.shape))
                rest = slice(outputs.stop, None)
                square[rest, outputs] = self.transpose(square[outputs, rest])

    def transpose(self, values: Tensor) -> Tensor:
        """The kernel with x1 and x2 exchanged."""
        return values.transpose(0, 1).mT if self.mode == "block" else values.mT


def _mirrored(square: Float[Tensor, "*o n n"]) -> Float[Tensor, "*o n n"]:
    return square.triu() + square.triu(1).mT


class Term(NamedTuple):
    """Summand sum over t, t' of scale[t, n, t', n'] <left[t, o, n], right[t', o', n']>.

    No scale is 1, for one place on each side.
    """

    left: Float[Tensor, "t s n1 k"]
    right: Float[Tensor, "t2 s n2 k"]
    scale: Float[Tensor, "t n1 t2 n2"] | None

    def summed(self) -> "Term":
        """The sum over equal outputs as one product of longer rows."""
        left, right = (each.transpose(1, 2).flatten(2)[:, None] for each in self[:2])
        return Term(left, right, self.scale)

    def split(self, pairs: int) -> Iterator["Term"]:
        """The same sum in parts of at most so many pairs of places."""
        width = min(len(self.right), pairs) if pairs >= FEW_PLACES else 1
        height = max(1, pairs // width) if pairs >= FEW_PLACES else 1
        for i in range(0, len(self.left), height):
            for j in range(0, len(self.right), width):
                here, there = slice(i, i + height), slice(j, j + width)
                scale = None if self.scale is None else self.scale[here, :, there]
                yield Term(self.left[here], self.right[there], scale)


@dataclass(frozen=True)
class JacobianFactor:
    """Rows of a Jacobian: the product is <J[o, n], J'[o', n']>."""

    rows: Float[Tensor, "s n p"]

    def term(self, other: "Summed") -> Term:
        """The product with the factor of other rows."""
        other = other if isinstance(other, JacobianFactor) else other.summed()
        return Term(self.rows[None], other.rows[None], None)

    def gradient(self, weights: Float[Tensor, " s"], n: int) -> Float[Tensor, " p"]:
        """Of the weighted outputs of row n."""
        return weights.to(self.rows) @ self.rows[:, n]


@dataclass(frozen=True)
class GramFactor:
    """Layer h_p = W a_p: the product is sum over p, p' of <a_p, a'_p'> <g_p, g'_p'>.

    g = df/dh; T positions, or uses of the layer; scale and bias of the layer are part of a.
    `swapped` weights are kept as (D, C).
    """

    inputs: Float[Tensor, "t n d"]
    gradients: Float[Tensor, "t s n c"]
    swapped: bool = False

    def summed(self) -> JacobianFactor:
        """The same as rows of a Jacobian: sum over places of g a'."""
        order = "sndc" if self.swapped else "sncd"
        rows = torch.einsum(f"tsnc,tnd->{order}", self.gradients, self.inputs)
        return JacobianFactor(rows.flatten(2))

    def term(self, other: "GramFactor | JacobianFactor") -> Term:
        """The product with the factor of other rows, at more or fewer places."""
        if isinstance(other, JacobianFactor):
            return self.summed().term(other)
        scale = self.inputs.flatten(0, 1) @ other.inputs.flatten(0, 1).mT
        shape = *self.inputs.shape[:2], *other.inputs.shape[:2]
        return Term(self.gradients, other.gradients, scale.view(shape))

    def gradient(self, weights: Float[Tensor, " s"], n: int) -> Float[Tensor, " p"]:
        """Of the weighted outputs of row n: sum over places of g a'."""
        g = weights.to(self.gradients) @ self.gradients[:, :, n]
        total = g.mT @ self.inputs[:, n]
        return (total.mT if self.swapped else total).flatten()


@dataclass(frozen=True)
class EmbeddingFactor:
    """Rows i_p of a table: the product is the sum over p, p' with i_p = i_p' of <g_p, g_p'>."""

    indices: Int[Tensor, "t n"]
    gradients: Float[Tensor, "t s n c"]
    rows: int

    def summed(self) -> JacobianFactor:
        """The same as rows of a Jacobian: the whole table for each output and row."""
        g, indices = self.gradients.permute(1, 2, 0, 3), self.indices.mT[None, :, :, None]
        table = g.new_zeros(*g.shape[:2], self.rows, g.shape[3])
        return JacobianFactor(table.scatter_add_(2, indices.expand(g.shape), g).flatten(2))

    def term(self, other: "EmbeddingFactor | JacobianFactor") -> Term:
        """The product with the factor of other rows, at more or fewer places."""
        if isinstance(other, JacobianFactor):
            return self.summed().term(other)
        same = self.indices[:, :, None, None] == other.indices
        return Term(self.gradients, other.gradients, same.to(self.gradients.dtype))

    def gradient(self, weights: Float[Tensor, " s"], n: int) -> Float[Tensor, " p"]:
        """Of the weighted outputs of row n, the whole table."""
        g = weights.to(self.gradients) @ self.gradients[:, :, n]
        table = g.new_zeros(self.rows, g.shape[-1])
        return table.index_add_(0, self.indices[:, n], g).flatten()


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


Summed = JacobianFactor | GramFactor | EmbeddingFactor
Factor = Summed | ReadoutFactor


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
            terms.append(factor.term(other))
    terms.sort(key=lambda term: term.scale is not None)
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
    elif layout.mode == "diagonal":
        values.add_(readout)
    else:
        values.diagonal(0, 0, 1).add_(readout[..., None])


def _fill_terms(terms: list[Term], layout: Layout, values: Tensor, symmetric: bool) -> None:
    """Tile by tile, all terms while the tile is in a cache; one matrix product per term and tile.

    Terms without a scale come first: their sum is formed by the products themselves.
    """
    n1, n2 = values.shape[-2:]
    entries = Sizes.on(values.device).tile
    buffer = values.new_empty(max(entries, TILE_HEIGHT * layout.outputs * n2))
    plain = sum(term.scale is None for term in terms)
    for target in layout.targets(values, symmetric):
        height = max(TILE_HEIGHT, entries // target.values[..., 0, :].numel())
        for start in range(0, n1, height):
            rows = slice(start, min(start + height, n1))
            tile = target.values[..., rows, :]
            pairs = entries // tile.numel()
            for index, term in enumerate(terms[:plain]):
                product = _multiply(term, layout, target, rows, buffer, index > 0)
            if plain:
                tile.copy_(product[:, 0, :, :, 0].transpose(2, 3))
            parts = (part for term in terms[plain:] for part in term.split(pairs))
            for index, part in enumerate(parts, plain):
                product = _multiply(part, layout, target, rows, buffer, False)
                _add_scaled(tile, part.scale[:, rows], product, bool(index))


def _multiply(
    term: Term, layout: Layout, target: Target, rows: slice, buffer: Tensor, add: bool
) -> Float[Tensor, "b t g n1 t2 p n2"]:
    """Products of all rows and places, in the buffer, added to what is there if `add`."""
    left, right = term.left[:, target.outputs, rows], term.right[:, target.partners]
    if layout.mode == "block":
        sides = [each.flatten(0, 2)[None] for each in (left, right)]
        axes = [each.shape[:3] for each in (left, right)]
    else:
        sides = [each.transpose(0, 1).flatten(1, 2) for each in (left, right)]
        axes = [(len(each), 1, each.shape[2]) for each in (left, right)]
    shape = len(sides[0]), sides[0].shape[1], sides[1].shape[1]
    product = buffer[: shape[0] * shape[1] * shape[2]].view(shape)
    torch.baddbmm(product, sides[0], sides[1].mT, beta=int(add), out=product)
    return product.view(shape[0], *axes[0], *axes[1])


def _add_scaled(
    tile: Float[Tensor, "b g p n1 n2"],
    scale: Float[Tensor, "t n1 t2 n2"],
    product: Float[Tensor, "b t g n1 t2 p n2"],
    add: bool,
) -> None:
    """Add the products, scaled and summed over places, or write them."""
    if len(scale) == scale.shape[2] == 1:
        scale, product = scale[0, :, 0], product[:, 0, :, :, 0].transpose(2, 3)
        if add:
            tile.addcmul_(scale, product)
        else:
            torch.mul(scale, product, out=tile)
        return
    summed = product.mul_(scale[:, None, :, :, None]).sum((1, 4)).transpose(2, 3)
    if add:
        tile.add_(summed)
    else:
        tile.copy_(summed)
