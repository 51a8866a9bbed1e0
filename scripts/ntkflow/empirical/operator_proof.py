"""Which way to the products of a Jacobian is right: compared with plain autograd on real rows."""

import torch
from torch import Tensor

from .jacobian_map import KINDS, DoubleBackward, ForwardMode, Jacobians, rows_within
from .methods import Refusal, refusing
from .proof import COARSE, NO_GRADIENT, Unproved, Witness, find_proof, look_further, wide
from .task import Task

# Besides 1: a backward pass that is cut off or rounded is not linear.
LARGE = 2.0**10


def find_jacobians(task: Task) -> Jacobians:
    """J(x1) and J(x2) by two passes where these agree with plain autograd, else by the latter.

    Raises:
        UnsupportedLayerError: if rows interact, or torch cannot differentiate the network.
    """
    with refusing("autograd"):
        proof = find_proof(task)
    for method in () if task.model.has_hooks else _methods(task):
        try:
            with refusing(method):
                if proof is not None:
                    look_further(task, proof)
                    _check_products(task, method, proof.witnesses)
                return Jacobians.of(task, method)
        except Refusal:
            continue
    return plain_jacobians(task)


def _methods(task: Task) -> list[str]:
    """Graphs of J^T v pay where they are kept; chunks that are met once have none, if they can."""
    rows = len(task.x1) + (0 if task.x2 is None else len(task.x2))
    kept = rows <= rows_within(task, "double_backward", task.memory_budget)
    return ["double_backward"] if kept else ["forward_mode", "double_backward"]


def plain_jacobians(task: Task) -> Jacobians:
    """J(x1) and J(x2) by one backward pass for each row and output."""
    with refusing("autograd"):
        return Jacobians.of(task, "autograd")


def _check_products(task: Task, method: str, witnesses: list[Witness]) -> None:
    """Raise Unproved if products with J deviate from plain gradients g, in float64 too."""
    witnesses = [witness for witness in witnesses if witness.size.isfinite()]
    if not witnesses:  # of a network that has diverged
        return
    sides = {witness.second for witness in witnesses}
    if sides != {witness.second for witness in witnesses if witness.acting}:
        raise Unproved(NO_GRADIENT)
    if _agree(task, method, witnesses):
        return
    if not _agree(task.in_double(), method, [witness.in_double() for witness in witnesses]):
        raise Unproved("deviates from plain autograd on a row of x")


def _agree(task: Task, method: str, witnesses: list[Witness]) -> bool:
    """Whether J^T v = g and <v, J w> = <g, w> on these rows, w a sum of all g."""
    shares = torch.linspace(1, 0.7, len(witnesses)).tolist()  # no two of which cancel by symmetry
    direction = [
        sum(share * each.gradient[name] for share, each in zip(shares, witnesses, strict=True))
        for name in task.model.parameters
    ]
    sides = [[w for w in witnesses if w.second == second] for second in (False, True)]
    return all(_agree_on_side(task, method, side, direction) for side in sides if side)


def _agree_on_side(
    task: Task, method: str, witnesses: list[Witness], direction: list[Tensor]
) -> bool:
    """The same for witnesses of x1 alone, or of x2."""
    x = task.other if witnesses[0].second else task.x1
    rows = sorted({each.index for each in witnesses})
    jacobian = KINDS[method](task, x[rows])
    signal = task.like.new_zeros(len(rows), len(task.selected))
    for each in witnesses:
        signal[rows.index(each.index)] = each.weights[task.selected]
    pushed = jacobian.push([direction])[0]
    return _pulls_agree(jacobian, signal, witnesses) and all(
        _push_agrees(pushed[rows.index(each.index)], direction, each, task.selected)
        for each in witnesses
    )


def _pulls_agree(
    jacobian: DoubleBackward | ForwardMode, signal: Tensor, witnesses: list[Witness]
) -> bool:
    """Whether J^T v is the sum of the gradients, for small v and for large."""
    allowed = witnesses[0].tolerance * sum(each.size for each in witnesses)
    expected = [sum(parts) for parts in zip(*(w.gradient.values() for w in witnesses), strict=True)]
    scales = (1.0, LARGE) if witnesses[0].tolerance < COARSE else (1.0,)
    for scale in scales:
        pairs = zip(jacobian.pull((scale * signal)[None])[0], expected, strict=True)
        squares = [_square(part / scale - known) for part, known in pairs]
        if not sum(squares).sqrt() <= allowed:
            return False
    return True


def _push_agrees(
    pushed: Tensor, direction: list[Tensor], witness: Witness, selected: list[int]
) -> bool:
    """Whether <v, J w> = <g, w>."""
    found = (witness.weights[selected].double() * pushed.double()).sum()
    pairs = list(zip(witness.gradient.values(), direction, strict=True))
    expected = sum((gradient.double() * part.double()).sum() for gradient, part in pairs)
    size = sum(_square(part) for part in direction).sqrt()
    return bool((found - expected).abs() <= witness.tolerance * witness.size * size)


def _square(part: Tensor) -> Tensor:
    """Square of the norm."""
    return torch.linalg.vector_norm(part, dtype=wide(part)).double().square()
