"""The kernel block by block of rows, so that the factors fit a memory budget."""

import math
import sys
from collections.abc import Callable, Iterator
from numbers import Real
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import ConfigurationError
from .factors import Factor
from .inputs import Inputs
from .layout import TILE_HEIGHT
from .precision import without_autocast
from .products import fill_products
from .squares import squares
from .task import Factors, Task

# Bytes to use where nothing else is asked for and the device does not say what is free.
DEFAULT_BUDGET = 2**30


def check_budget(memory_budget: object) -> None:
    """Raise a ConfigurationError unless this is a number of bytes > 0, infinity too, or None."""
    if memory_budget is None:
        return
    number = isinstance(memory_budget, Real) and not isinstance(memory_budget, bool)
    if not number or not memory_budget > 0:
        raise ConfigurationError(
            f"memory_budget: {memory_budget!r} is not allowed; use a number of bytes > 0, such as "
            "2**30, or float('inf')"
        )


def as_budget(memory_budget: int | float | None, device: torch.device) -> int:
    """Bytes that were asked for; by default 1 GiB, on a GPU half of what is free."""
    check_budget(memory_budget)
    if memory_budget is not None:
        return sys.maxsize if memory_budget == math.inf else max(1, int(memory_budget))
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
    if task.own_rows:
        return {"": _sum_squares(task, make_factors, cost)}
    if task.sketch is not None:
        return {"": _sum_sketches(task, make_factors, cost)}
    values: dict[str, Tensor] = {}
    for i, columns in blocks(task, block_shape(task, cost)):
        left = task.factors(make_factors, False, i)
        groups = {names[0]: [names] for names in left} if task.by_layer else {"": list(left)}
        if not values:
            values = {key: task.empty() for key in groups}
        for j in columns:
            diagonal = task.x2 is None and i == j
            right = left if diagonal else task.factors(make_factors, True, j)
            for key, members in groups.items():
                pairs = _pairs(left, right, members)
                with without_autocast():
                    fill_products(pairs, task.layout, values[key][..., i, j], diagonal)
                if task.x2 is None:
                    task.layout.mirror(values[key], i, j)
    return values


def _pairs(left: Factors, right: Factors, members: list) -> Iterator[tuple[Factor, Factor]]:
    """Factors of rows and columns, made one after the other."""
    for names in members:
        factor = left[names]()
        yield factor, factor if right is left else right[names]()


def _sum_squares(
    task: Task, make_factors: Callable[[Task, Inputs], Factors], cost: Cost
) -> Float[Tensor, "s n"]:
    """Kernel of every row with itself."""
    values = task.empty().zero_()
    gram_bytes = cost.grams * task.like.element_size()
    step = max(1, task.memory_budget // (_row_bytes(task, cost) + gram_bytes))
    for i in row_slices(0, len(task.x1), step):
        factors = task.factors(make_factors, False, i)
        with without_autocast():
            for make in factors.values():
                values[:, i] += squares(make())
    return values


def _sum_sketches(
    task: Task, make_factors: Callable[[Task, Inputs], Factors], cost: Cost
) -> Float[Tensor, "n *s d"]:
    """Random projections of the gradients of every row, summed over parameters."""
    sketch = task.sketch
    size = len(task.selected) * sketch.dimension * task.like.element_size()
    step = max(1, task.memory_budget // (_row_bytes(task, cost) + 4 * size))
    parts = []
    for i in row_slices(0, len(task.x1), step):
        factors = task.factors(make_factors, False, i)
        with without_autocast():
            total = sum(sketch.of(task, names, make()) for names, make in factors.items())
            parts.append(sketch.combined(total) if task.sketch_summed else total.transpose(0, 1))
    return torch.cat(parts)


def blocks(task: Task, shape: tuple[int, int]) -> Iterator[tuple[slice, list[slice]]]:
    """Rows of x1, and the rows beside them block by block, of a symmetric kernel only half."""
    rows, columns = shape
    for i in row_slices(0, len(task.x1), rows):
        own, first = ([i], i.stop) if task.x2 is None else ([], 0)
        yield i, [*own, *row_slices(first, len(task.other), columns)]


def row_slices(start: int, stop: int, rows: int) -> Iterator[slice]:
    """Consecutive slices of at most `rows` rows."""
    return (slice(first, min(first + rows, stop)) for first in range(start, stop, rows))


def block_shape(task: Task, cost: Cost) -> tuple[int, int]:
    """Rows and columns of a block such that the factors of both, or of all rows, fit.

    The factors of the columns are made anew for every block of rows, so rows get the most.
    """
    if task.memory_budget >= whole_budget(task, cost):
        return (_rows(task),) * 2
    grams = math.isqrt(task.memory_budget // _gram_bytes(task, cost))
    most = task.memory_budget // _row_bytes(task, cost)
    return max(1, min(3 * most // 4, grams)), max(1, min(most // 4, grams))


def whole_budget(task: Task, cost: Cost) -> int:
    """Bytes with which the factors of all rows are made once, in one block."""
    rows = _rows(task)
    return max(rows * _row_bytes(task, cost), rows**2 * _gram_bytes(task, cost))


def _rows(task: Task) -> int:
    return len(task.x1) + (0 if task.x2 is None else len(task.x2))


def _row_bytes(task: Task, cost: Cost) -> int:
    return cost.row_bytes + TILE_HEIGHT * len(task.selected) * task.like.element_size()


def _gram_bytes(task: Task, cost: Cost) -> int:
    return 3 * cost.grams * task.like.element_size()
