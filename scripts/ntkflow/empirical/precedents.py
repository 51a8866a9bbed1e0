"""What was shown of a module before: how its kernel is made, and for which graphs that was right.

A fast kernel was compared with plain autograd. While the module, its modes and plain
attributes, the arguments and the operations of the graph are the same, it is not compared again.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor, nn

from .inputs import Inputs
from .keeping import UNCHANGEABLE
from .proof import Proof, no_rule
from .task import Task

MOST = 16  # situations that are kept for a module
PLAIN = tuple(UNCHANGEABLE)
NAMELESS = Tensor, ref  # whose values, or what they point to, may change


class Precedent(NamedTuple):
    """A plan that was right, and the graphs of x1 and x2 for which it was: see `Evidence`."""

    plan: Any
    graphs: dict[tuple, tuple[tuple, set]]


@dataclass
class Evidence:
    """The graphs for which the plan is known to be right, if it is, and those that are met now.

    They are kept by the shapes of what a row holds. A graph is known by its operations, and with it
    numbers of rows and what operations take that tensors tell what to take. `holds` tells of
    parameters whether their rule is right for any gradient of what they make, in the graph of the
    rows that were met last; `in_order` whether gradients told the order of rows in every graph.
    """

    graphs: dict[tuple, tuple[tuple, set]] | None = None
    plan: Any = None
    met: dict[tuple, dict[tuple, set]] = field(default_factory=dict)
    holds: Callable[[tuple[str, ...]], bool] = no_rule
    in_order: bool = True


_KEPT: WeakKeyDictionary[nn.Module, dict[tuple, Precedent]] = WeakKeyDictionary()


def find_precedent(task: Task, method: str) -> Precedent | None:
    """What is known of the network in the same situation."""
    if task.model.module is None or task.model.has_hooks or task.like.is_meta:
        return None
    kept = _KEPT.get(task.model.module)
    situation = _situation(task, method) if kept else None
    return None if situation is None else kept.get(situation)


def keep_precedent(task: Task, method: str, evidence: Evidence, proof: Proof | None) -> None:
    """Keep that the plan was right, if rows of a side have one graph and every gradient was met.

    A gradient that is zero agrees with anything, unless the rule was compared for another.
    """
    module = task.model.module
    alike = all(len(graphs) == 1 for graphs in evidence.met.values())
    if module is None or proof is None or not (alike and evidence.in_order):
        return
    plan, situation = evidence.plan, _situation(task, method)
    proved = all(map(proof.is_shown, [*plan.claimed, *plan.rest]))
    if situation is None or not proved:
        return
    kept = _KEPT.setdefault(module, {})
    if len(kept) >= MOST:
        del kept[next(iter(kept))]
    met = {form: next(iter(graphs.items())) for form, graphs in evidence.met.items()}
    kept[situation] = Precedent(plan, met)


def _situation(task: Task, method: str) -> tuple | None:
    """All that decides which operations are met, but for the values of tensors.

    None where attributes cannot be looked at or compared: any object may be among them.
    """
    try:
        situation = _describe(task, method)
        hash(situation)
    except Exception:
        return None
    return situation


def _describe(task: Task, method: str) -> tuple:
    model, device = task.model, task.like.device
    parameters = [(name, p.shape, p.dtype) for name, p in model.parameters.items()]
    sides = [None if x is None else (len(x), *_form(x)) for x in (task.x1, task.x2)]
    asked = method, tuple(task.selected), task.layout, task.by_layer, task.own_rows
    # Functions may hold the module, which what is kept of it must not.
    asked += tuple(ref(each) if callable(each) else each for each in (model.output, model.operator))
    enabled = torch.is_autocast_enabled(device.type)
    mode = str(device), enabled and torch.get_autocast_dtype(device.type)
    layers = [_state(layer) for layer in model.module.modules()]
    return (*asked, *mode, *map(tuple, (parameters, sides, layers)))


def _form(x: Inputs) -> tuple:
    if isinstance(x, Tensor):
        return x.shape[1:], x.dtype
    tensors = [(key, *_form(tensor)) for key, tensor in x.tensors.items()]
    return *tensors, *x.constants.items()


def _state(layer: nn.Module) -> tuple:
    """Type of a layer and what its attributes say."""
    attributes = vars(layer).items()
    return type(layer), *[
        (name, value if type(value) in UNCHANGEABLE else _said(value)) for name, value in attributes
    ]


def _said(value: object) -> Any:
    """Plain values as they are, also inside of others; identity of others, but of tensors."""
    if isinstance(value, dict):
        return tuple([(name, _said(each)) for name, each in value.items()]) if value else ()
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, list | tuple):
        return tuple(map(_said, value))
    if isinstance(value, NAMELESS):
        return type(value)
    # A module looks for what it lacks in three tables and words an error.
    code = None if isinstance(value, nn.Module) else getattr(value, "__code__", None)
    return id(value), code
