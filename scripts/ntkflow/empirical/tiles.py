"""Kernels larger than memory: tile by tile into one HDF5 dataset, resumable."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..arrays import to_numpy
from ..errors import ConfigurationError, StorageError

KERNEL, FINISHED = "kernel", "finished"
# Rows and columns of a tile that are compared when a file is gone on with, and the deviation, over
# the largest entry, that is no other kernel.
_COMPARED, _SAME = 8, 1e-4


def write_kernel_tiles(
    path: str | Path,
    tile_kernel: Callable[[slice, slice], np.ndarray],
    n1: int,
    n2: int | None = None,
    *,
    tile: int = 1024,
    lead: Sequence[int] = (),
    dims: Sequence[str] = ("n", "n'"),
    convention: str = "",
    dtype: str = "float64",
    data: Any = None,
) -> None:
    """Write a kernel (*lead, n1, n2) into the dataset "kernel" of an HDF5 file, tile by tile.

    Any kernel will do, finite or limit: `tile_kernel(i, j)` is asked for rows i and columns j.
    Without n2 the kernel is symmetric in its rows: only tiles with j >= i are computed, and the
    mirrored tile is written too, the two leading axes of a block kernel exchanged. The dataset
    "finished" marks the tiles that are on disk; a second call with the same arguments computes
    only the others, so an interrupted run goes on where it stopped. It asks for the first entries
    of a finished tile again, which tell another kernel.

    Args:
        path: the file; made if it does not exist.
        tile_kernel: two slices to an array or tensor (*lead, len(i), len(j)).
        n1: number of rows.
        n2: number of columns; default: n1, symmetric.
        tile: rows and columns of a tile, also the chunks of the dataset.
        lead: sizes of leading axes: () or (O, O) for a block kernel.
        dims: names of all axes, stored as the attribute `dims`.
        convention: normalisation in words, stored as the attribute `convention`.
        dtype: type in the file.
        data: the rows of the kernel, a tensor or array; their digest is stored as the attribute
            `data`, so that tiles of other rows are refused here and by `ntkflow.kernel_ridge`.

    Raises:
        ConfigurationError: if a size is not positive, or the leading axes are not () or (O, O).
        StorageError: if the file is not HDF5 or holds a kernel of another size, type, tiling,
            convention, data set or network, or a tile has the wrong shape.

    Examples:
        >>> network, x = ntkflow.mlp(3, [64], 2), torch.randn(5, 3)
        >>> finite = lambda i, j: ntkflow.empirical_ntk(network, x[i], x[j], outputs="mean").values
        >>> limit = lambda i, j: ntkflow.limit_kernels(network, x[i], x[j]).ntk
        >>> ntkflow.write_kernel_tiles("finite.h5", finite, len(x), convention="mean over outputs")
        >>> ntkflow.write_kernel_tiles("limit.h5", limit, len(x), convention="per output")
    """
    for name, size in (("n1", n1), ("n2", n1 if n2 is None else n2), ("tile", tile)):
        if size < 1:
            raise ConfigurationError(f"{name}: {size} is not allowed; use at least 1")
    lead, symmetric = tuple(lead), n2 is None
    if lead and (len(lead) != 2 or lead[0] != lead[1]):
        raise ConfigurationError(f"lead: {lead} is not allowed; use () or (O, O)")
    shape = (*lead, n1, n1 if symmetric else n2)
    expected = dict(
        shape=shape,
        dtype=np.dtype(dtype).name,
        dims=list(dims),
        convention=convention,
        tile=tile,
        symmetric=symmetric,
        data="" if data is None else data_digest(data),
    )
    with _open(Path(path), expected) as file:
        _check_same_kernel(path, file, tile_kernel, tile)
        for index, i, j in unfinished(file[FINISHED], shape, tile, symmetric):
            values = to_numpy(tile_kernel(i, j))
            wanted = (*lead, i.stop - i.start, j.stop - j.start)
            if values.shape != wanted:
                raise StorageError(f"{path}: tile {i}, {j} has shape {values.shape}, not {wanted}")
            file[KERNEL][..., i, j] = values
            if symmetric and i != j:
                axes = (1, 0, 3, 2) if lead else (1, 0)
                file[KERNEL][..., j, i] = values.transpose(axes)
            # The values must be on disk before the mark that says so.
            file.flush()
            file[FINISHED][index] = True
            file.flush()


def data_digest(data: Any) -> str:
    """SHA-256 of the type, shape and bytes of an array or tensor."""
    array = np.ascontiguousarray(to_numpy(data))
    form = f"{array.dtype.str} {array.shape} ".encode()
    return hashlib.sha256(form + array.tobytes()).hexdigest()


def _open(path: Path, expected: dict) -> h5py.File:
    """File with the kernel and its marks, new or the one that an earlier call left."""
    if not path.exists():
        return _create(path, expected)
    try:
        file = h5py.File(path, "r+")
    except OSError as error:
        raise StorageError(f"{path}: not a readable HDF5 file") from error
    try:
        _check(path, file, expected)
    except StorageError:
        file.close()
        raise
    return file


def _create(path: Path, expected: dict) -> h5py.File:
    """New file; the tiles of an unfinished run are visible under the final name only with marks."""
    shape, tile = expected["shape"], expected["tile"]
    chunk = (*(1 for _ in shape[:-2]), *(min(tile, size) for size in shape[-2:]))
    draft = path.with_name(path.name + ".new")
    with h5py.File(draft, "w") as file:
        kernel = file.create_dataset(KERNEL, shape, expected["dtype"], chunks=chunk)
        file.create_dataset(FINISHED, [-(-size // tile) for size in shape[-2:]], bool)
        for name in ("dims", "convention", "tile", "symmetric", "data"):
            kernel.attrs[name] = expected[name]
    draft.replace(path)
    return h5py.File(path, "r+")


def _check(path: Path, file: h5py.File, expected: dict) -> None:
    if KERNEL not in file or FINISHED not in file:
        raise StorageError(f"{path}: holds no kernel written tile by tile")
    kernel = file[KERNEL]
    found = {name: kernel.attrs[name] for name in ("convention", "tile", "symmetric")}
    found["data"] = kernel.attrs.get("data", "")
    found |= dict(shape=kernel.shape, dtype=kernel.dtype.name, dims=list(kernel.attrs["dims"]))
    for name, wanted in expected.items():
        if found[name] != wanted:
            raise StorageError(f"{path}: {name} is {found[name]!r} in the file, not {wanted!r}")


def _check_same_kernel(path: str | Path, file: h5py.File, tile_kernel: Callable, tile: int) -> None:
    """Refuse to go on with another kernel than that of the tiles that are there."""
    done = np.argwhere(file[FINISHED][()])
    if not len(done):
        return
    ends = zip(done[0] * tile, file[KERNEL].shape[-2:], strict=True)
    i, j = (slice(int(a), int(min(a + min(_COMPARED, tile), end))) for a, end in ends)
    known = file[KERNEL][..., i, j].astype(np.float64)
    found = to_numpy(tile_kernel(i, j))[..., : known.shape[-2], : known.shape[-1]]
    if found.shape != known.shape:
        raise StorageError(f"{path}: tile {i}, {j} has shape {found.shape}, not {known.shape}")
    there = np.isfinite(known)
    largest = np.abs(known[there]).max(initial=0.0)
    allowed = max(_SAME, 2 * float(np.finfo(file[KERNEL].dtype).eps)) * largest
    same = np.array_equal(there, np.isfinite(found))
    if not (same and (np.abs(found[there] - known[there]) <= allowed).all()):
        raise StorageError(
            f"{path}: its tiles are of another kernel than this one; go on with that one, or "
            "remove the file"
        )


def unfinished(
    marks: h5py.Dataset, shape: tuple, tile: int, symmetric: bool
) -> Iterator[tuple[tuple[int, int], slice, slice]]:
    """Tiles still to be computed: their place in `marks`, rows and columns."""
    done = marks[()]
    for a, b in np.ndindex(done.shape):
        if done[a, b] or (symmetric and b < a):
            continue
        rows = slice(a * tile, min((a + 1) * tile, shape[-2]))
        yield (a, b), rows, slice(b * tile, min((b + 1) * tile, shape[-1]))
