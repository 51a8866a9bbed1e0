"""Seconds and peak memory of a call on a device, in full float32."""

import gc
import math
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from .parts import Row

REPEATS = 5
LONG = 2.0  # seconds after which no further repeat is begun
SO_LONG = 8.0  # seconds of a first call in which what is done once no longer matters


def use_full_float32() -> None:
    """Turn off TF32, which keeps ten bits of a float32 factor."""
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    torch.backends.cudnn.conv.fp32_precision = "ieee"
    torch.backends.cudnn.rnn.fp32_precision = "ieee"


def measure(call: Callable[[], Tensor], place: torch.device) -> Row:
    """Median seconds of a call after one to warm up, its peak of memory, and its result's norm.

    The peak counts what the call needs beyond what lay on the device before; on a CPU it is not
    known. The norm tells whether two methods computed the same.
    """
    before = _start_counting(place)
    first, values = _timed(call, place)
    peak = _peak_mb(place, before)
    norm = math.hypot(*(torch.linalg.vector_norm(v, dtype=torch.float64).item() for v in values))
    del values
    times = [first] if first > SO_LONG else []
    while len(times) < REPEATS and sum(times) < LONG:
        times.append(_timed(call, place)[0])
    return {
        "seconds": statistics.median(times),
        "repeats": len(times),
        "peak_mb": peak,
        "norm": norm,
    }


def _timed(call: Callable[[], Tensor], place: torch.device) -> tuple[float, Tensor]:
    _synchronize(place)
    start = time.perf_counter()
    values = call()
    _synchronize(place)
    return time.perf_counter() - start, values


def _synchronize(place: torch.device) -> None:
    if place.type == "cuda":
        torch.cuda.synchronize(place)


def _start_counting(place: torch.device) -> int:
    """Bytes in use now; the peak is counted from here."""
    if place.type != "cuda":
        return 0
    gc.collect()  # what an error of the step before still held
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(place)
    return torch.cuda.memory_allocated(place)


def _peak_mb(place: torch.device, before: int) -> float | None:
    if place.type != "cuda":
        return None
    return (torch.cuda.max_memory_allocated(place) - before) / 2**20
