"""Jacobian rows by torch.func: the method that takes any network that vmap takes."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from .blocks import Cost, sum_products
from .factors import JacobianFactor
from .inputs import Inputs
from .proof import COARSE, Unproved, are_same
from .task import Factors, Task


def jacobian_kernel(task: Task) -> dict[str, Tensor]:
    """Theta[o, o', n, n'] = sum over p of J[o, n, p] J'[o', n', p], rows of J chunk by chunk.

    Source: Novak, Sohl-Dickstein, Schoenholz 2022 (arXiv:2206.08720), section 3.1.
    """
    return sum_products(
        task,
        lambda task, x: jacobian_factors(task, x, list(task.model.parameters)),
        jacobian_cost(task),
    )


def jacobian_cost(task: Task) -> Cost:
    """Rows of the Jacobian twice, and a graph for each output."""
    model, outputs = task.model, len(task.selected)
    jacobian_bytes = outputs * model.size * task.like.element_size()
    return Cost(2 * jacobian_bytes + outputs * model.row_bytes(task.largest), 1)


def jacobian_factors(task: Task, x: Inputs, names: Sequence[str]) -> Factors:
    """Jacobian of the selected outputs with respect to each named parameter.

    Raises:
        Unproved: if the network has other outputs where `torch.func.vmap` gives it its rows.
    """
    model = task.model
    chosen = {name: model.parameters[name] for name in names}
    index = torch.as_tensor(task.selected, device=x.device)

    def outputs(parameters, row):
        every = model.single({**model.parameters, **parameters}, row)
        return every[index], every

    rows_of = torch.func.vmap(torch.func.jacrev(outputs, has_aux=True), (None, 0))
    jacobian, mapped = rows_of(chosen, x)
    if task.proof is not None:
        known = model.outputs(x)
        # What else it does changes more than another order of sums in half the digits, or TF32.
        share = max(torch.finfo(known.dtype).eps ** 0.5, task.proof.witnesses[0].tolerance)
        share = max(share, COARSE) if known.is_cuda else share
        allowed = share * known.nan_to_num(0.0, 0.0, 0.0).abs().max()
        if not bool(are_same(mapped, known, allowed).all()):
            raise Unproved("has other outputs under torch.func.vmap")
    return {
        (name,): partial(
            JacobianFactor,
            rows.detach()
            .to(task.like.dtype)
            .reshape(*rows.shape[:2], -1)
            .transpose(0, 1)
            .contiguous(),
        )
        for name, rows in jacobian.items()
    }
