"""The kernel block by block of rows, so that the factors fit a memory budget."""

import math
from collections.abc import Callable, Iterator

from torch import Tensor

from .factors import Factor
from .task import Task


def sum_products(
    task: Task, make_factors: Callable[[Tensor], dict[str, Factor]], row_bytes: int
) -> dict[str, Tensor]:
    """Kernel of every factor by name, or their sum under the name "" unless `task.by_layer`."""
    rows = _block_rows(task.memory_budget, row_bytes, task.like.element_size())
    symmetric = task.x2 is None
    values: dict[str, Tensor] = {}
    for i in row_slices(len(task.x1), rows):
        left = make_factors(task.x1[i])
        for j in row_slices(len(task.other), rows):
            if symmetric and j.start < i.start:
                continue
            diagonal = symmetric and i == j
            right = left if diagonal else make_factors(task.other[j])
            for name, factor in left.items():
                key = name if task.by_layer else ""
                if key not in values:
                    values[key] = task.zeros()
                factor.accumulate(right[name], task.layout, values[key][..., i, j], diagonal)
            for each in values.values() if symmetric else ():
                task.layout.mirror(each, i, j)
    return values


def row_slices(count: int, rows: int) -> Iterator[slice]:
    """Consecutive slices of at most `rows` rows."""
    return (slice(start, min(start + rows, count)) for start in range(0, count, rows))


def _block_rows(budget: int, row_bytes: int, element_size: int) -> int:
    """Rows of a block such that the factors of two blocks and one Gram matrix fit."""
    gram = math.isqrt(budget // (4 * element_size))
    return max(1, min(budget // (3 * row_bytes), gram))
