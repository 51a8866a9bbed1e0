"""What a kernel ridge regression found, and what it says of other points."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import check_real, check_shape, check_tensors
from ..empirical.stored import kernel_rows, kernel_shape
from ..errors import ConfigurationError, KernelError
from ..linalg.solving import columns
from .grids import RidgeErrors, held_out_errors, left_out_errors
from .solvers import DirectSolver, IterativeSolver
from .sources import NetworkSource, Source, Version, versions

# Numbers of a cross kernel that are held at once; test points whose variances are solved together.
_NUMBERS, _TOGETHER = 2**25, 64
# Share of k(x, x) that a variance may be below 0 by the rounding of entries, beside what the
# residual of the solution explains.
_ROUNDING = {torch.float32: 0.01, torch.float64: 1e-5}


@dataclass(frozen=True, repr=False)
class RidgeFit:
    """f(x) = m + K_x (K + lambda I)^-1 (y - m).

    Attributes:
        coefficients: (K + lambda I)^-1 (y - m), shaped like y, in float64.
        offset: m, the mean of the targets where they were centred, else 0.
        ridge: lambda.
        residual: largest over right-hand sides of |(K + lambda I) c - (y - m)| / |y - m|, with
            products in float64, or those of an operator in its own type.
        method: "direct" or "iterative".
        reason: why, with sizes.
        steps: products with K, or rounds of refinement.

    Examples:
        >>> fit = ntkflow.kernel_ridge(torch.eye(3), torch.tensor([2.0, 4.0, 6.0]), 1.0)
        >>> fit.coefficients.round(decimals=6).tolist(), fit.method, fit.residual < 1e-6
        ([1.0, 2.0, 3.0], 'direct', True)
    """

    coefficients: Float[Tensor, "n *o"]
    offset: Float[Tensor, "*o"]
    ridge: float
    residual: float
    method: str
    reason: str
    steps: int
    _solver: DirectSolver | IterativeSolver
    _targets: Float[Tensor, "n k"]
    _centred: bool
    _network: NetworkSource | None
    _source: Source
    _versions: list[tuple[Tensor, Version]]
    _stamp: Any

    def __repr__(self) -> str:
        shape = tuple(self.coefficients.shape)
        return f"RidgeFit({shape}, residual={self.residual:.1e}, reason={self.reason!r})"

    def predict(self, cross: Any) -> Float[Tensor, "m *o"]:
        """Predictions f at test points, a block of them at a time.

        Args:
            cross: K_x (m, n), kernel of the test points against the training points; or an iterable
                of blocks of its rows; or the path of a file with it by `write_kernel_tiles`; or an
                operator (m, n); after a fit to (network, x) the test points themselves.

        Raises:
            KernelError: if a shape does not fit the training points, or a prediction is not finite.
            StorageError: if a file is no such one, or unfinished.

        Examples:
            >>> fit = ntkflow.kernel_ridge(torch.eye(2), torch.tensor([2.0, 4.0]), 1.0)
            >>> fit.predict(torch.ones(1, 2)).round(decimals=6)
            tensor([3.], dtype=torch.float64)
        """
        self._check_unchanged()
        flat = columns(self.coefficients)
        parts = [self._product(block, flat) for block in self._blocks(cross, _NUMBERS)]
        found = torch.cat(parts) if parts else flat[:0]
        if not bool(found.isfinite().all()):
            row = int((~found.isfinite().all(1)).nonzero()[0])
            raise KernelError(f"cross: row {row} has entries that are not finite")
        return self._shaped(found)

    def posterior(
        self, cross: Any, diagonal: Tensor | None = None
    ) -> tuple[Float[Tensor, "m *o"], Float[Tensor, " m"]]:
        """Mean and variance of a Gaussian process with noise variance lambda.

        variance = k(x, x) - K_x (K + lambda I)^-1 K_x', of one output and without the noise (Lee et
        al. 2018, arXiv:1711.00165, eq. 9). A test point is a further right-hand side.

        Args:
            cross: as in `predict`, but no operator.
            diagonal: k(x, x) of the test points; not after a fit to (network, x).

        Raises:
            ConfigurationError: if the diagonal is missing, or given where the network has it.
            KernelError: as `predict`, or if a variance is negative beyond rounding: the diagonal
                or the kernel of other points.

        Examples:
            >>> fit = ntkflow.kernel_ridge(torch.ones(1, 1), torch.ones(1), 3.0)
            >>> mean, variance = fit.posterior(torch.ones(1, 1), torch.ones(1))
            >>> mean.item(), variance.item()
            (0.25, 0.75)
        """
        self._check_unchanged()
        self._check_readable()
        if (diagonal is None) == (self._network is None):
            use = (
                "no diagonal: the network has it" if self._network else "k(x, x) of the test points"
            )
            given = "None" if diagonal is None else type(diagonal).__name__
            raise ConfigurationError(f"diagonal: {given} is not allowed; use {use}")
        flat, means, explained, unsure = columns(self.coefficients), [], [], []
        for block in self._blocks(cross, _TOGETHER * len(flat)):
            if not isinstance(block, Tensor):
                raise ConfigurationError(
                    "cross: an operator has no rows for a variance; use a tensor"
                )
            rows = block.double()
            if not len(rows) or not bool(rows.isfinite().all()):
                raise KernelError("cross: it has no rows, or entries that are not finite")
            means.append(rows @ flat)
            solved = self._solver.solve(rows.T.contiguous())
            explained.append((rows * solved.values.T).sum(1))
            unsure.append(solved.residual * rows.norm(dim=1) * solved.values.norm(dim=0))
        if self._network is not None:
            diagonal = self._network.diagonal_of(cross)
        variance = torch.cat(explained)
        check_shape("diagonal", diagonal, len(variance))
        diagonal = diagonal.detach()
        variance = diagonal.double() - variance
        rounding = _ROUNDING[self._source.dtype] * diagonal.double() + torch.cat(unsure)
        wrong = (~(variance >= -rounding)).nonzero()
        if len(wrong):
            row = int(wrong[0])
            raise KernelError(
                f"diagonal: {diagonal[row].item():.4g} leaves row {row} a variance of "
                f"{variance[row].item():.3g}; use k(x, x) of the rows of the cross kernel, or a "
                "smaller tolerance"
            )
        return self._shaped(torch.cat(means)), variance.clamp(min=0)

    def leave_one_out(
        self,
        ridges: Sequence[float],
        *,
        rows: int | None = None,
        tolerance: float = 1e-4,
        method: str | None = None,
    ) -> RidgeErrors:
        """Errors at training points that a fit to all others makes, for a grid of ridges.

        `y_i - f_-i(x_i) = [G (y - m_-i)]_i / G_ii` with G = (K + lambda I)^-1, m_-i the mean of the
        other targets (0 without centring). From one eigendecomposition, of all rows; or from one
        Krylov space, of a random sample of rows, each of them a right-hand side.

        Args:
            ridges: lambda, each >= 0.
            rows: how many rows to sample; default: all of a small kernel, else 16.
            tolerance: of the relative residuals.
            method: "direct" or "iterative"; default: direct up to 3000 rows.
        """
        self._check_unchanged()
        self._check_readable()
        options = dict(centre=self._centred, tolerance=tolerance, method=method)
        found = left_out_errors(self._solver, self._targets, ridges, count=rows, **options)
        return self._shaped_errors(found)

    def held_out(
        self,
        ridges: Sequence[float],
        rows: Tensor,
        *,
        tolerance: float = 1e-4,
        method: str | None = None,
    ) -> RidgeErrors:
        """Errors at some training points that fits to the others make, for a grid of ridges.

        Args:
            ridges: lambda, each >= 0.
            rows: indices of the training points that judge and are not fitted.
            tolerance: of the relative residuals.
            method: "direct" or "iterative"; default: direct up to 3000 rows, or to 6000 with
                24 ridges or fewer.
        """
        self._check_unchanged()
        self._check_readable()
        options = dict(centre=self._centred, tolerance=tolerance, method=method)
        found = held_out_errors(self._solver, self._targets, ridges, rows, **options)
        return self._shaped_errors(found)

    def _check_unchanged(self) -> None:
        """Raise a ConfigurationError if what the kernel is made from was written into."""
        now = versions(self._source.parts()) if self._versions else []
        for (old, before), (new, after) in zip(self._versions, now, strict=True):
            if old is not new or before != after:
                raise ConfigurationError(
                    "kernel: it, the network or x was changed in place since the fit; fit anew"
                )

    def _check_readable(self) -> None:
        """Raise a ConfigurationError if the file of the kernel is another one than at the fit."""
        if self._stamp is not None and self._stamp != self._source.stamp():
            raise ConfigurationError(
                f"kernel: {self._source.words} changed since the fit; fit anew"
            )

    def _shaped_errors(self, found: RidgeErrors) -> RidgeErrors:
        """With predictions in the shape of the targets."""
        shape = *found.predictions.shape[:2], *self.coefficients.shape[1:]
        return found._replace(predictions=found.predictions.reshape(shape))

    def _product(self, block: Any, flat: Tensor) -> Tensor:
        if isinstance(block, Tensor):
            return block.double() @ flat
        return (block @ flat.to(block.dtype)).double()

    def _shaped(self, found: Tensor) -> Tensor:
        return found.reshape(len(found), *self.coefficients.shape[1:]) + self.offset

    def _blocks(self, cross: Any, numbers: int) -> Iterator[Any]:
        """Blocks of rows of the cross kernel, each of about so many numbers."""
        size = len(self.coefficients)
        height = max(1, numbers // size)
        if self._network is not None:
            check_tensors(cross=cross)
            for piece in cross.split(height):
                yield self._network.between(piece, self._network.x)
        elif isinstance(cross, Tensor):
            check_shape("cross", cross, None, size)
            check_real("cross", cross)
            yield from cross.detach().split(height)
        elif isinstance(cross, str | Path):
            yield from _stored_rows(cross, height, size)
        elif isinstance(getattr(cross, "dtype", None), torch.dtype):
            if len(cross.shape) != 2 or cross.shape[1] != size:
                raise KernelError(
                    f"cross: shape {tuple(cross.shape)} is not allowed; use (any, {size})"
                )
            yield cross
        elif isinstance(cross, Iterable) and not hasattr(cross, "shape"):
            for block in cross:
                check_shape("cross", block, None, size)
                check_real("cross", block)
                yield from block.detach().split(height)
        else:
            raise ConfigurationError(
                f"cross: {type(cross).__name__} is not allowed; use a tensor (m, {size}), blocks "
                "of its rows, the path of a file, or an operator"
            )


def _stored_rows(path: str | Path, height: int, size: int) -> Iterator[Tensor]:
    """Rows of a kernel in a file."""
    shape = kernel_shape(path)
    if len(shape) != 2 or shape[1] != size:
        raise KernelError(f"cross: shape {shape} is not allowed; use (any, {size})")
    yield from map(torch.from_numpy, kernel_rows(path, height))
