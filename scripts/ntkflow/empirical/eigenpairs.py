"""Leading eigenpairs of a symmetric map that is known by its products alone."""

from typing import Any, NamedTuple

import numpy as np
import scipy  # its parts load when they are used
import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import as_whole, check_tensors
from ..errors import ConfigurationError, NtkflowError
from .operator import NtkOperator

# Size up to which the matrix is formed; Lanczos's method takes about as many products then.
FORM_UP_TO = 64
ROWS = 1024  # that are compared at once with the columns that they should be


class Eigenpairs(NamedTuple):
    """Leading eigenvalues, descending, their eigenvectors as columns, and |A u - lambda u|.

    Examples:
        >>> found = ntkflow.top_eigenpairs(torch.diag(torch.tensor([1.0, 3.0, 2.0])), 2)
        >>> found.values.tolist(), found.vectors.shape, bool((found.residual_norms < 1e-6).all())
        ([3.0, 2.0], torch.Size([3, 2]), True)
    """

    values: Float[Tensor, " k"]
    vectors: Float[Tensor, "m k"]
    residual_norms: Float[Tensor, " k"]


def top_eigenpairs(
    operator: NtkOperator | Float[Tensor, "m m"],
    k: int = 10,
    *,
    tolerance: float = 1e-8,
    max_iterations: int | None = None,
    seed: int = 0,
) -> Eigenpairs:
    """Largest k eigenvalues of a symmetric map by implicitly restarted Lanczos (ARPACK).

    Up to a size of 64 the matrix is formed and decomposed.

    Args:
        operator: `NtkOperator`, or a symmetric matrix.
        k: how many, below the size of the operator; all of them are allowed up to a size of 64.
        tolerance: relative accuracy asked of the eigenvalues; rounding in the operator's own type
            limits the residuals (float32: about 1e-6 of the largest eigenvalue).
        max_iterations: restarts before giving up; default: ten times the size.
        seed: of the start vector.

    Returns:
        `Eigenpairs` with the residual norms |A u - lambda u| computed anew.

    Raises:
        ConfigurationError: if k is not allowed, the matrix is not square or not symmetric, or the
            operator is between two sets of rows.
        NtkflowError: if the iteration does not converge.

    Examples:
        >>> network, x = ntkflow.mlp(3, [64], 2), torch.randn(50, 3)
        >>> theta = ntkflow.ntk_operator(network, x, dtype=torch.float64)  # 100 x 100
        >>> found = ntkflow.top_eigenpairs(theta, 3)
        >>> found.values.shape, found.vectors.shape
        (torch.Size([3]), torch.Size([100, 3]))
        >>> bool((found.residual_norms <= 1e-6 * found.values[0]).all())
        True
    """
    if isinstance(operator, NtkOperator):
        operator.check_symmetric("an eigenpair")
    else:
        check_tensors(operator=operator)
    size = operator.shape[0]
    if tuple(operator.shape) != (size, size):
        raise ConfigurationError(f"operator: shape {tuple(operator.shape)} is not square")
    k = as_whole("k", k, 1, size if size <= FORM_UP_TO else size - 1)
    if isinstance(operator, Tensor):
        _check_symmetric(operator)
    matrix = operator.to_scipy() if isinstance(operator, NtkOperator) else operator.cpu().numpy()
    if size <= FORM_UP_TO:
        found = _dense(matrix, k)
    else:
        found = _iterated(matrix, k, tolerance, max_iterations, seed)
    values, vectors = (torch.as_tensor(each, device=operator.device) for each in found)
    values, vectors = values.flip(0), vectors.flip(1)
    residuals = operator @ vectors - vectors * values
    return Eigenpairs(values, vectors, residuals.norm(dim=0))


def _check_symmetric(matrix: Tensor) -> None:
    """Raise a ConfigurationError unless this is its own transpose, half its digits given."""
    parts = zip(matrix.split(ROWS), matrix.split(ROWS, 1), strict=True)
    apart = torch.stack([(rows - columns.mT).abs().max() for rows, columns in parts]).max()
    size = torch.linalg.vector_norm(matrix, torch.inf)
    if apart > size * torch.finfo(matrix.dtype).eps ** 0.5:
        raise ConfigurationError(
            f"operator: differs from its transpose by {float(apart / size):.1e} of its largest "
            "entry; use a symmetric matrix"
        )


def _dense(matrix: Any, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Of the matrix itself, ascending: Lanczos's method does not take k near the size."""
    formed = matrix @ np.eye(matrix.shape[0], dtype=matrix.dtype)
    values, vectors = np.linalg.eigh((formed + formed.T) / 2)
    return values[-k:].copy(), vectors[:, -k:].copy()


def _iterated(
    matrix: Any, k: int, tolerance: float, max_iterations: int | None, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Of products with vectors, ascending."""
    start = np.random.default_rng(seed).standard_normal(matrix.shape[0])
    try:
        return scipy.sparse.linalg.eigsh(
            matrix,
            k,
            which="LA",
            v0=start.astype(matrix.dtype),
            tol=tolerance,
            maxiter=max_iterations,
        )
    except scipy.sparse.linalg.ArpackNoConvergence as error:
        raise NtkflowError(
            f"top_eigenpairs: {len(error.eigenvalues)} of {k} eigenvalues converged; "
            "allow more iterations or a larger tolerance"
        ) from error
