"""The kernel block by block of rows, so that the factors fit a memory budget."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

from torch import Tensor

from .factors import TILE_HEIGHT, Factor, fill_products
from .task import Task


class Cost(NamedTuple):
    """Bytes of the factors of one row, and matrices of the size of a block held at once."""

    row_bytes: int
    grams: int


def sum_products(
    task: Task, make_factors: Callable[[Tensor], dict[str, Factor]], cost: Cost
) -> dict[str, Tensor]:
    """Kernel of every factor by name, or their sum under the name "" unless `task.by_layer`."""
    rows = _block_rows(task, cost)
    values: dict[str, Tensor] = {}
    for i in row_slices(len(task.x1), rows):
        left = make_factors(task.x1[i])
        groups = {name: [name] for name in left} if task.by_layer else {"": list(left)}
        if not values:
            values = {key: task.empty() for key in groups}
        for j in row_slices(len(task.other), rows):
            if task.x2 is None and j.start < i.start:
                continue
            diagonal = task.x2 is None and i == j
            right = left if diagonal else make_factors(task.other[j])
            for key, names in groups.items():
                pair = [left[name] for name in names], [right[name] for name in names]
                fill_products(*pair, task.layout, values[key][..., i, j], diagonal)
                if task.x2 is None:
                    task.layout.mirror(values[key], i, j)
    return values


def row_slices(count: int, rows: int) -> Iterator[slice]:
    """Consecutive slices of at most `rows` rows."""
    return (slice(start, min(start + rows, count)) for start in range(0, count, rows))


def _block_rows(task: Task, cost: Cost) -> int:
    """Rows of a block such that the factors of two blocks, or of all rows, fit."""
    element = task.like.element_size()
    row_bytes = cost.row_bytes + TILE_HEIGHT * len(task.selected) * element
    grams = math.isqrt(task.memory_budget // (3 * cost.grams * element))
    needed = len(task.x1) + (0 if task.x2 is None else len(task.x2))
    if needed * row_bytes <= task.memory_budget and needed <= grams:
        return needed
    return max(1, min(task.memory_budget // (3 * row_bytes), grams))
