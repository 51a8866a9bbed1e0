"""Which way a system is solved, from its size and a memory budget, and why."""

import math
from pathlib import Path
from typing import NamedTuple

import torch

from ..checks import as_whole, check_choice
from ..empirical.blocks import as_budget
from ..errors import ConfigurationError
from .sources import DenseSource, Source

METHODS = ("direct", "iterative")
# Rows up to which a factor takes less time than conjugate gradients with ten right-hand sides, and
# products with all unit vectors of an operator less than those of the gradients.
DIRECT_ROWS, DIRECT_PRODUCTS = 10_000, 100
# Share of the free memory that is used unasked, and of the budget that a preconditioner may take;
# rows of the preconditioner per root of n, and of one that takes a product for each.
_SHARE, _PART, _RANK, _SKETCH = 0.8, 1 / 3, 8, 64


class Choice(NamedTuple):
    """How a system is solved.

    Attributes:
        method: "direct" or "iterative".
        build: whether the matrix is made in memory for it.
        widen: whether one in float64 fits beside it, to be factorised in its place.
        rank: of the preconditioner.
        reason: why, in a sentence.
    """

    method: str
    build: bool
    widen: bool
    rank: int
    reason: str


def choose(
    source: Source,
    *,
    method: str | None,
    memory_budget: float | int | None,
    overwrite: bool,
    rank: int | None,
) -> Choice:
    """Method and storage for a source within a budget in bytes.

    Raises:
        ConfigurationError: if the method is unknown, or its matrix does not fit the budget.
    """
    if method is not None:
        check_choice("method", method, METHODS)
    none = memory_budget is None
    budget = free_memory(source.device) if none else as_budget(memory_budget, source.device)
    entry = torch.empty(0, dtype=source.dtype).element_size()
    matrix = source.size**2 * entry
    in_place = isinstance(source, DenseSource) and overwrite
    fits = in_place or matrix <= budget
    room = f"{_bytes(matrix)} for n = {source.size} in {str(source.dtype).removeprefix('torch.')}"
    against = "fits in" if fits else "is more than"
    has = "is already there" if in_place else f"{against} the budget of {_bytes(budget)}"
    if method == "direct" and not fits:
        raise ConfigurationError(
            f"memory_budget: {_bytes(budget)} is not allowed for method='direct', which takes "
            f"{room}; use method='iterative', or overwrite=True with a kernel in memory"
        )
    few = source.size <= (DIRECT_ROWS if source.has_entries else DIRECT_PRODUCTS)
    direct = method == "direct" or (method is None and few and fits)
    asked = f"method={method!r} was asked for" if method else _why(source, few)
    keep = direct or source.stored or (source.has_entries and fits)
    where = "kept in memory" if keep else source.words
    reason = f"{'direct' if direct else 'iterative'}: {asked}; {room} {has}; {where}"
    rest = budget - (matrix if keep and not source.stored else 0)
    rank = _rank(source, rest) if rank is None else as_whole("rank", rank, 1)
    build, widen = keep and not source.stored, (8 + entry) * source.size**2 <= budget
    return Choice("direct" if direct else "iterative", build, widen, min(rank, source.size), reason)


def _rank(source: Source, budget: float | int) -> int:
    """Rows of the preconditioner, fewer where they would not fit the budget."""
    wanted = math.ceil(_RANK * math.sqrt(source.size))
    if not source.has_entries:
        wanted = min(wanted, _SKETCH)
    fits = int(_PART * budget / (8 * source.size))
    return max(1, min(wanted, fits, source.size))


def _why(source: Source, few: bool) -> str:
    if source.has_entries:
        return f"n = {source.size} is {'up to' if few else 'above'} {DIRECT_ROWS} rows"
    return f"n = {source.size}: a matrix takes {source.size} products of an operator"


def free_memory(device: torch.device) -> int:
    """Bytes that may be used unasked: a share of what the system, or a GPU, has left."""
    if device.type == "cuda":
        return as_budget(None, device)
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        available = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
        return int(_SHARE * 1024 * available)
    except (OSError, StopIteration):  # no Linux
        return as_budget(None, device)


def _bytes(count: float | int) -> str:
    """1.2e9 as 1.20 GB."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} bytes"
