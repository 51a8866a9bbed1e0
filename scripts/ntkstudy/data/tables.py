"""Tidy tables: an HDF5 group of labelled arrays as rows, one observation each.

A table knows its axes, the columns that say where a row belongs; all others hold what was measured
there. In memory they are `table.attrs["axes"]`, in a CSV file a comment above the header,
`# axes: width, seed, step`. The last line of a file is a comment, too: its checksum (see `seal`).
"""

import io
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ntkflow.errors import StorageError

from .seal import check_seal, seal
from .storage import Array, open_file, replacing

WIDE = ("coordinate", "output")  # axes that become columns x_0, x_1, ... instead of rows
_COMMENT = "# axes:"


def with_axes(table: pd.DataFrame, axes: Iterable[str]) -> pd.DataFrame:
    """The table, with these columns as its axes."""
    table = table.copy(deep=False)
    table.attrs["axes"] = list(axes)
    return table


def axes_of(table: pd.DataFrame, besides: Sequence[str] = ()) -> list[str]:
    """Axes of a table, in order, without those in `besides`."""
    return [name for name in table.attrs["axes"] if name not in besides]


def write_table(path: str | Path, table: pd.DataFrame) -> None:
    """Write a table as CSV with nine digits, its axes in a comment above the header.

    Args:
        path: where to; it is written whole or not at all.
        table: a table that knows its axes.

    Raises:
        StorageError: if the disk is full or the folder cannot be written to.
    """
    text = io.StringIO(newline="")
    text.write(f"{_COMMENT} {', '.join(axes_of(table))}\n")
    table.to_csv(text, index=False, float_format="%.9g")
    with replacing(path) as temporary:
        temporary.write_bytes(text.getvalue().encode())
        seal(temporary)


def read_table(path: str | Path) -> pd.DataFrame:
    """A table that `write_table` wrote, with its axes.

    Raises:
        StorageError: if the file is missing, damaged, or does not begin with its axes.
    """
    size = check_seal(path, "table")
    file = io.BytesIO(Path(path).read_bytes()[:size])
    first = file.readline().decode()
    if not first.startswith(_COMMENT):
        raise StorageError(
            f"{path}: begins with {first.strip()!r}; allowed: a comment '{_COMMENT} ...'"
        )
    names = first.removeprefix(_COMMENT).strip()
    return with_axes(pd.read_csv(file), names.split(", ") if names else [])


def read_groups(paths: Sequence[str | Path], stage: str, group: str) -> pd.DataFrame:
    """One group of several files of a stage, cells and blocks of seeds, as one tidy table."""
    parts = [read_group(path, stage, group) for path in paths]
    return with_axes(pd.concat(parts, ignore_index=True), axes_of(parts[0]))


def read_group(path: str | Path, stage: str, group: str) -> pd.DataFrame:
    """One group of a stage file as a tidy table.

    Columns: the cell's swept values, `seed`, the other axes (their coordinates where the file has
    them, else 0, 1, ...), then one column per array. All but the arrays are the table's axes.
    Arrays with fewer axes than the group's largest are repeated.
    """
    with open_file(path, stage) as file:
        arrays = {name: file.array(f"{group}/{name}") for name in file.names(group)}
        coordinates = {"seed": np.array(file.seeds)}
        cell = file.cell
    axes = _axes(arrays)
    for name in [name for name in arrays if name in axes]:
        values = arrays.pop(name).values
        coordinates[name] = values.astype(str) if values.dtype.kind == "S" else values
    points = [coordinates.get(name, np.arange(size)) for name, size in axes.items()]
    rows = pd.DataFrame(itertools.product(*points), columns=list(axes))
    columns: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        columns |= _columns(name, array, axes)
    table = pd.concat([rows, pd.DataFrame(columns)], axis=1)
    for position, (name, value) in enumerate(cell.items()):
        table.insert(position, name, str(value) if isinstance(value, list) else value)
    return with_axes(table, [*cell, *axes])


def _axes(arrays: dict[str, Array]) -> dict[str, int]:
    """Row axes of a group and their sizes, in the order of its arrays."""
    axes: dict[str, int] = {}
    for array in sorted(arrays.values(), key=lambda array: -array.values.ndim):
        for name, size in zip(array.dims, array.values.shape, strict=True):
            if name not in WIDE:
                axes.setdefault(name, size)
    return axes


def _columns(name: str, array: Array, axes: dict[str, int]) -> dict[str, np.ndarray]:
    """Flat column of an array, or one per component of its wide axis."""
    wide = [dim for dim in array.dims if dim in WIDE]
    if not wide:
        return {name: _flat(array, axes)}
    parts = np.moveaxis(array.values, list(array.dims).index(wide[0]), 0)
    rest = [dim for dim in array.dims if dim != wide[0]]
    columns: dict[str, np.ndarray] = {}
    for index, part in enumerate(parts):
        columns |= _columns(f"{name}_{index}", Array(part, rest), axes)
    return columns


def _flat(array: Array, axes: dict[str, int]) -> np.ndarray:
    """Values over all rows: axes brought into the rows' order, missing ones repeated."""
    order = [array.dims.index(name) for name in axes if name in array.dims]
    shape = [size if name in array.dims else 1 for name, size in axes.items()]
    values = array.values.transpose(order).reshape(shape)
    return np.broadcast_to(values, list(axes.values())).reshape(-1)
