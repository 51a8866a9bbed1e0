"""Plain reverse-mode autograd, one row and one output at a time: right wherever torch is."""

from functools import partial

import torch
from torch import Tensor

from .blocks import Cost, sum_products
from .factors import JacobianFactor
from .inputs import Inputs
from .rows import row_gradients
from .task import Factors, Task


def autograd_kernel(task: Task) -> dict[str, Tensor]:
    """Theta[o, o', n, n'] = sum over p of J[o, n, p] J'[o', n', p], J by one pass per (o, n).

    Neither vectorised nor recorded by hooks, so it is the reference of the other methods.
    """
    return sum_products(task, autograd_factors, autograd_cost(task))


def autograd_cost(task: Task) -> Cost:
    """Rows of the Jacobian twice, and one graph."""
    jacobian_bytes = len(task.selected) * task.model.size * task.like.element_size()
    return Cost(2 * jacobian_bytes + task.model.row_bytes(task.largest), 1)


def autograd_factors(task: Task, x: Inputs) -> Factors:
    """Jacobian of the selected outputs with respect to each parameter, row by row."""
    count = task.like.shape[1]
    units = torch.eye(count, dtype=task.like.dtype, device=task.like.device)[task.selected]
    jacobians = {
        name: task.like.new_empty(len(task.selected), len(x), p.numel())
        for name, p in task.model.parameters.items()
    }
    for n in range(len(x)):
        gradients = row_gradients(task.model, x[n : n + 1], units)[1]
        for s, gradient in enumerate(gradients):
            for name, part in gradient.items():
                jacobians[name][s, n] = part.flatten()
    return {(name,): partial(JacobianFactor, rows) for name, rows in jacobians.items()}
