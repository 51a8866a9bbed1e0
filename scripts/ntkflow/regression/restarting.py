"""A file from which a long solution goes on after it was stopped."""

import hashlib
import json
import os
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import StorageError
from .sources import Source

_ROWS = 8


class RestartFile:
    """State of a solver on disk, written every so many seconds; it exists whole or not at all.

    Args:
        path: an NPZ file.
        every: seconds between two writes.
        settings: what has to be the same when a run goes on.
        source: the kernel, of which a few numbers are compared.
        y: targets.
    """

    def __init__(
        self,
        path: str | Path,
        every: float,
        settings: Mapping[str, Any],
        source: Source,
        y: Tensor,
    ):
        self._path, self._every, self._written = Path(path), every, time.monotonic()
        digest = hashlib.sha256(np.ascontiguousarray(y.cpu().numpy()).tobytes()).hexdigest()
        self._settings = dict(settings) | {"targets": digest[:12]}
        self._source, self._shape = source, tuple(y.shape)
        if not self._path.absolute().parent.is_dir():
            raise StorageError(f"{self._path}: no such folder; make it")

    def load(self) -> dict[str, Tensor] | None:
        """The state of a stopped run, None if there is none.

        Raises:
            StorageError: if the file is no such one, or of other settings, targets or kernel.
        """
        self._sample = _sample(self._source)
        if not self._path.exists():
            return None
        settings, sample, found = _read(self._path)
        for name, value in self._settings.items():
            if settings.get(name) != value:
                raise StorageError(
                    f"{self._path}: the stopped run had {name} = {settings.get(name)!r}, this one "
                    f"has {value!r}; go on with the former, or remove the file"
                )
        if sample.shape != self._sample.shape or not self._is_whole(found):
            raise StorageError(
                f"{self._path}: its state is damaged or of another version; remove the file"
            )
        if not np.allclose(sample, self._sample, rtol=1e-4, atol=1e-4 * np.abs(sample).max()):
            raise StorageError(
                f"{self._path}: the stopped run had another kernel; go on with that one, or remove "
                "the file"
            )
        return {
            name: torch.from_numpy(each).to(self._source.device) for name, each in found.items()
        }

    def _is_whole(self, state: Mapping[str, np.ndarray]) -> bool:
        """Whether this is all that a solver goes on from, in the right shapes."""
        if state.keys() != {"solution", "left", "directions", "numbers"}:
            return False
        arrays = (state["solution"], state["left"], state["directions"])
        shapes = (self._shape, self._shape, (self._shape[0], state["directions"].shape[-1]), (3,))
        fits = shapes == tuple(each.shape for each in (*arrays, state["numbers"]))
        finite = all(bool(np.isfinite(each).all()) for each in arrays)
        return fits and finite and bool(state["numbers"][0] >= 0)

    def save(self, state: Mapping[str, Tensor]) -> None:
        """Write the state if it is time to."""
        if time.monotonic() - self._written < self._every:
            return
        draft = self._path.with_name(self._path.name + ".new")
        arrays = {name: each.cpu().numpy() for name, each in state.items()}
        with open(draft, "wb") as file:
            np.savez(file, settings=json.dumps(self._settings), sample=self._sample, **arrays)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)
        self._written = time.monotonic()

    def remove(self) -> None:
        """Delete the file of a run that has ended."""
        self._path.unlink(missing_ok=True)


def stored_rank(path: str | Path) -> int | None:
    """Rank of the preconditioner of a stopped run, which free memory decided; None without a run.

    Raises:
        StorageError: if the file is no such one.
    """
    return int(_read(Path(path), state=False)[0]["rank"]) if Path(path).exists() else None


def _read(
    path: Path, *, state: bool = True
) -> tuple[dict[str, Any], np.ndarray, dict[str, np.ndarray]]:
    """Settings, the numbers of the kernel that are compared, and the state if it is wanted."""
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            names = file.files if state else ("settings", "sample")
            found = {name: file[name] for name in names}
        settings = json.loads(str(found.pop("settings")))
        return settings | {"rank": int(settings["rank"])}, found.pop("sample"), found
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise StorageError(f"{path}: not a restart file of kernel_ridge") from error


def _sample(source: Source) -> np.ndarray:
    """A few numbers that another kernel would not have."""
    stream = torch.Generator().manual_seed(0)
    probe = torch.randn(source.size, 1, generator=stream, dtype=torch.float64).to(source.device)
    if not source.has_entries:
        return source.multiply(probe).cpu().numpy()
    index = torch.randperm(source.size, generator=stream)[:_ROWS].to(source.device)
    return (source.rows(index).double() @ probe).cpu().numpy()
