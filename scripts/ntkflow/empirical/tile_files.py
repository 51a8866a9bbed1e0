"""A kernel whose tiles are files of their own: made side by side, assembled without copying."""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from ..arrays import to_numpy
from ..errors import ConfigurationError, StorageError
from .tiles import FINISHED, KERNEL, data_digest

SOURCES = "sources"
# What the tiles of one kernel agree on.
_SHARED = ("n", "tile", "dtype", "convention", "data")
_NAMED = 5  # files that an error names, of many


class _Tile(NamedTuple):
    """What a file says of the tile in it."""

    path: Path
    place: tuple[int, int]
    checksum: str
    shared: Mapping[str, Any]


def write_kernel_tile(
    path: str | Path,
    values: Any,
    place: tuple[int, int],
    n: int,
    *,
    tile: int = 1024,
    convention: str = "",
    dtype: str = "float64",
    data: Any = None,
) -> None:
    """Write one tile of a symmetric kernel (n, n) into a file of its own, whole or not at all.

    The tile at place (a, b), a <= b, has rows a tile, ..., (a + 1) tile - 1, columns b tile, ...,
    as far as there are any. A block kernel of O outputs is one of n O rows. The file keeps
    checksums: one of the whole tile, and those of HDF5, which refuses to read what is damaged.

    Args:
        path: the file; one that exists is replaced.
        values: kernel[rows, columns], an array or tensor.
        place: row and column of the tile among tiles.
        n: number of rows of the kernel.
        tile: rows and columns of a tile.
        convention: normalisation in words, stored as the attribute `convention`.
        dtype: type in the file, a floating-point one.
        data: all rows that the kernel is of, a tensor or array; their digest is stored, and tiles
            of other rows are refused by `assemble_kernel_tiles`.

    Raises:
        ConfigurationError: if there is no tile at that place, or the type is none of numbers.
        StorageError: if the tile has the wrong shape.

    Examples:
        >>> network, x = ntkflow.mlp(3, [64], 2), torch.randn(5, 3)
        >>> for a, b in [(0, 0), (0, 1), (1, 1)]:  # each of them a job
        ...     i, j = slice(3 * a, 3 * a + 3), slice(3 * b, 3 * b + 3)
        ...     values = ntkflow.limit_kernels(network, x[i], x[j]).ntk
        ...     ntkflow.write_kernel_tile(f"{a}-{b}.h5", values, (a, b), len(x), tile=3, data=x)
        >>> files = ["0-0.h5", "0-1.h5", "1-1.h5"]
        >>> ntkflow.assemble_kernel_tiles("kernel.h5", files)
        >>> fit = ntkflow.kernel_ridge("kernel.h5", torch.randn(5, 2), ridge=0.1, data=x)
    """
    shape = tile_shape(place, n, tile)
    if np.dtype(dtype).kind != "f":
        raise ConfigurationError(f"dtype: {dtype!r} is not allowed; use float32 or float64")
    values = np.ascontiguousarray(to_numpy(values), dtype)
    if values.shape != shape:
        raise StorageError(f"{path}: tile {place} has shape {values.shape}, not {shape}")
    shared = dict(
        n=n,
        tile=tile,
        dtype=values.dtype.name,
        convention=convention,
        data="" if data is None else data_digest(data),
    )
    draft = Path(f"{path}.new")
    with h5py.File(draft, "w") as file:
        # A checksum of HDF5 is one of a chunk, so that large tiles have several.
        chunks = tuple(min(1024, size) for size in shape)
        kernel = file.create_dataset(KERNEL, data=values, chunks=chunks, fletcher32=True)
        kernel.attrs.update(shared | {"place": place, "checksum": _checksum(values)})
    draft.replace(path)


def tile_shape(place: tuple[int, int], n: int, tile: int) -> tuple[int, int]:
    """Rows and columns of the tile at a place, on or above the diagonal of a kernel (n, n).

    Raises:
        ConfigurationError: if there is none.
    """
    for name, size in (("n", n), ("tile", tile)):
        if size < 1:
            raise ConfigurationError(f"{name}: {size} is not allowed; use at least 1")
    count = -(-n // tile)
    row, column = place
    if not 0 <= row <= column < count:
        raise ConfigurationError(
            f"place: {(row, column)} is not allowed; use row <= column, both from 0 to {count - 1}"
        )
    return min(tile, n - row * tile), min(tile, n - column * tile)


def tile_places(n: int, tile: int) -> list[tuple[int, int]]:
    """Places of the tiles on and above the diagonal of a kernel (n, n), row by row."""
    count = -(-n // tile)
    return [(row, column) for row in range(count) for column in range(row, count)]


def assemble_kernel_tiles(path: str | Path, tiles: Sequence[str | Path]) -> None:
    """Make one kernel of the files of its tiles, which stay where they are: nothing is copied.

    The dataset "kernel" (n, n) of the new file is a virtual one of HDF5: its entries on and above
    the diagonal are those in the tiles' files, found by their paths from the folder of this one, so
    that a folder with all of them can be moved. Below the diagonal it reads as NaN, since HDF5
    mirrors nothing; `ntkflow.kernel_ridge` reads the file like one of `write_kernel_tiles`. It
    refuses the file where a tile is missing or was replaced by another one since.

    Args:
        path: the file; one that exists is replaced.
        tiles: files of `write_kernel_tile`, in any order: one for each place on and above the
            diagonal.

    Raises:
        StorageError: if one is missing or no such file, two are of one place, or of kernels that
            differ in size, tiling, type, convention or data. Files are named.

    Examples:
        >>> tile = torch.eye(2)
        >>> ntkflow.write_kernel_tile("0-0.h5", tile, (0, 0), 2, tile=2)
        >>> ntkflow.assemble_kernel_tiles("kernel.h5", ["0-0.h5"])
    """
    absent = [Path(tile) for tile in tiles if not Path(tile).exists()]
    if absent or not tiles:
        raise _missing(path, absent)
    found = {one.place: one for one in _alike([_read(Path(tile)) for tile in tiles])}
    n, tile, dtype = (next(iter(found.values())).shared[name] for name in ("n", "tile", "dtype"))
    places = [place for place in tile_places(n, tile) if place not in found]
    if places:
        given = f"{len(found)} tiles of a kernel ({n}, {n})"
        raise StorageError(f"{path}: {given} do not make it: no file is of {_list(places)}")
    _write_assembled(Path(path), [found[place] for place in tile_places(n, tile)], n, tile, dtype)


def check_sources(path: str | Path, file: h5py.File) -> None:
    """Refuse an assembled kernel whose tiles are not those that it was made of.

    HDF5 itself reads the fill value, and says nothing, where a file is missing.

    Args:
        path: of the kernel, for errors.
        file: the same, open.

    Raises:
        StorageError: naming files that are missing, or one that was replaced.
    """
    names = file[SOURCES].asstr()[:, 0]
    checksums = file[SOURCES].asstr()[:, 1]
    files = [Path(path).parent / name for name in names]
    absent = [each for each in files if not each.exists()]
    if absent:
        raise _missing(path, absent)
    for each, checksum in zip(files, checksums, strict=True):
        if _read(each).checksum != checksum:
            raise StorageError(
                f"{path}: {each} is not the tile that it was assembled of; assemble it again"
            )


def source_files(path: str | Path) -> list[Path]:
    """Files of the tiles of an assembled kernel; none of another one."""
    with h5py.File(path) as file:
        names = file[SOURCES].asstr()[:, 0] if SOURCES in file else []
    return [Path(path).parent / name for name in names]


def _write_assembled(path: Path, tiles: Sequence[_Tile], n: int, tile: int, dtype: str) -> None:
    layout = h5py.VirtualLayout((n, n), dtype)
    names = [os.path.relpath(one.path, path.parent) for one in tiles]
    for one, name in zip(tiles, names, strict=True):
        shape = tile_shape(one.place, n, tile)
        starts = [number * tile for number in one.place]
        i, j = (slice(a, a + size) for a, size in zip(starts, shape, strict=True))
        layout[i, j] = h5py.VirtualSource(name, KERNEL, shape, dtype)
    draft = Path(f"{path}.new")
    with h5py.File(draft, "w") as file:
        kernel = file.create_virtual_dataset(KERNEL, layout, fillvalue=np.nan)
        shared = {key: tiles[0].shared[key] for key in ("tile", "convention", "data")}
        kernel.attrs.update(shared | {"symmetric": True, "dims": ["n", "n'"]})
        count = -(-n // tile)
        file[FINISHED] = np.ones((count, count), bool)
        rows = [[name, one.checksum] for name, one in zip(names, tiles, strict=True)]
        file.create_dataset(SOURCES, data=rows, dtype=h5py.string_dtype())
    draft.replace(path)


def _alike(tiles: Sequence[_Tile]) -> Sequence[_Tile]:
    """The same tiles, or an error where two have one place or are of two kernels."""
    first, places = tiles[0], {}
    for one in tiles:
        for name in _SHARED:
            if one.shared[name] != first.shared[name]:
                found, wanted = (str(each.shared[name])[:12] for each in (one, first))
                raise StorageError(
                    f"{one.path}: {name} is {found!r} in the file, not {wanted!r} as in "
                    f"{first.path}; use tiles of one kernel"
                )
        other = places.setdefault(one.place, one.path)
        if other != one.path:
            raise StorageError(
                f"{one.path}: is of tile {one.place} like {other}; use one file for each tile"
            )
    return tiles


def _read(path: Path) -> _Tile:
    try:
        file = h5py.File(path)
    except OSError as error:
        raise StorageError(f"{path}: not a readable HDF5 file; make the tile again") from error
    with file:
        attributes = dict(file[KERNEL].attrs) if KERNEL in file else {}
        if "place" not in attributes:
            raise StorageError(f"{path}: holds no tile of write_kernel_tile")
        shared = {name: attributes[name] for name in _SHARED}
        shared |= {name: int(shared[name]) for name in ("n", "tile")}
        row, column = (int(number) for number in attributes["place"])
        return _Tile(path, (row, column), attributes["checksum"], shared)


def _checksum(values: np.ndarray) -> str:
    return hashlib.sha256(values.data).hexdigest()


def _missing(path: str | Path, files: Sequence[Path]) -> StorageError:
    what = f"{len(files)} of its tiles" if files else "all of its tiles"
    names = f": {_list(files)}" if files else ""
    return StorageError(f"{path}: {what} are missing{names}; make them again by write_kernel_tile")


def _list(things: Iterable[Any]) -> str:
    """The first ones, and how many more there are."""
    words = [str(each) for each in things]
    more = f" and {len(words) - _NAMED} more" if len(words) > _NAMED else ""
    return ", ".join(words[:_NAMED]) + more
