"""Time and memory of a kernel's spectrum: all eigenvalues of the matrix, or a few without it."""

import ctypes
import gc
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from ntkflow.empirical import ntk_operator, top_eigenpairs
from ntkflow.empirical.one_hidden_layer import mean_kernels, scalar_twin
from ntkflow.linalg.batches import eigenvalues
from ntkflow.networks import member

from ..data.inputs import load_training_set
from ..data.storage import Array, StageFile
from .members import Ensemble

TOLERANCE = 1e-6  # relative accuracy asked of the first few eigenvalues


def spectrum_cost(entry, ensemble: Ensemble, data: StageFile) -> dict[str, Array]:
    """Seconds and bytes for all eigenvalues of K, and for the first few without forming K.

    Bytes are those that the process holds at most, beyond what it held before.
    """
    where = {**ensemble.where, "dtype": torch.float64}
    x = ensemble.once("inputs", lambda: load_training_set(data, **where)[0])
    doubled = {name: p.double() for name, p in ensemble.parameters.items()}
    count, rows = entry["eigenvalues"], []
    for way in (_every, partial(_few, count=count)):  # first calls load code
        way(ensemble, member(doubled, 0), x[: 4 * count])
    for index in range(len(next(iter(doubled.values())))):
        one = member(doubled, index)
        few, free_seconds, free_bytes = measure_cost(partial(_few, ensemble, one, x, count))
        every, seconds, size = measure_cost(partial(_every, ensemble, one, x))
        error = float((few / every[:count] - 1).abs().max())
        ratios = [seconds / free_seconds, free_bytes / size if size else np.nan]
        rows.append([seconds, free_seconds, size, free_bytes, *ratios, error])
    names = {
        "seconds": "all eigenvalues of K",
        "free_seconds": "the first few, without K",
        "bytes": "all eigenvalues of K",
        "free_bytes": "the first few, without K",
        "speedup": "seconds / free_seconds",
        "memory_ratio": "free_bytes / bytes",
        "error": "largest relative difference of the first few",
    }
    return {
        f"spectrum_cost/{name}": Array(column, ["seed"], unit)
        for (name, unit), column in zip(names.items(), np.array(rows).T, strict=True)
    }


def _few(ensemble: Ensemble, parameters, x, count: int) -> torch.Tensor:
    twin, parameters = scalar_twin(ensemble.network, parameters)
    operator = ntk_operator(twin, x, parameters=parameters, dtype=torch.float64)
    return top_eigenpairs(operator, count, tolerance=TOLERANCE).values


def _every(ensemble: Ensemble, parameters, x) -> torch.Tensor:
    one = {name: p[None] for name, p in parameters.items()}
    return eigenvalues(mean_kernels(ensemble.network, one, x))[0]


def measure_cost(call: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, float, float]:
    """Result of a call, its seconds, and by how many bytes it raised the process's memory.

    The memory is the operating system's high-water mark, which only Linux lets a process reset: NaN
    elsewhere. Memory that earlier calls freed is handed back first. Linux counts pages in batches
    per processor (proc(5) calls the number inaccurate): good to a megabyte on two processors, to
    some tens on a hundred.
    """
    _release()
    before = _reset_peak()
    begin = time.perf_counter()
    found = call()
    return found, time.perf_counter() - begin, _peak() - before


def _release() -> None:
    """Give freed memory back to the system: a call that took it again would not be seen."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of the GNU C library
    if trim is not None:
        trim(0)


_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def _reset_peak() -> float:
    if not _RESET.exists():
        return np.nan
    _RESET.write_text("5")
    return _peak()


def _peak() -> float:
    if not _STATUS.exists():
        return np.nan
    lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return 1024.0 * float(lines["VmHWM"].split()[0])
