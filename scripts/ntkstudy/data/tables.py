"""Tidy tables: an HDF5 group of labelled arrays as rows, one observation each."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd

from .storage import Array, open_file

WIDE = ("coordinate", "output")  # axes that become columns x_0, x_1, ... instead of rows


def read_group(path: str | Path, stage: str, group: str) -> pd.DataFrame:
    """One group of a stage file as a tidy table.

    Columns: the cell's swept values, `seed`, the other axes (their coordinates where the file has
    them, else 0, 1, ...), then one column per array. Arrays with fewer axes than the group's
    largest are repeated.
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
    return table


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
