"""What makes a regression impossible, found before or after it failed, and what would help."""

import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import check_real, check_shape
from ..errors import KernelError
from ..linalg.shifted import lowest_ritz_value
from ..linalg.solving import check_symmetric, columns, not_finite
from .sources import DenseSource, NetworkSource, Source

# Sizes of which all eigenvalues are computed for the sake of a message; products of Lanczos else.
_SMALL, _PRODUCTS = 2000, 60


def check_targets(y: Tensor, size: int) -> Float[Tensor, "n k"]:
    """Targets as float64 columns.

    Raises:
        KernelError: if they have not `size` rows, or a row is not finite.
        ConfigurationError: if they are complex.
    """
    check_shape("y", y, size, ...)
    check_real("y", y)
    if not y.numel():
        raise KernelError(f"y: shape {tuple(y.shape)} is not allowed; use one number a row or more")
    found = columns(y.detach()).clone()
    bad = (~found.isfinite().all(1)).nonzero()
    if len(bad):
        raise KernelError(f"y: row {bad[0].item()} is not finite; use finite targets")
    return found


def check_kernel(source: Source, y: Float[Tensor, "n k"], ridge: float) -> None:
    """Raise a KernelError for what is seen before a product is computed.

    A matrix in memory has to be symmetric and finite, the rows of a network finite; without a ridge
    rows with equal kernels need equal targets.
    """
    if isinstance(source, DenseSource):
        check_symmetric(source.matrix)
    if isinstance(source, NetworkSource) and source.x.is_floating_point():
        bad = (~source.x.flatten(1).isfinite().all(1)).nonzero()
        if len(bad):
            raise KernelError(f"x: row {bad[0].item()} is not finite; use finite inputs")
    if ridge == 0 and source.has_entries:
        made = isinstance(source, NetworkSource)
        pair = _equal_inputs(source, y) if made else _equal_rows(source, y)
        if pair is not None:
            raise KernelError(
                f"y: rows {pair[0]} and {pair[1]} have the same kernel and different targets, "
                "which no function fits with ridge=0; use a ridge > 0, or drop one of them"
            )


def _equal_inputs(source: NetworkSource, y: Tensor) -> tuple[int, int] | None:
    """Two rows with the same input and different targets."""
    _, group = torch.unique(source.x.flatten(1), dim=0, return_inverse=True)
    first: dict[int, int] = {}
    for row, key in enumerate(group.tolist()):
        other = first.setdefault(key, row)
        if not torch.equal(y[other], y[row]):
            return other, row
    return None


def _equal_rows(source: Source, y: Tensor) -> tuple[int, int] | None:
    """Two rows that k(x, x) + k(x', x') - 2 k(x, x') = 0 tells equal, with different targets."""
    diagonal, eps = source.diagonal(), torch.finfo(source.dtype).eps
    for i, j, tile in source.tiles():
        both = diagonal[i, None] + diagonal[j]
        near = (both - 2 * tile.double() <= 4 * eps * both).nonzero()
        for a, b in (near + torch.tensor([i.start, j.start], device=near.device)).tolist():
            if not torch.equal(y[a], y[b]):
                return a, b
    return None


def check_products(source: Source, products: Tensor) -> Tensor:
    """Products with the kernel, or a KernelError that names the row if some are not finite."""
    if not bool(products.isfinite().all()):
        raise not_finite(source.tiles(), source.size)
    return products


def checked_product(source: Source, vectors: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
    """K v in the type of the entries, or a KernelError as that of `check_products`."""
    return check_products(source, source.multiply(vectors))


def indefinite(source: Source, ridge: float, known: float = 0.0) -> KernelError:
    """The error of a kernel that is not positive definite with this ridge.

    Args:
        source: the kernel.
        ridge: lambda, too small.
        known: a value v'Kv / v'v <= -lambda, where one was met.
    """
    smallest = min(_smallest_eigenvalue(source), known)
    found = "is" if source.size <= _SMALL else "is at most"
    unit = torch.finfo(source.dtype).eps
    rounding = unit * source.diagonal().abs().sum().item()
    helps = max(-1.1 * smallest, 0.0) + rounding or unit
    return KernelError(
        f"kernel: not positive definite with ridge={ridge:g}: its smallest eigenvalue {found} "
        f"{smallest:.3g}, and {source.dtype} rounds the trace by {rounding:.1g}; use a ridge of "
        f"{helps:.3g} or more, or a kernel in float64"
    )


def _smallest_eigenvalue(source: Source) -> float:
    """Of small kernels all are computed; of others Lanczos finds what stands out."""
    if source.size <= _SMALL:
        return torch.linalg.eigvalsh(source.to_dense(torch.float64))[0].item()

    stream = torch.Generator().manual_seed(0)
    start = torch.randn(source.size, 1, generator=stream, dtype=torch.float64)
    return lowest_ritz_value(source.multiply_exactly, start.to(source.device), _PRODUCTS)
