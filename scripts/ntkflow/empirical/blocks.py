"""The kernel block by block of rows, so that the factors fit a memory budget."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from .factors import TILE_HEIGHT, fill_products
from .inputs import Inputs
from .task import Factors, Task

# Bytes to use where nothing else is asked for and the device does not say what is free.
DEFAULT_BUDGET = 2**30


def as_budget(memory_budget: int | float | None, device: torch.device) -> int:
    """Bytes that were asked for; by default 1 GiB, on a GPU half of what is free."""
    if memory_budget is not None:
        return int(memory_budget)
    if device.type != "cuda":
        return DEFAULT_BUDGET
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return (torch.cuda.mem_get_info(device)[0] + unused) // 2


class Cost(NamedTuple):
    """Bytes of the factors of one row, and matrices of the size of a block held at once."""

    row_bytes: int
    grams: int


def sum_products(
    task: Task, make_factors: Callable[[Task, Inputs], Factors], cost: Cost
) -> dict[str, Tensor]:
    """Kernel of every factor by name, or their sum under the name "" unless `task.by_layer`."""
    rows, columns = _block_shape(task, cost)
    values: dict[str, Tensor] = {}
    for i in row_slices(0, len(task.x1), rows):
        left = task.factors(make_factors, False, i)
        groups = {names[0]: [names] for names in left} if task.by_layer else {"": list(left)}
        if not values:
            values = {key: task.empty() for key in groups}
        first = 0 if task.x2 is not None else i.stop
        blocks = [i] if task.x2 is None else []
        for j in [*blocks, *row_slices(first, len(task.other), columns)]:
            diagonal = task.x2 is None and i == j
            right = left if diagonal else task.factors(make_factors, True, j)
            for key, members in groups.items():
                pair = [left[names] for names in members], [right[names] for names in members]
                fill_products(*pair, task.layout, values[key][..., i, j], diagonal)
                if task.x2 is None:
                    task.layout.mirror(values[key], i, j)
    return values


def row_slices(start: int, stop: int, rows: int) -> Iterator[slice]:
    """Consecutive slices of at most `rows` rows."""
    return (slice(first, min(first + rows, stop)) for first in range(start, stop, rows))


def _block_shape(task: Task, cost: Cost) -> tuple[int, int]:
    """Rows and columns of a block such that the factors of both, or of all rows, fit.

    The factors of the columns are made anew for every block of rows, so rows get the most.
    """
    element = task.like.element_size()
    row_bytes = cost.row_bytes + TILE_HEIGHT * len(task.selected) * element
    grams = math.isqrt(task.memory_budget // (3 * cost.grams * element))
    needed = len(task.x1) + (0 if task.x2 is None else len(task.x2))
    if needed * row_bytes <= task.memory_budget and needed <= grams:
        return needed, needed
    most = task.memory_budget // row_bytes
    return max(1, min(3 * most // 4, grams)), max(1, min(most // 4, grams))
