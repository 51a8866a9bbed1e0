"""Arrays of a user's own npz or HDF5 file: shapes for planning, rows for a data set."""

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from ntkflow.errors import ConfigurationError

NAMES = ("inputs", "targets", "test_inputs", "test_targets")
_WANTED = "an npz or HDF5 file with the arrays inputs, targets, test_inputs, test_targets"


class _Header(NamedTuple):
    shape: tuple[int, ...]
    dtype: np.dtype


def read_shapes(path: str, count: int | None = None) -> dict[str, tuple[int, ...]]:
    """Shapes of the four arrays; the values of an npz file are not read.

    Args:
        path: the file.
        count: how many training rows it must have at least.

    Raises:
        ConfigurationError: if the file or an array is missing, holds no real numbers, or rows do
            not fit together.
    """
    with _open(path) as file:
        shapes = {name: _shape(path, file, name) for name in NAMES}
    for part in ("", "test_"):
        rows, wanted = shapes[f"{part}targets"], shapes[f"{part}inputs"]
        if not rows or not wanted or rows[0] != wanted[0] or len(rows) > 2 or len(wanted) < 2:
            raise _error(
                path,
                f"{part}inputs {wanted} and {part}targets {rows} do not fit",
                "inputs (M, ...) and targets (M,) or (M, O)",
            )
    rows = shapes["inputs"][0]
    if count is not None and count > rows:
        raise ConfigurationError(
            f"task.train_points: {count} is not allowed; allowed: at most {rows}, those of {path}"
        )
    if shapes["inputs"][1:] != shapes["test_inputs"][1:]:
        problem = f"inputs {shapes['inputs']} and test_inputs {shapes['test_inputs']} differ"
        raise _error(path, problem, "inputs of one shape")
    return shapes


def read_rows(
    path: str, count: int | None, classes: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Inputs (M, n0), targets (M, O), and the same for tests, in float64.

    Args:
        path: the file.
        count: how many of the first training rows; None takes all.
        classes: number of labels, or None for targets that are numbers.

    Raises:
        ConfigurationError: if an array is missing, not finite, or holds other labels.
    """
    read_shapes(path, count)
    with _open(path) as file:
        arrays = {name: np.asarray(file[name][()]) for name in NAMES}
    x, test_x = (_numbers(path, name, arrays[name]) for name in ("inputs", "test_inputs"))
    y, test_y = (
        _targets(path, name, arrays[name], classes) for name in ("targets", "test_targets")
    )
    return x[:count], y[:count], test_x, test_y


@contextmanager
def _open(path: str) -> Iterator[Mapping]:
    if not Path(path).is_file():
        raise _error(path, "does not exist", _WANTED)
    try:
        if zipfile.is_zipfile(path):
            with np.load(path) as file:
                yield file
        elif h5py.is_hdf5(path):
            with h5py.File(path, "r") as file:
                yield file
        else:
            raise _error(path, "is of another type", _WANTED)
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise _error(path, f"is damaged ({error})", "a file that is whole") from None


def _shape(path: str, file: Mapping, name: str) -> tuple[int, ...]:
    one = file.get(name) if isinstance(file, h5py.File) else _header(file, name)
    if not hasattr(one, "dtype"):
        raise _error(path, f"array {name!r} is missing", _WANTED)
    if one.dtype.kind not in "biuf":
        raise _error(path, f"{name} holds values of type {one.dtype}", "real numbers")
    return one.shape


def _header(file: np.lib.npyio.NpzFile, name: str) -> _Header | None:
    """What an npz file says of an array without its values."""
    if name not in file:
        return None
    with file.zip.open(f"{name}.npy") as content:
        old = np.lib.format.read_magic(content) == (1, 0)
        read = getattr(np.lib.format, f"read_array_header_{1 if old else 2}_0")
        shape, _, dtype = read(content)
    return _Header(shape, dtype)


def _numbers(path: str, name: str, values: np.ndarray) -> np.ndarray:
    values = values.reshape(len(values), -1).astype(np.float64)
    if not np.isfinite(values).all():
        raise _error(path, f"{name} holds a number that is not finite", "finite numbers")
    return values


def _targets(path: str, name: str, values: np.ndarray, classes: int | None) -> np.ndarray:
    numbers = _numbers(path, name, values)
    if classes is None:
        return numbers
    labels = numbers.astype(np.int64)
    if (
        numbers.shape[1] != 1
        or (labels != numbers).any()
        or not np.isin(labels, range(classes)).all()
    ):
        raise _error(path, f"{name} holds other values", f"labels 0 ... {classes - 1}, one a row")
    return np.eye(classes)[labels[:, 0]]


def _error(path: str | Path, problem: str, allowed: str) -> ConfigurationError:
    return ConfigurationError(f"task.path: {str(path)!r}: {problem}; allowed: {allowed}")
