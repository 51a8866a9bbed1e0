"""HDF5 files of the workflow: labelled arrays, written whole or not at all, read with clear errors.

Every file ends with a checksum (see `seal`), which is looked at before anything is read from it.

A file belongs to a *stage* and holds groups. The arrays of one group share axes, so that a group is
a tidy table; coordinates of an axis are an array of that axis' name. Every dataset carries `dims`
(axis names) and `units` (or the convention of a kernel).
"""

import contextlib
import errno
import glob
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ntkflow.errors import StorageError

from .seal import check_seal, seal

FORMAT = 2  # version of the file layout


@dataclass(frozen=True)
class Array:
    """A labelled array: values, one axis name per dimension, units or kernel convention."""

    values: np.ndarray
    dims: Sequence[str]
    units: str = "1"


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Temporary name beside `path`, renamed to it when the block ends well, removed otherwise.

    Raises:
        StorageError: if the folder cannot be written to or the disk is full.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f".{glob.escape(path.name)}.*.part*"):
            left.unlink()  # by a job that was killed
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise StorageError(f"{path}: {describe_failure(error, path.parent)}") from error
    finally:
        with contextlib.suppress(OSError):  # the folder itself may be missing or closed to us
            temporary.unlink()


def describe_failure(error: OSError, folder: Path) -> str:
    """Why a file in `folder` could not be written, and what is allowed."""
    if "No space left" in str(error):
        nearest = next(above for above in (folder, *folder.parents) if above.exists())
        free = shutil.disk_usage(nearest).free / 1e6
        return (
            f"cannot be written: No space left on device ({free:.1f} MB free); "
            "allowed: a disk with room for it"
        )
    reason = error.strerror or error
    return f"cannot be written: {reason}; allowed: a folder that this user can write to"


def write_file(
    path: str | Path, config: Mapping[str, Any], arrays: Mapping[str, Array], **attributes: Any
) -> None:
    """Write one stage file: to a temporary name in the same folder, then renamed.

    Args:
        path: where to.
        config: the job's configuration; its stage, experiment, cell and seeds become attributes.
        arrays: `group/name` to array.
        attributes: further attributes, such as the device.

    Raises:
        StorageError: if the disk is full or the folder cannot be written to.
    """
    with replacing(path) as temporary:
        _require_space(temporary.parent, sum(array.values.nbytes for array in arrays.values()))
        add_arrays(temporary, config, arrays, **attributes)


def add_arrays(
    path: str | Path, config: Mapping[str, Any], arrays: Mapping[str, Array], **attributes: Any
) -> None:
    """Make an HDF5 file, or one that the library wrote, a sealed stage file; see `write_file`."""
    with h5py.File(path, "a") as file:
        file.attrs.update(describe(config) | attributes)
        for name, array in arrays.items():
            dataset = file.create_dataset(name, data=array.values)
            dataset.attrs["dims"] = list(array.dims)
            dataset.attrs["units"] = array.units
    seal(path)


def _require_space(folder: Path, size: int) -> None:
    # HDF5 reports a full disk only on closing, and can crash there: look first.
    if shutil.disk_usage(folder).free < size + 64 * 1024:
        raise OSError(errno.ENOSPC, "No space left on device")


def describe(config: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes that every file carries: format, stage, cell, seeds, configuration, versions."""
    return {
        "format": FORMAT,
        "stage": config["stage"],
        "experiment": config["experiment"],
        "cell": json.dumps(config["cell"]),
        "seeds": np.asarray(config.get("seeds", []), dtype=np.int64),
        "config": json.dumps(config),
        "versions": json.dumps(software_versions()),
        "revision": git_revision(),
    }


def software_versions() -> dict[str, str]:
    """Versions of Python and of the packages that produce numbers, without importing them."""
    found = {"python": platform.python_version()}
    for package in ("torch", "numpy", "scipy", "h5py", "pandas", "matplotlib", "snakemake"):
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    from ntkflow import __version__

    return {"ntkflow": __version__, **found}


def git_revision() -> str:
    """Commit of the project, with `+changes` if files differ from it; empty outside git."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+changes"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip()


class StageFile:
    """An open stage file: `attributes`, and arrays read one by one."""

    def __init__(self, path: str | Path, file: h5py.File):
        self.path, self._file = Path(path), file

    @property
    def cell(self) -> dict[str, Any]:
        """Swept values by short name."""
        return json.loads(self._file.attrs["cell"])

    @property
    def seeds(self) -> list[int]:
        """Seeds along the seed axis."""
        return [int(seed) for seed in self._file.attrs["seeds"]]

    @property
    def config(self) -> dict[str, Any]:
        """Configuration of the job that wrote the file."""
        return json.loads(self._file.attrs["config"])

    def names(self, group: str) -> list[str]:
        """Names of the arrays in a group.

        Raises:
            StorageError: if the group is missing.
        """
        if group not in self._file:
            allowed = ", ".join(self._file) or "none"
            raise StorageError(f"{self.path}: group {group!r} is missing; it holds {allowed}")
        return list(self._file[group])

    def array(self, name: str, index: Any = ...) -> Array:
        """Array `group/name`, or the part of it that `index` selects along the leading axes.

        Raises:
            StorageError: if the dataset is missing.
        """
        if name not in self._file:
            raise StorageError(f"{self.path}: dataset {name!r} is missing")
        dataset = self._file[name]
        values = dataset[index]
        if dataset.dtype.kind == "S":
            values = values.astype(str)
        return Array(values, list(dataset.attrs["dims"]), dataset.attrs["units"])


@contextlib.contextmanager
def open_file(path: str | Path, stage: str) -> Iterator[StageFile]:
    """Open a file of one stage for reading.

    Args:
        path: the file.
        stage: the stage that must have written it.

    Raises:
        StorageError: if the file is missing, truncated, damaged, of another stage or format.
    """
    check_seal(path, stage)
    with h5py.File(path, "r") as file:
        found, layout = file.attrs.get("stage", "none"), file.attrs.get("format", "none")
        if found != stage:
            raise StorageError(f"{path}: is a file of stage {found!r}; expected stage {stage!r}")
        if layout != FORMAT:
            raise StorageError(f"{path}: has format {layout}; expected format {FORMAT}")
        yield StageFile(path, file)
