"""Errors of a grid of ridges, from one eigendecomposition or one Krylov space."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..checks import as_whole, check_choice, check_ridge, check_shape
from ..errors import ConfigurationError, KernelError
from ..linalg.preconditioning import LowRankPreconditioner
from ..linalg.shifted import shifted_solutions
from ..linalg.solving import cholesky
from .choosing import METHODS
from .solvers import DirectSolver, IterativeSolver, precondition
from .sources import Source

# Rows of which all eigenpairs are computed unasked, rows that are left out of a larger kernel, and
# the rank of a preconditioner where the fit has none, per root of n.
_DECOMPOSED, _SAMPLED, _RANK = 3000, 16, 8
# Ridges up to which a factor each costs less than all eigenpairs, and rows of these factors.
_FACTORS, _FACTORISED = 24, 6000


class RidgeErrors(NamedTuple):
    """What fits that have not seen some training points say about them, for a grid of ridges.

    Attributes:
        ridges: lambda, (R,).
        rows: the points, (m,).
        predictions: at these points, (R, m, *o).
        mean_squares: mean over points and outputs of squared errors, (R,).
        standard_errors: of these means over points, (R,).
        residual: largest relative residual of the systems solved.
        method: "direct" or "iterative".

    Examples:
        >>> x, y = torch.randn(20, 3), torch.randn(20, 1)
        >>> fit = ntkflow.kernel_ridge(x @ x.T, y, 0.1)
        >>> found = fit.leave_one_out([0.1, 1.0])
        >>> found.ridges.tolist(), found.mean_squares.shape
        ([0.1, 1.0], torch.Size([2]))
    """

    ridges: Float[Tensor, " r"]
    rows: Int[Tensor, " m"]
    predictions: Float[Tensor, "r m *o"]
    mean_squares: Float[Tensor, " r"]
    standard_errors: Float[Tensor, " r"]
    residual: float
    method: str


Solver = DirectSolver | IterativeSolver


def left_out_errors(
    solver: Solver,
    y: Float[Tensor, "n k"],
    ridges: Sequence[float],
    *,
    count: int | None,
    centre: bool,
    tolerance: float,
    method: str | None,
) -> RidgeErrors:
    """Each row predicted from all others; see `RidgeFit.leave_one_out`."""
    source = solver.source
    method = _method(method, ridges, source.size)
    rows = _sampled(source, count, method)
    if centre and len(y) == 1:
        raise ConfigurationError("rows: 1 is not allowed with centre=True; no other has a mean")
    ones = torch.ones_like(y[:, :1])
    # Columns: G y, G 1 (for means without the row) and, where G is not known, G e_i.
    if method == "direct":
        values, vectors = _eigenpairs(source, None, ridges)
        rhs = torch.cat([y, ones], 1)
        turned, squares = vectors.T @ rhs, vectors[rows].square()
        inverses = [1 / (values + ridge) for ridge in ridges]
        found = torch.stack([vectors @ (each[:, None] * turned) for each in inverses])
        solved, diagonals = found[:, rows], [squares @ each for each in inverses]
    else:
        units = torch.zeros(len(y), len(rows), dtype=y.dtype, device=y.device)
        units[rows, torch.arange(len(rows), device=y.device)] = 1
        rhs = torch.cat([y, ones, units], 1)
        found = _krylov(solver, source, rhs, ridges, None, tolerance)
        solved = [each[rows] for each in found[..., : y.shape[1] + 1]]
        diagonals = [each[rows, y.shape[1] + 1 :].diagonal() for each in found]
    residual = _true_residual(source, None, rhs, found, ridges, tolerance)
    means = (y.sum(0) - y[rows]) / (len(y) - 1) if centre else torch.zeros_like(y[rows])
    predictions = [
        y[rows] - (each[:, :-1] - means * each[:, -1:]) / diagonal[:, None]
        for each, diagonal in zip(solved, diagonals, strict=True)
    ]
    return _errors(ridges, rows, torch.stack(predictions), y, residual, method)


def held_out_errors(
    solver: Solver,
    y: Float[Tensor, "n k"],
    ridges: Sequence[float],
    rows: Tensor,
    *,
    centre: bool,
    tolerance: float,
    method: str | None,
) -> RidgeErrors:
    """Some rows predicted from the others; see `RidgeFit.held_out`."""
    source = solver.source
    rows, kept = _split(rows, len(y))
    method = _method(method, ridges, source.size, _FACTORISED)
    mean = y[kept].mean(0) if centre else torch.zeros_like(y[0])
    rhs = y[kept] - mean
    if method == "direct":
        found = _direct(source, rhs, ridges, kept)
    else:
        found = _krylov(solver, source, rhs, ridges, kept, tolerance)
    residual = _true_residual(source, kept, rhs, found, ridges, tolerance)
    flat = found.permute(1, 0, 2).flatten(1)
    products = source.multiply_exactly(_spread(flat, kept, len(y)))[rows]
    predictions = products.unflatten(1, (len(ridges), -1)).permute(1, 0, 2) + mean
    return _errors(ridges, rows, predictions, y, residual, method)


def _method(method: str | None, ridges: Sequence[float], size: int, few: int | None = None) -> str:
    """What was asked for; else direct up to 3000 rows, or where ridges are few, up to `few`."""
    if not hasattr(ridges, "__len__") or getattr(ridges, "ndim", 1) != 1:
        raise ConfigurationError(f"ridges: {ridges!r} is not allowed; use a list of numbers >= 0")
    for ridge in ridges:
        check_ridge("ridges", ridge)
    if not len(ridges):
        raise ConfigurationError("ridges: none is given; use at least one number >= 0")
    if method is not None:
        check_choice("method", method, METHODS)
        return method
    most = few if few is not None and len(ridges) <= _FACTORS else _DECOMPOSED
    return "direct" if size <= most else "iterative"


def _sampled(source: Source, count: int | None, method: str) -> Tensor:
    """All rows, or a random sample of them in order."""
    if count is None:
        count = source.size if method == "direct" else min(source.size, _SAMPLED)
    count = as_whole("rows", count, 1, source.size)
    if count == source.size:
        return torch.arange(count, device=source.device)
    stream = torch.Generator().manual_seed(0)
    return torch.randperm(source.size, generator=stream)[:count].sort().values.to(source.device)


def _split(rows: Tensor, size: int) -> tuple[Int[Tensor, " m"], Int[Tensor, " k"]]:
    """Indices of the rows that judge, and of those that are fitted.

    Raises:
        ConfigurationError: if the rows that judge are not different ones of them, or all.
    """
    check_shape("rows", rows, None)
    whole = not (rows.dtype == torch.bool or rows.is_floating_point() or rows.is_complex())
    found = rows.long() if whole else rows[:0].long()
    if not len(found) or found.min() < 0 or found.max() >= size or len(found.unique()) < len(rows):
        raise ConfigurationError(
            f"rows: use indices from 0 to {size - 1}, at least one, each of them once, not "
            f"{rows.dtype} {tuple(rows.shape)}; of a mask, mask.nonzero().flatten()"
        )
    rows = found
    fitted = torch.ones(size, dtype=torch.bool, device=rows.device)
    fitted[rows] = False
    if not fitted.any():
        raise ConfigurationError(f"rows: all {size} are held out; leave some to be fitted")
    return rows, fitted.nonzero().flatten()


def _eigenpairs(
    source: Source, kept: Tensor | None, ridges: Sequence[float]
) -> tuple[Float[Tensor, " n"], Float[Tensor, "n n"]]:
    """Ascending eigenvalues and eigenvectors in float64 of some rows and columns."""
    dense = source.to_dense(torch.float64)
    if kept is not None:
        dense = dense[kept][:, kept]
    values, vectors = torch.linalg.eigh(dense)
    rounding = len(values) * torch.finfo(torch.float64).eps * values[-1]
    if values[0] + min(ridges) <= rounding:
        raise KernelError(
            f"ridges: {min(ridges):g} is not allowed with a smallest eigenvalue of "
            f"{values[0].item():.3g}; use larger ones"
        )
    return values, vectors


def _direct(
    source: Source, rhs: Float[Tensor, "n k"], ridges: Sequence[float], kept: Tensor
) -> Float[Tensor, "r n k"]:
    """Solutions for all ridges on some rows and columns, in float64.

    A factor takes n^3 / 3 operations and eigenpairs about 9 n^3: few ridges have a factor each.
    """
    if len(ridges) <= _FACTORS:
        dense = source.to_dense(torch.float64)[kept][:, kept]
        try:
            factors = (cholesky(dense, ridge) for ridge in ridges)
            return torch.stack([torch.cholesky_solve(rhs, each) for each in factors])
        except KernelError:
            pass  # eigenvalues tell whether a smaller one than its rounding is the reason
    values, vectors = _eigenpairs(source, kept, ridges)
    turned = vectors.T @ rhs
    return torch.stack([vectors @ (turned / (values + r)[:, None]) for r in ridges])


def _krylov(
    solver: Solver,
    source: Source,
    rhs: Tensor,
    ridges: Sequence[float],
    kept: Tensor | None,
    tolerance: float,
) -> Float[Tensor, "r n k"]:
    """Solutions for all ridges; of some rows and columns, products are those with zeros between."""
    known = getattr(solver, "preconditioner", None)
    if known is None:
        known = precondition(source, min(source.size, int(_RANK * source.size**0.5)), 0)
    if kept is not None:
        # A row of F' = S^(1/2) U' restricted is one of the restricted kernel.
        factor = known.vectors[:, kept]
        known = LowRankPreconditioner(factor.mul_(known.values.sqrt()[:, None].to(factor)))

    def multiply(vectors: Tensor) -> Tensor:
        if kept is None:
            return source.multiply(vectors)
        return source.multiply(_spread(vectors, kept, source.size))[kept]

    return shifted_solutions(multiply, known, rhs, ridges, tolerance=tolerance)


def _spread(vectors: Tensor, kept: Tensor, size: int) -> Tensor:
    """Vectors with zeros in the other rows."""
    found = torch.zeros(size, vectors.shape[1], dtype=vectors.dtype, device=vectors.device)
    found[kept] = vectors
    return found


def _true_residual(
    source: Source,
    kept: Tensor | None,
    rhs: Tensor,
    found: Float[Tensor, "r n k"],
    ridges: Sequence[float],
    tolerance: float,
) -> float:
    """Largest relative residual with products in float64.

    Raises:
        KernelError: if it is far above the tolerance: the type of the kernel does not reach it.
    """
    flat = found.permute(1, 0, 2).flatten(1)
    if kept is not None:
        flat = _spread(flat, kept, source.size)
    products = source.multiply_exactly(flat)
    products = (products if kept is None else products[kept]).unflatten(1, (len(ridges), -1))
    sizes = rhs.norm(dim=0)
    sizes = sizes.where(sizes > 0, 1.0)
    worst = 0.0
    for index, ridge in enumerate(ridges):
        left = rhs - products[:, index] - ridge * found[index]
        worst = max(worst, (left.norm(dim=0) / sizes).max().item())
    if not worst <= 10 * tolerance:
        raise KernelError(
            f"ridges: the true relative residual is {worst:.1e}, far above the tolerance "
            f"{tolerance:.1e}; use larger ridges, a larger tolerance, or a kernel in float64"
        )
    return worst


def _errors(
    ridges: Sequence[float],
    rows: Tensor,
    predictions: Float[Tensor, "r m k"],
    y: Tensor,
    residual: float,
    method: str,
) -> RidgeErrors:
    squares = (predictions - y[rows]).square().mean(2)
    grid = torch.tensor(list(ridges), dtype=torch.float64)
    spread = squares.std(1) / len(rows) ** 0.5 if len(rows) > 1 else squares[:, 0] * torch.nan
    return RidgeErrors(grid, rows, predictions, squares.mean(1), spread, residual, method)
