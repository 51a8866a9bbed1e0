"""What a method costs: operations counted on a few rows, bytes and blocks as it plans them."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from .autograd import autograd_cost
from .blocks import Cost, block_shape, blocks, whole_budget
from .jacobian import jacobian_cost
from .layerwise import plan_layerwise
from .methods import METHODS
from .task import Task
from .vector_product import chunk_sizes

COSTS: dict[str, Callable[[Task], Cost]] = {
    "layerwise": lambda task: plan_layerwise(task).cost,
    "jacobian": jacobian_cost,
    "autograd": autograd_cost,
}


class Operations(NamedTuple):
    """Floating-point operations of products: for a row, for a pair of rows, and in all."""

    row: float
    pair: float
    total: float


class Blocks(NamedTuple):
    """Bytes of one row's factors and graph, rows x1 and x2 at once, and what would take all."""

    row_bytes: int
    shape: tuple[int, int]
    whole_budget: int


def plan_blocks(task: Task, method: str) -> Blocks:
    """Blocks that the method forms under the memory budget."""
    n1, n2 = len(task.x1), len(task.other)
    if method == "vector_product":
        swap = n2 < n1
        others = task.x1 if swap else task.other
        pairs = min(n1, n2) * len(task.selected)
        together, rows = chunk_sizes(task, pairs, others)
        row_bytes = together * task.model.row_bytes(others)
        rows = min(rows, len(others))
        return Blocks(row_bytes, (rows, 1) if swap else (1, rows), task.memory_budget)
    cost = COSTS[method](task)
    rows, columns = block_shape(task, cost)
    return Blocks(cost.row_bytes, (min(rows, n1), min(columns, n2)), whole_budget(task, cost))


def count_operations(task: Task, method: str, shape: tuple[int, int]) -> Operations:
    """Operations of the method, counted for two, three and four rows, for all rows.

    They are c + a n + b n^2 for n rows, with b operations for a pair of rows.
    """
    two, three, four = (_count(_few_rows(task, method, n), method) for n in (2, 3, 4))
    pair = (four - 2 * three + two) / 2
    row = three - two - 5 * pair
    constant = two - 2 * row - 4 * pair
    rows, pairs = _handled(task, method, shape)
    return Operations(row, pair, constant + row * rows + pair * pairs)


def _few_rows(task: Task, method: str, n: int) -> Task:
    """The first row of the larger side n times; of vector products, once beside n others."""
    x = task.largest[[0] * n]
    if method == "vector_product":
        return replace(task, x1=x[:1], x2=x, by_layer=False, proof=None)
    return replace(task, x1=x, x2=None, by_layer=False, proof=None, stands_for=task.fewest)


def _handled(task: Task, method: str, shape: tuple[int, int]) -> tuple[int, int]:
    """Rows for which factors are made, once or again and again, and pairs of rows."""
    if method == "vector_product":
        anchors, others = sorted((len(task.x1), len(task.other)))
        return anchors * others, 0
    rows = pairs = 0
    for i, columns in blocks(task, shape):
        height = i.stop - i.start
        widths = [j.stop - j.start for j in columns]
        rows += height + sum(widths) - (widths[0] if task.x2 is None else 0)
        pairs += height * sum(widths)
    return rows, pairs


class _Counter(TorchDispatchMode):
    """Counts the operations of matrix products and convolutions, a multiply-add as two."""

    def __init__(self):
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None) -> Any:
        found = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=found)
        return found


def _count(task: Task, method: str) -> int:
    """Of the kernel alone, without what plans and checks it on single rows."""
    run = METHODS[method]
    if method == "layerwise":
        run = partial(run, plan=plan_layerwise(task))
    with torch.enable_grad(), _Counter() as counter:
        run(task)
    return counter.total
