"""Cholesky factor in one triangle of a matrix, and the matrix itself in the other.

Nothing of the size of the matrix is ever allocated: a kernel that fills the memory is factorised
where it lies, and residuals of what it solves are still computed with it.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from .solving import stored_product

# Columns that are factorised together; rows converted to float64 together.
_PANEL, _ROWS = 512, 512


class SharedTriangles:
    """L below the diagonal and on it, K above it, in one array; the diagonal of K beside it.

    Attributes:
        matrix: the array, overwritten from now on.
        diagonal: of K, in float64.
        ridge: lambda in L L' = K + lambda I.
        pivot: index of the first pivot that was not positive, in float64 not beyond rounding; None
            where all are.
    """

    def __init__(self, matrix: Float[Tensor, "n n"], ridge: float | int):
        self.matrix, self.ridge = matrix, ridge
        self.diagonal = matrix.diagonal().to(torch.float64, copy=True)
        self.pivot = self._factorize()

    def _factorize(self) -> int | None:
        """Left-looking, a panel of columns at a time: every product is a large one."""
        matrix, level = self.matrix, 0.0
        matrix.diagonal().copy_(self.diagonal + self.ridge)
        if matrix.dtype == torch.float64:  # in float32 refinement tells what rounding has left
            eps = torch.finfo(torch.float64).eps
            level = len(matrix) * eps * matrix.diagonal().max().item()
        for start in range(0, len(matrix), _PANEL):
            stop = min(start + _PANEL, len(matrix))
            square, below = matrix[start:stop, start:stop], matrix[stop:, start:stop]
            kept = square.triu(1)
            done = matrix[start:stop, :start].T
            square.addmm_(matrix[start:stop, :start], done, alpha=-1)
            below.addmm_(matrix[stop:, :start], done, alpha=-1)
            factor, info = torch.linalg.cholesky_ex(square)
            square.copy_(factor.tril_().add_(kept))
            if info.item():
                return start + int(info.item()) - 1
            low = (factor.diagonal().square() <= level).nonzero()
            if len(low):
                return start + int(low[0])
            solved = torch.linalg.solve_triangular(factor.mT, below, upper=True, left=False)
            below.copy_(solved)
        return None

    def solve(self, rhs: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """(K + lambda I)^-1 rhs to the precision of the factor, in float64."""
        half = torch.linalg.solve_triangular(self.matrix, rhs.to(self.matrix), upper=False)
        return torch.linalg.solve_triangular(self.matrix.mT, half, upper=True).double()

    def multiply(self, vectors: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """K vectors in float64, of entries as they are stored."""
        v = vectors.T.contiguous()
        return (v * self.diagonal + stored_product(self._above, v, _ROWS)).T

    def _above(self, i: slice, j: slice) -> Tensor:
        """A tile of K, but for zeros on the diagonal."""
        tile = self.matrix[i, j]
        if i != j:
            return tile
        above = tile.triu(1)
        return above + above.T

    def restore(self) -> Float[Tensor, "n n"]:
        """K again, in place of its factor."""
        for start in range(0, len(self.matrix), _ROWS):
            rows, right = slice(start, start + _ROWS), slice(start + _ROWS, None)
            square = self.matrix[rows, rows]
            square.copy_(square.triu(1) + square.triu(1).T)
            self.matrix[right, rows] = self.matrix[rows, right].T
        self.matrix.diagonal().copy_(self.diagonal)
        return self.matrix
