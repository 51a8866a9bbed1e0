"""A factor, or conjugate gradients, behind one `solve` with true residuals."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import ConfigurationError, KernelError
from ..linalg.conjugate_gradients import (
    BlockConjugateGradients,
    NegativeCurvature,
    Progress,
    System,
)
from ..linalg.preconditioning import LowRankPreconditioner, nystrom, randomly_pivoted_cholesky
from ..linalg.solving import check_symmetric
from ..linalg.triangles import SharedTriangles
from .restarting import RestartFile
from .soundness import check_products, checked_product, indefinite
from .sources import DenseSource, Source, TriangleSource

# Rounds of refinement, at most, and the part of the tolerance where no other is needed.
_ROUNDS, _ENOUGH = 10, 0.01

Watch = Callable[[Progress], None]


class Solution(NamedTuple):
    """X of (K + lambda I) X = Y, its largest relative residual in float64, and the steps taken."""

    values: Float[Tensor, "n k"]
    residual: float
    steps: int


class DirectSolver:
    """A Cholesky factor in the type of the kernel, refined; in float64 where that does not do.

    Attributes:
        source: the kernel, which stays at hand beside its factor.
    """

    def __init__(
        self, source: Source, ridge: float, tolerance: float, *, overwrite: bool, widen: bool
    ):
        self.ridge, self.tolerance, self._widen = ridge, tolerance, widen
        self._words = source.words
        self._factorize(_own_matrix(source, overwrite))

    def _factorize(self, matrix: Tensor) -> None:
        """Put the factor in the place of the matrix; where that fails, of one in float64."""
        while True:
            self._triangles = SharedTriangles(matrix, self.ridge)
            self.source = TriangleSource(self._triangles, self._words)
            if self._triangles.pivot is None:
                return
            matrix = self._triangles.restore()
            check_symmetric(matrix)  # a number that is not finite is no pivot either
            if matrix.dtype == torch.float64 or not self._widen:
                raise indefinite(DenseSource(matrix), self.ridge)
            del matrix
            matrix = self._widened()

    def _widened(self) -> Tensor:
        """The matrix in float64; that in float32 is given up."""
        matrix = self._triangles.restore()
        self._triangles = self.source = None
        return matrix.double()

    def solve(self, rhs: Float[Tensor, "n k"]) -> Solution:
        """Refine until the residual falls no more; what float32 cannot do, float64 does.

        Raises:
            KernelError: if the residual stays above the tolerance.
        """
        found = self._refine(rhs)
        if found.residual <= self.tolerance:
            return found
        if self._triangles.matrix.dtype == torch.float32 and self._widen:
            self._factorize(self._widened())
            return self.solve(rhs)
        raise KernelError(
            f"kernel: the relative residual is {found.residual:.1e} instead of "
            f"{self.tolerance:.1e} with a factor in {self._triangles.matrix.dtype}; use a larger "
            "ridge or tolerance, or a larger memory_budget for a factor in float64"
        )

    def _refine(self, rhs: Tensor) -> Solution:
        """Add what the factor makes of the residual while that halves it at least."""
        sizes = rhs.norm(dim=0)
        sizes = sizes.where(sizes > 0, 1.0)
        best = Solution(torch.zeros_like(rhs), 1.0, 0)
        left = rhs
        while best.steps < _ROUNDS and best.residual > _ENOUGH * self.tolerance:
            x = best.values + self._triangles.solve(left)
            left = rhs - self._triangles.multiply(x) - self.ridge * x
            residual = (left.norm(dim=0) / sizes).max().item()
            if not residual < 0.5 * best.residual:
                break
            best = Solution(x, residual, best.steps + 1)
        return best


def _own_matrix(source: Source, overwrite: bool) -> Tensor:
    """The matrix that a factor may overwrite: the user's own if that is allowed."""
    if not isinstance(source, DenseSource):
        return source.to_dense(source.dtype)
    if not overwrite:
        return source.matrix.clone(memory_format=torch.contiguous_format)
    if 0 in source.matrix.stride() and len(source.matrix) > 1:
        raise ConfigurationError(
            "overwrite: an expanded tensor shares its numbers; use overwrite=False, or a clone"
        )
    return source.matrix


class IterativeSolver:
    """Block conjugate gradients behind a low-rank preconditioner.

    Attributes:
        source: the kernel.
        preconditioner: of all ridges.
    """

    def __init__(self, source: Source, ridge: float, tolerance: float, *, rank: int, seed: int):
        self.source, self.ridge, self.tolerance = source, ridge, tolerance
        self.preconditioner = precondition(source, rank, seed)

    def solve(
        self,
        rhs: Float[Tensor, "n k"],
        watch: Watch | None = None,
        restart: RestartFile | None = None,
    ) -> Solution:
        """Step until the true residual is within the tolerance.

        Raises:
            KernelError: if the kernel is indefinite or not finite, or the tolerance out of reach.
        """
        system = System(
            lambda v: checked_product(self.source, v),
            self.source.multiply_exactly,
            lambda v: self.preconditioner.apply(v, self.ridge),
            self.ridge,
            self.source.dtype,
        )
        gradients = BlockConjugateGradients(system, rhs)
        state = None if restart is None else restart.load()
        if state is not None:
            gradients.resume(state)

        def after(progress: Progress) -> None:
            if restart is not None:
                restart.save(gradients.state())
            if watch is not None:
                watch(progress)

        try:
            gradients.solve(self.tolerance, after)
        except NegativeCurvature as error:
            raise indefinite(self.source, self.ridge, error.value) from None
        if restart is not None:
            restart.remove()
        return Solution(gradients.solution, gradients.residual, gradients.steps)


def precondition(source: Source, rank: int, seed: int) -> LowRankPreconditioner:
    """From the source's rows where they are cheap, else from products."""
    if not source.has_entries:
        multiply = partial(checked_product, source)
        factor = nystrom(multiply, source.size, rank, device=source.device, seed=seed)
        return LowRankPreconditioner(factor)
    diagonal = check_products(source, source.diagonal())

    def rows(index: Tensor) -> Tensor:
        return check_products(source, source.rows(index))

    factor = randomly_pivoted_cholesky(rows, diagonal, rank, dtype=source.dtype, seed=seed)
    return LowRankPreconditioner(factor)
