"""Factors whose pairwise products are blocks of the kernel.

Every method writes the kernel as a sum over parameters of products of two factors, one for the
rows x1 and one for the rows x2. A factor holds S outputs.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, is_dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

FEW_PLACES = 8  # pairs of places that are better added one by one than summed
# Numbers that one matrix product sums. On a CPU it may add them one after the other, whose rounding
# grows with their number; sums of so many are added up at no cost.
LONGEST = 2**15
LONG_ROW = 2**10  # numbers from which a product is worth a pass through what it is added to


class Term(NamedTuple):
    """Summand sum over t, t' of scale[t, n, t', n'] <left[t, o, n], right[t', o', n']>.

    No scale is 1, for one place on each side.
    """

    left: Float[Tensor, "t s n1 k"]
    right: Float[Tensor, "t2 s n2 k"]
    scale: Float[Tensor, "t n1 t2 n2"] | None

    def packed(self) -> "Term":
        """With the places on the outer axis in memory too."""
        left = self.left.contiguous()
        right = left if self.right is self.left else self.right.contiguous()
        return Term(left, right, self.scale)

    def summed(self) -> "Term":
        """The sum over equal outputs as one product of longer rows."""
        left, right = (each.transpose(1, 2).flatten(2)[:, None] for each in self[:2])
        return Term(left, right, self.scale)

    def over_outputs(self) -> list["Term"]:
        """Terms whose products add up to the sum over equal outputs.

        Long rows are multiplied output by output: putting them side by side takes as long.
        """
        left, right, scale = self
        if scale is not None or left.shape[-1] < LONG_ROW or left.device.type != "cpu":
            return [self.summed()]
        each = [slice(output, output + 1) for output in range(left.shape[1])]
        return [Term(left[:, one], right[:, one], None) for one in each]

    def pieces(self) -> Iterator["Term"]:
        """The same sum in products of rows that are not too long."""
        for some in pieces(self.left.shape[-1]):
            yield Term(self.left[..., some], self.right[..., some], self.scale)

    def split(self, pairs: int) -> Iterator["Term"]:
        """The same sum in parts of at most so many pairs of places."""
        width = min(len(self.right), pairs) if pairs >= FEW_PLACES else 1
        height = max(1, pairs // width) if pairs >= FEW_PLACES else 1
        for i in range(0, len(self.left), height):
            for j in range(0, len(self.right), width):
                here, there = slice(i, i + height), slice(j, j + width)
                scale = None if self.scale is None else self.scale[here, :, there]
                yield Term(self.left[here], self.right[there], scale)


def pieces(length: int) -> list[slice]:
    """Consecutive slices of rows of this length, at least one."""
    return [slice(start, start + LONGEST) for start in range(0, max(1, length), LONGEST)]


def row_products(left: Float[Tensor, "n k"], right: Float[Tensor, "m k"]) -> Float[Tensor, "n m"]:
    """Products of rows with rows, of any length."""
    first, *rest = pieces(left.shape[1])
    total = left[:, first] @ right[:, first].mT
    for some in rest:
        total.addmm_(left[:, some], right[:, some].mT)
    return total


@dataclass(frozen=True)
class JacobianFactor:
    """Rows of a Jacobian: the product is <J[o, n], J'[o', n']>.

    The gradient of a weight (C, D) may be kept as (D, C): then `turned` is C, else 0.
    """

    rows: Float[Tensor, "s n p"]
    turned: int = 0

    def first(self) -> "JacobianFactor":
        """Of the first row alone."""
        return JacobianFactor(self.rows[:, :1], self.turned)

    def upright(self) -> "JacobianFactor":
        """In the order of the weight."""
        return JacobianFactor(_upright(self.rows, self.turned)) if self.turned else self

    def terms(self, other: "Summed") -> list[Term]:
        """The product with the factor of other rows."""
        mine, other = self, other if isinstance(other, JacobianFactor) else other.summed()
        if mine.turned != other.turned:
            mine, other = mine.upright(), other.upright()
        left = mine.rows[None]
        return [Term(left, left if other is mine else other.rows[None], None)]

    def gradient(self, weights: Float[Tensor, " s"], n: int) -> Float[Tensor, " p"]:
        """Of the weighted outputs of row n."""
        found = weights.to(self.rows) @ self.rows[:, n]
        return _upright(found, self.turned) if self.turned else found


def _upright(rows: Float[Tensor, "*s p"], turned: int) -> Float[Tensor, "*s p"]:
    return rows.unflatten(-1, (-1, turned)).mT.flatten(-2)


@dataclass(frozen=True)
class GramFactor:
    """Layer h_p = W a_p: the product is sum over p, p' of <a_p, a'_p'> <g_p, g'_p'>.

    g = df/dh; T positions, or uses of the layer; scale and bias of the layer are part of a.
    `swapped` weights are kept as (D, C).
    """

    inputs: Float[Tensor, "t n d"]
    gradients: Float[Tensor, "t s n c"]
    swapped: bool = False

    def first(self) -> "GramFactor":
        """Of the first row alone."""
        return GramFactor(self.inputs[:, :1], self.gradients[:, :, :1], self.swapped)

    def summed(self) -> JacobianFactor:
        """The same as rows of a Jacobian: sum over places of g a'."""
        order = "sndc" if self.swapped else "sncd"
        rows = torch.einsum(f"tsnc,tnd->{order}", self.gradients, self.inputs)
        return JacobianFactor(rows.flatten(2))

    def terms(self, other: "GramFactor | JacobianFactor") -> list[Term]:
        """The product with the factor of other rows, at more or fewer places."""
        if isinstance(other, JacobianFactor):
            return self.summed().terms(other)
        scale = row_products(self.inputs.flatten(0, 1), other.inputs.flatten(0, 1))
        shape = *self.inputs.shape[:2], *other.inputs.shape[:2]
        return [Term(self.gradients, other.gradients, scale.view(shape))]

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

    def first(self) -> "EmbeddingFactor":
        """Of the first row alone."""
        return EmbeddingFactor(self.indices[:, :1], self.gradients[:, :, :1], self.rows)

    def summed(self) -> JacobianFactor:
        """The same as rows of a Jacobian: the whole table for each output and row."""
        g, indices = self.gradients.permute(1, 2, 0, 3), self.indices.mT[None, :, :, None]
        table = g.new_zeros(*g.shape[:2], self.rows, g.shape[3])
        return JacobianFactor(table.scatter_add_(2, indices.expand(g.shape), g).flatten(2))

    def terms(self, other: "EmbeddingFactor | JacobianFactor") -> list[Term]:
        """The product with the factor of other rows, at more or fewer places."""
        if isinstance(other, JacobianFactor):
            return self.summed().terms(other)
        same = self.indices[:, :, None, None] == other.indices
        return [Term(self.gradients, other.gradients, same.to(self.gradients.dtype))]

    def gradient(self, weights: Float[Tensor, " s"], n: int) -> Float[Tensor, " p"]:
        """Of the weighted outputs of row n, the whole table."""
        g = weights.to(self.gradients) @ self.gradients[:, :, n]
        table = g.new_zeros(self.rows, g.shape[-1])
        return table.index_add_(0, self.indices[:, n], g).flatten()


@dataclass(frozen=True)
class TiedFactor:
    """A table whose rows are looked up and which also multiplies, as in a tied readout."""

    table: EmbeddingFactor
    matrix: GramFactor

    def first(self) -> "TiedFactor":
        """Of the first row alone."""
        return TiedFactor(self.table.first(), self.matrix.first())

    def summed(self) -> JacobianFactor:
        """The same as rows of a Jacobian: the whole table for each output and row."""
        return JacobianFactor(self.table.summed().rows.add_(self.matrix.summed().rows))

    def terms(self, other: "TiedFactor | JacobianFactor") -> list[Term]:
        """The product with the factor of other rows: of each use with each."""
        if isinstance(other, JacobianFactor):
            return self.summed().terms(other)
        there = _on_looked_up(self.matrix, other.table)
        back = _on_looked_up(other.matrix, self.table)
        mixed = [there, Term(back.right, back.left, None)]
        return self.table.terms(other.table) + self.matrix.terms(other.matrix) + mixed

    def gradient(self, weights: Float[Tensor, " s"], n: int) -> Float[Tensor, " p"]:
        """Of the weighted outputs of row n, the whole table."""
        return self.table.gradient(weights, n) + self.matrix.gradient(weights, n)


def _on_looked_up(matrix: GramFactor, table: EmbeddingFactor) -> Term:
    """The product of a matrix and a table on the rows of it that are looked up."""
    used, places = torch.unique(table.indices, return_inverse=True)
    multiplied = GramFactor(matrix.inputs, matrix.gradients[..., used])
    looked_up = EmbeddingFactor(places, table.gradients, len(used))
    return multiplied.summed().terms(looked_up)[0]


@dataclass(frozen=True)
class ReadoutFactor:
    """Last layer f = W a: the product is <a, a'> where o = o', else 0."""

    inputs: Float[Tensor, "n d"]

    def first(self) -> "ReadoutFactor":
        """Of the first row alone."""
        return ReadoutFactor(self.inputs[:1])

    def gram(self, other: "ReadoutFactor") -> Float[Tensor, "n1 n2"]:
        """The product where o = o'."""
        return row_products(self.inputs, other.inputs)

    def gradient(self, weights: Float[Tensor, " s"], n: int) -> Float[Tensor, " p"]:
        """Of the weighted outputs of row n, the weights of these outputs alone."""
        return torch.outer(weights.to(self.inputs), self.inputs[n]).flatten()


Summed = JacobianFactor | GramFactor | EmbeddingFactor | TiedFactor
Factor = Summed | ReadoutFactor


def tensors_of(factor: Factor) -> list[Tensor]:
    """All tensors of a factor."""
    parts = vars(factor).values()
    inner = [tensor for part in parts if is_dataclass(part) for tensor in tensors_of(part)]
    return inner + [part for part in parts if isinstance(part, Tensor)]


def mapped(factor: Factor, change: Callable[[Tensor], Tensor]) -> Factor:
    """A factor of changed tensors."""

    def changed(part: Any) -> Any:
        if isinstance(part, Tensor):
            return change(part)
        return mapped(part, change) if is_dataclass(part) else part

    return type(factor)(**{name: changed(part) for name, part in vars(factor).items()})
