"""The Jacobian of rows as a linear map: by two reverse passes, or row by row by plain autograd."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from .autograd import autograd_cost, autograd_factors
from .blocks import row_slices
from .inputs import Inputs
from .task import Task


class DoubleBackward:
    """J of some rows by graphs of f and of J^T v, kept to be run many times.

    J^T v is linear in v, so its own derivative in the direction w is J w: two reverse passes give
    what a forward pass would, without recomputing the activations.
    """

    @torch.enable_grad()
    def __init__(self, task: Task, x: Inputs):
        leaves = {name: p.detach().requires_grad_() for name, p in task.model.parameters.items()}
        self._selected = task.selected
        self._parameters = list(leaves.values())
        self._outputs = task.model(leaves, x)
        self._signal = torch.zeros_like(self._outputs, requires_grad=True)
        self._pulled = self._gradients(self._signal, create_graph=True)

    @staticmethod
    def row_bytes(task: Task) -> int:
        """Bytes of one row: the graph of J^T v keeps about as much again as that of f."""
        return 3 * task.model.row_bytes(task.largest)

    def pull(self, signal: Float[Tensor, "n s"]) -> list[Tensor]:
        """J^T v, one tensor per parameter."""
        every = torch.zeros_like(self._outputs, requires_grad=False)
        every[:, self._selected] = signal
        return [part.to_dense() for part in self._gradients(every, retain_graph=True)]

    def push(self, direction: Sequence[Tensor]) -> Float[Tensor, "n s"]:
        """J w."""
        pairs = zip(self._pulled, direction, strict=True)
        pulled, used = zip(*((p, w) for p, w in pairs if p.requires_grad), strict=True)
        found = torch.autograd.grad(pulled, self._signal, used, retain_graph=True)[0]
        return found[:, self._selected]

    def _gradients(self, signal: Tensor, **options: bool) -> tuple[Tensor, ...]:
        return torch.autograd.grad(
            self._outputs, self._parameters, signal, materialize_grads=True, **options
        )


class PlainRows:
    """J of some rows, formed by one backward pass for each row and output."""

    def __init__(self, task: Task, x: Inputs):
        factors = autograd_factors(task, x).values()
        self._jacobians = [make().rows.flatten(0, 1) for make in factors]
        self._shape = len(task.selected), len(x)

    @staticmethod
    def row_bytes(task: Task) -> int:
        """Bytes of one row."""
        return autograd_cost(task).row_bytes

    def pull(self, signal: Float[Tensor, "n s"]) -> list[Tensor]:
        """J^T v, one flat tensor per parameter."""
        return [signal.T.flatten() @ rows for rows in self._jacobians]

    def push(self, direction: Sequence[Tensor]) -> Float[Tensor, "n s"]:
        """J w."""
        pairs = zip(self._jacobians, direction, strict=True)
        return sum(rows @ part for rows, part in pairs).view(self._shape).T


# Ways to the Jacobian by the name of the method, the fast one first.
KINDS = {"double_backward": DoubleBackward, "autograd": PlainRows}


class JacobianMap:
    """J of the rows x in chunks that fit a memory budget; all are kept if they fit together."""

    def __init__(self, task: Task, x: Inputs, method: str, memory_budget: int):
        self._x, self._make = x, partial(KINDS[method], task)
        self._rows = max(1, memory_budget // KINDS[method].row_bytes(task))
        self._whole = self._make(x) if len(x) <= self._rows else None

    def pull(self, vector: Float[Tensor, " m"]) -> list[Tensor]:
        """J^T v, one tensor per parameter."""
        signal = vector.view(len(self._x), -1)
        total: list[Tensor] = []
        for rows, chunk in self._chunks():
            parts = chunk.pull(signal[rows])
            total = [t + p for t, p in zip(total, parts, strict=True)] if total else parts
        return total

    def push(self, direction: Sequence[Tensor]) -> Float[Tensor, " m"]:
        """J w."""
        return torch.cat([chunk.push(direction) for _, chunk in self._chunks()]).flatten()

    def _chunks(self) -> Iterator[tuple[slice, DoubleBackward | PlainRows]]:
        if self._whole is not None:
            yield slice(None), self._whole
            return
        for rows in row_slices(0, len(self._x), self._rows):
            yield rows, self._make(self._x[rows])


class Jacobians(NamedTuple):
    """J(x1) and J(x2), one map where x2 is x1, and the method that both are had by."""

    method: str
    left: JacobianMap
    right: JacobianMap

    @classmethod
    def of(cls, task: Task, method: str) -> "Jacobians":
        """The budget is shared by the two sides."""
        if task.x2 is None:
            both = JacobianMap(task, task.x1, method, task.memory_budget)
            return cls(method, both, both)
        half = task.memory_budget // 2
        return cls(method, *(JacobianMap(task, x, method, half) for x in (task.x1, task.x2)))
