"""Symmetric kernels: checks, Cholesky factors and eigenpairs, in float64."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import check_tensors
from ..errors import ConfigurationError, KernelError


def columns(targets: Tensor) -> Float[Tensor, "m k"]:
    """Targets (M, ...) as a float64 matrix with M rows."""
    return targets.double().reshape(len(targets), -1)


def check_square(gram: Tensor) -> None:
    """Raise a KernelError unless `gram` is a square matrix."""
    check_tensors(kernel=gram)
    if gram.ndim != 2 or gram.shape[0] != gram.shape[1]:
        raise KernelError(
            f"kernel: shape {tuple(gram.shape)} is not allowed; use a square matrix (a block "
            "kernel becomes one by ntkflow.block_matrix)"
        )


def check_symmetric(gram: Tensor) -> None:
    """Raise a KernelError unless `gram` is finite, and symmetric to half its dtype's digits."""
    check_square(gram)
    if gram.is_meta or not gram.numel():
        return
    largest = _largest(gram)
    if not math.isfinite(largest):
        raise KernelError("kernel: it has entries that are not finite")
    asymmetry = _largest(gram - gram.T)
    if asymmetry > math.sqrt(torch.finfo(gram.dtype).eps) * largest:
        raise KernelError(f"kernel: entries (i, j) and (j, i) differ by up to {asymmetry:.3g}")


def _largest(values: Tensor) -> float:
    """Largest absolute value; not finite if one of them is not."""
    low, high = torch.aminmax(values)
    return max(-low.item(), high.item())


class SemidefiniteEigenpairs(NamedTuple):
    """Descending eigenvalues, eigenvectors as columns, and the size below which it is rounding."""

    values: Float[Tensor, " m"]
    vectors: Float[Tensor, "m m"]
    rounding: Float[Tensor, ""]


def semidefinite_eigenpairs(gram: Float[Tensor, "m m"]) -> SemidefiniteEigenpairs:
    """Eigenpairs in float64, with eigenvalues within rounding of zero set to zero.

    Rounding is the largest of eps tr K, eps that of the kernel's own type (an entry k(x, x') known
    to eps sqrt(k(x, x) k(x', x')) leaves an error of that norm), M eps64 lambda_max of the solver,
    and the size of the most negative eigenvalue, which is nothing else.

    Raises:
        KernelError: if an eigenvalue is below -M eps lambda_max, or K is not finite and symmetric.
    """
    check_symmetric(gram)
    ascending, vectors = torch.linalg.eigh(gram.double())
    values, eps = ascending.flip(0), torch.finfo(gram.dtype).eps
    scale = len(gram) * ascending.abs().max()
    if not gram.is_meta and bool(values[-1] < -eps * scale):
        raise KernelError(
            f"kernel: smallest eigenvalue {values[-1].item():.4g} is negative beyond rounding "
            f"({-eps * scale.item():.3g}); add at least its size to the diagonal"
        )
    solver = torch.finfo(torch.float64).eps * scale
    rounding = torch.stack([eps * values.sum(), solver, -values[-1]]).max()
    return SemidefiniteEigenpairs(
        torch.where(values > rounding, values, 0.0), vectors.flip(1), rounding
    )


def cholesky(gram: Tensor, ridge: float | int) -> Tensor:
    """Lower Cholesky factor of K + ridge I, or a KernelError where it is singular."""
    if not ridge >= 0:
        raise ConfigurationError(f"ridge: {ridge!r} is not allowed; use a number >= 0")
    check_symmetric(gram)
    regularized = gram.to(torch.float64, copy=True)
    regularized.diagonal().add_(ridge)
    factor, info = torch.linalg.cholesky_ex(regularized)
    if gram.is_meta:
        return factor
    pivots = factor.diagonal().square()
    level = len(gram) * torch.finfo(torch.float64).eps * regularized.diagonal().max()
    if info.item() or not bool((pivots > level).all()):
        smallest = torch.linalg.eigvalsh(regularized)[0].item() - ridge
        raise KernelError(
            f"kernel: not positive definite with ridge={ridge:g} (smallest eigenvalue "
            f"{smallest:.3g}); add a ridge"
        )
    return factor
