"""The Jacobian of rows as a linear map: by two passes, or row by row by plain autograd."""

from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from .autograd import autograd_cost, autograd_factors
from .blocks import row_slices
from .inputs import Inputs
from .task import Task

# One tensor for each parameter, as long as its gradient.
Direction = Sequence[Tensor]


class _Graph:
    """Outputs of some rows with their graph."""

    @torch.enable_grad()
    def __init__(self, task: Task, x: Inputs):
        leaves = {name: p.detach().requires_grad_() for name, p in task.model.parameters.items()}
        self._selected, self._parameters = task.selected, list(leaves.values())
        self.outputs = task.model(leaves, x)

    def pull(self, signals: Float[Tensor, "k n s"]) -> list[list[Tensor]]:
        """J^T v of each v, one tensor per parameter."""
        return [self._pull(signal) for signal in signals]

    def _pull(self, signal: Float[Tensor, "n s"]) -> list[Tensor]:
        every = torch.zeros_like(self.outputs, requires_grad=False)
        every[:, self._selected] = signal
        return [part.to_dense() for part in self.gradients(every, retain_graph=True)]

    def gradients(self, signal: Float[Tensor, "n o"], **options: bool) -> tuple[Tensor, ...]:
        """J^T v of v for all outputs."""
        return torch.autograd.grad(
            self.outputs, self._parameters, signal, materialize_grads=True, **options
        )


class DoubleBackward:
    """J of some rows by graphs of f and of J^T v, kept to be run many times.

    J^T v is linear in v, so its own derivative in the direction w is J w: two reverse passes give
    what a forward pass would, without recomputing the activations.
    """

    @torch.enable_grad()
    def __init__(self, task: Task, x: Inputs):
        graph = _Graph(task, x)
        self._selected, self.pull = task.selected, graph.pull
        self._signal = torch.zeros_like(graph.outputs, requires_grad=True)
        self._pulled = graph.gradients(self._signal, create_graph=True)

    @staticmethod
    def row_bytes(task: Task) -> int:
        """Bytes of one row: the graph of J^T v keeps about as much again as that of f."""
        return 3 * task.model.row_bytes(task.largest)

    def push(self, directions: Sequence[Direction]) -> Float[Tensor, "k n s"]:
        """J w of each w."""
        return torch.stack([self._push(direction) for direction in directions])

    def _push(self, direction: Direction) -> Float[Tensor, "n s"]:
        pairs = zip(self._pulled, direction, strict=True)
        pulled, used = zip(*((p, w) for p, w in pairs if p.requires_grad), strict=True)
        found = torch.autograd.grad(pulled, self._signal, used, retain_graph=True)[0]
        return found[:, self._selected]


class ForwardMode:
    """J^T v by a backward pass and J w by dual numbers, for rows that are met once in a product.

    With a = cost of f: k products take a + 2 a k for all J^T v and the same for all J w, where
    graphs of J^T v would take 3 a + 4 a k. No second graph is needed.
    """

    def __init__(self, task: Task, x: Inputs):
        self._task, self._x = task, x

    @staticmethod
    def row_bytes(task: Task) -> int:
        """Bytes of one row, most of them in the graph of f."""
        return 2 * task.model.row_bytes(task.largest)

    @cached_property
    def _graph(self) -> _Graph:
        return _Graph(self._task, self._x)

    def pull(self, signals: Float[Tensor, "k n s"]) -> list[list[Tensor]]:
        """J^T v of each v, one tensor per parameter."""
        return self._graph.pull(signals)

    @torch.no_grad()
    def push(self, directions: Sequence[Direction]) -> Float[Tensor, "k n s"]:
        """J w of each w, all of them in one pass over fewer rows, as each has its own dual part."""
        parts = zip(self._task.model.parameters, zip(*directions, strict=True), strict=True)
        stacked = {name: torch.stack(each) for name, each in parts}
        step = max(1, 2 * len(self._x) // (1 + len(directions)))
        rows = row_slices(0, len(self._x), step)
        return torch.cat([self._push(stacked, self._x[some]) for some in rows], dim=1)

    def _push(self, stacked: dict[str, Tensor], x: Inputs) -> Float[Tensor, "k n s"]:
        parameters, selected = self._task.model.parameters, self._task.selected

        def outputs(given: dict[str, Tensor]) -> Tensor:
            return self._task.model(given, x)[:, selected]

        def pushed(direction: dict[str, Tensor]) -> Tensor:
            return torch.func.jvp(outputs, (parameters,), (direction,))[1]

        try:
            return torch.func.vmap(pushed)(stacked)
        except Exception:  # what a network raises for numbers that are not there
            every = range(len(next(iter(stacked.values()))))
            return torch.stack([pushed({n: p[i] for n, p in stacked.items()}) for i in every])


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

    def pull(self, signals: Float[Tensor, "k n s"]) -> list[list[Tensor]]:
        """J^T v of each v, one flat tensor per parameter."""
        return [[signal.T.flatten() @ rows for rows in self._jacobians] for signal in signals]

    def push(self, directions: Sequence[Direction]) -> Float[Tensor, "k n s"]:
        """J w of each w."""
        return torch.stack([self._push(direction) for direction in directions])

    def _push(self, direction: Direction) -> Float[Tensor, "n s"]:
        pairs = zip(self._jacobians, direction, strict=True)
        return sum(rows @ part for rows, part in pairs).view(self._shape).T


# Ways to the Jacobian by the name of the method.
KINDS = {"double_backward": DoubleBackward, "forward_mode": ForwardMode, "autograd": PlainRows}


class JacobianMap:
    """J of the rows x in chunks that fit a memory budget; all are kept if they fit together."""

    def __init__(self, task: Task, x: Inputs, method: str, memory_budget: int):
        self._x, self._make = x, partial(KINDS[method], task)
        self._rows = rows_within(task, method, memory_budget)
        self._whole = self._make(x) if len(x) <= self._rows else None

    def pull(self, vectors: Float[Tensor, "m k"]) -> list[Direction]:
        """J^T v of each column, one tensor per parameter."""
        signals = vectors.T.reshape(vectors.shape[1], len(self._x), -1)
        if self._whole is not None:
            return self._whole.pull(signals)
        total: list[Direction] = []
        for rows, chunk in self._chunks():
            found = chunk.pull(signals[:, rows])
            if not total:
                total = [[part.clone() for part in each] for each in found]
                continue
            for sums, parts in zip(total, found, strict=True):
                for each, part in zip(sums, parts, strict=True):
                    each += part
        return total

    def push(self, directions: Sequence[Direction]) -> Float[Tensor, "m k"]:
        """J w of each w, as columns."""
        found = torch.cat([chunk.push(directions) for _, chunk in self._chunks()], dim=1)
        return found.flatten(1).T

    def _chunks(self) -> Iterator[tuple[slice, DoubleBackward | ForwardMode | PlainRows]]:
        if self._whole is not None:
            yield slice(None), self._whole
            return
        for rows in row_slices(0, len(self._x), self._rows):
            yield rows, self._make(self._x[rows])


def rows_within(task: Task, method: str, memory_budget: int) -> int:
    """Rows whose graphs, or whose rows of J, fit the budget; at least one."""
    return max(1, memory_budget // KINDS[method].row_bytes(task))


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
