"""Symmetric kernels: checks, products, Cholesky factors and eigenpairs, in float64."""

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import linear

from ..checks import check_tensors
from ..errors import ConfigurationError, KernelError

# Rows and columns that are looked at together.
_TILE = 2048
# Rows and columns of a piece that skinny products are fast with, measured for 8 to 16 vectors.
_PIECE = {torch.float32: 512, torch.float64: 512}
# Sums that tiles of a stored matrix are dealt out to, and vectors up to which this is worth while.
_SHARES, _SKINNY = 16, 32
# Rows from which tiles take longer than starting threads, and many products than loading loops.
_WORTH_THREADS = 4096
_LOOPED = {torch.float32, torch.float64}


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
    """Raise a KernelError unless `gram` is finite, and symmetric to half its dtype's digits.

    Tile by tile: no second matrix is made. The row named is the one with most such entries.
    """
    check_square(gram)
    if gram.is_meta or not gram.numel():
        return
    largest = asymmetry = 0.0
    for i, j in tile_pairs(len(gram), _TILE):
        size, difference = _largest(gram[i, j]), _largest(gram[i, j] - gram[j, i].T)
        largest, asymmetry = max(largest, size), max(asymmetry, difference)
        if not (math.isfinite(size) and math.isfinite(difference)):
            tiles = ((i, slice(0, len(gram)), gram[i]) for i in slices(len(gram), _TILE))
            raise not_finite(tiles, len(gram))
    if asymmetry > math.sqrt(torch.finfo(gram.dtype).eps) * largest:
        raise KernelError(f"kernel: entries (i, j) and (j, i) differ by up to {asymmetry:.3g}")


def not_finite(tiles: Iterable[tuple[slice, slice, Tensor]], size: int) -> KernelError:
    """The error that names the row with most entries that are not finite."""
    counts = torch.zeros(size, dtype=torch.long)
    for i, j, tile in tiles:
        bad = ~tile.isfinite()
        counts[i] += bad.sum(1).cpu()
        if j.stop - j.start < size:  # of a tile beside the diagonal, the mirrored one is not seen
            counts[j] += bad.sum(0).cpu() * (i != j)
    row = int(counts.argmax())
    return KernelError(
        f"kernel: row {row} has entries that are not finite (its input may not be either)"
    )


def slices(size: int, tile: int) -> list[slice]:
    """Consecutive slices of that many numbers, the last one shorter."""
    return [slice(start, min(start + tile, size)) for start in range(0, size, tile)]


def tile_pairs(size: int, tile: int) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of the tiles on and above the diagonal."""
    found = slices(size, tile)
    return ((i, j) for a, i in enumerate(found) for j in found[a:])


def add_products(
    product: Float[Tensor, "k n"],
    vectors: Float[Tensor, "k n"],
    tile: Float[Tensor, "a b"],
    i: slice,
    j: slice,
) -> None:
    """Add to v'K what a tile (i, j) of a symmetric K gives: to columns j, and to i for i != j.

    Vectors are rows, in the type that is multiplied in; the tile is read once. On a CPU few vectors
    meet it in compiled loops, and many in pieces that stay in a cache while they serve both.
    """
    types = {tile.dtype, vectors.dtype}
    few = vectors.device.type == "cpu" and len(vectors) <= _SKINNY and types <= _LOOPED
    if few and vectors.shape[1] >= _WORTH_THREADS:
        _add_looped(product, vectors, tile, i, j)
        return
    side = max(tile.shape) if tile.device.type != "cpu" else _PIECE[vectors.dtype]
    for a in slices(tile.shape[0], side):
        for b in slices(tile.shape[1], side):
            piece = tile[a, b].to(vectors.dtype)
            rows = slice(i.start + a.start, i.start + a.stop)
            columns = slice(j.start + b.start, j.start + b.stop)
            product[:, columns] += vectors[:, rows] @ piece
            if i != j:
                product[:, rows] += linear(vectors[:, columns], piece)


def _add_looped(product: Tensor, vectors: Tensor, tile: Tensor, i: slice, j: slice) -> None:
    from . import skinny_loops

    if tile.stride(1) != 1 or tile.stride(0) < tile.shape[1]:
        tile = tile.contiguous()
    # Rows as long as those of the matrix, so that they are known to follow each other in memory;
    # what lies beside the tile is not looked at.
    array = tile.detach().numpy()
    shape = len(array), max(array.shape[1], array.strides[0] // array.itemsize)
    array = np.lib.stride_tricks.as_strided(array, shape, writeable=False)
    place = tile.shape[1], i.start, j.start, i != j
    skinny_loops.add_tile(product.numpy(), vectors.detach().numpy(), array, *place)


def stored_product(
    tile: Callable[[slice, slice], Tensor], vectors: Float[Tensor, "k n"], side: int
) -> Float[Tensor, "k n"]:
    """Products v'K in float64 for a symmetric K whose `tile(i, j)`, for j from i on, is in memory.

    On a CPU, threads take tiles of their own where rows are many, because a skinny product is too
    small to be shared. Tiles are dealt out to a fixed number of sums, so the result does not depend
    on how many threads there are.
    """
    pairs = list(tile_pairs(vectors.shape[1], side))
    alone = vectors.device.type != "cpu" or len(vectors) > _SKINNY
    shares = 1 if alone else min(_SHARES, len(pairs))

    @torch.no_grad()  # which is not inherited by threads
    def share(start: int) -> Tensor:
        product = torch.zeros_like(vectors, dtype=torch.float64)
        for i, j in pairs[start::shares]:
            add_products(product, vectors, tile(i, j), i, j)
        return product

    count = torch.get_num_threads()
    if 1 in (count, shares) or vectors.shape[1] < _WORTH_THREADS:
        return sum(map(share, range(shares)))
    workers = min(count, shares)
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return sum(pool.map(share, range(shares)))
    finally:
        torch.set_num_threads(count)  # MKL has one number for all threads


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
