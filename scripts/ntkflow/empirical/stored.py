"""Symmetric kernels in files, of one piece or assembled, read tile by tile."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import StorageError
from .tile_files import SOURCES, check_sources
from .tiles import FINISHED, KERNEL, data_digest, unfinished


@dataclass(frozen=True)
class StoredKernel:
    """A symmetric kernel (n, n) in a file.

    Attributes:
        path: the file.
        size: n.
        side: rows and columns of a tile.
        dtype: name of the type of its entries.
        assembled: whether the entries are in the files of tiles on and above the diagonal.
    """

    path: Path
    size: int
    side: int
    dtype: str
    assembled: bool

    def tile(self, i: slice, j: slice) -> np.ndarray:
        """Rows i and columns j of a tile on or above the diagonal.

        Raises:
            StorageError: if it is damaged, or its file has gone.
        """
        with h5py.File(self.path) as file:
            values = self._read(file, i, j)
            # What HDF5 makes of a tile whose file it does not find, or cannot open.
            if self.assembled and np.isnan(values[0, 0]):
                check_sources(self.path, file)
        return values

    def rows(self, i: slice) -> np.ndarray:
        """Rows of the whole kernel, those of a tile or some of them."""
        if not self.assembled:
            with h5py.File(self.path) as file:
                return self._read(file, i, slice(0, self.size))
        found = np.empty((i.stop - i.start, self.size), self.dtype)
        for start in range(0, self.size, self.side):
            j = slice(start, min(start + self.side, self.size))
            found[:, j] = self.tile(i, j) if j.stop > i.start else self.tile(j, i).T
        return found

    def _read(self, file: h5py.File, i: slice, j: slice) -> np.ndarray:
        try:
            return file[KERNEL][i, j]
        except OSError as error:
            where = f"rows {i.start} to {i.stop - 1}, columns {j.start} to {j.stop - 1}"
            raise StorageError(
                f"{self.path}: {where} are damaged; delete what holds them and make it again"
            ) from error


def open_finished_tiles(path: str | Path) -> h5py.File:
    """File of `write_kernel_tiles` or `assemble_kernel_tiles`, to be read, with all its tiles.

    Raises:
        StorageError: if it is no such file, or some tiles are missing.
    """
    try:
        file = h5py.File(path)
    except OSError as error:
        raise StorageError(f"{path}: not a readable HDF5 file") from error
    try:
        if KERNEL not in file or FINISHED not in file:
            raise StorageError(f"{path}: holds no kernel written tile by tile")
        kernel, attributes = file[KERNEL], file[KERNEL].attrs
        tile, symmetric = int(attributes["tile"]), bool(attributes["symmetric"])
        missing = sum(1 for _ in unfinished(file[FINISHED], kernel.shape, tile, symmetric))
        if missing:
            raise StorageError(
                f"{path}: {missing} tiles are missing; finish it by write_kernel_tiles"
            )
    except StorageError:
        file.close()
        raise
    return file


def open_square_tiles(path: str | Path, data: Any = None) -> StoredKernel:
    """A finished symmetric kernel (n, n) in a file.

    Args:
        path: a file of `write_kernel_tiles` or `assemble_kernel_tiles`.
        data: the rows that it has to be the kernel of, None for any.

    Raises:
        StorageError: if it is no such file, some tiles are missing, or the data are others.
    """
    with open_finished_tiles(path) as file:
        kernel, attributes = file[KERNEL], file[KERNEL].attrs
        if kernel.ndim != 2 or not attributes["symmetric"]:
            raise StorageError(
                f"{path}: a kernel {kernel.shape} is not allowed; use a symmetric one (n, n)"
            )
        tile = int(attributes["tile"])
        if SOURCES in file:
            check_sources(path, file)
        _check_data(path, attributes.get("data", ""), data)
        return StoredKernel(Path(path), len(kernel), tile, kernel.dtype.name, SOURCES in file)


def kernel_shape(path: str | Path) -> tuple[int, ...]:
    """Shape of a kernel in a file, symmetric or not."""
    with open_finished_tiles(path) as file:
        return file[KERNEL].shape


def kernel_rows(path: str | Path, height: int) -> Iterator[np.ndarray]:
    """Rows of a kernel (n1, n2) in a file, about so many at a time, all of their columns."""
    with open_finished_tiles(path) as file:
        if SOURCES not in file:
            kernel = file[KERNEL]
            yield from (kernel[start : start + height] for start in range(0, len(kernel), height))
            return
    assembled = open_square_tiles(path)
    for start in range(0, assembled.size, assembled.side):
        yield assembled.rows(slice(start, min(start + assembled.side, assembled.size)))


def _check_data(path: str | Path, stored: str, data: Any) -> None:
    """Raise a StorageError if the kernel is one of other rows, or of rows that nobody named."""
    if data is None or stored == data_digest(data):
        return
    given, what = data_digest(data)[:12], f"those of digest {stored[:12]}"
    raise StorageError(
        f"{path}: is no kernel of these data (digest {given}): its rows are "
        f"{what if stored else 'unknown, for what wrote them was given no data='}"
    )
