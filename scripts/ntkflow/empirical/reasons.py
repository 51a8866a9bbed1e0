"""By which way each parameter enters a kernel, and why."""

from collections import Counter
from typing import NamedTuple

import torch

from ..errors import NtkflowError
from .capture import IMAGES, LOOKED_AT, Claims, Look, claims_of, look
from .graph import SLOTS, Use, shape_of
from .rules import PAIRED, sizes_of
from .task import Task

# What a parameter goes through, by method; of "layerwise", what those go through that have no rule.
WAYS = {
    "layerwise": "Jacobian rows",
    "jacobian": "Jacobian rows",
    "vector_product": "vector products",
    "autograd": "backward passes",
}
# Names of the operations that parameters meet; others keep those of the graph.
NAMES = {
    "Matrix": "matrix product",
    "Convolution": "convolution",
    "Transposed": "transposed convolution",
    "Grouped": "grouped convolution",
    "Embedding": "embedding",
    "NativeLayerNorm": "layer normalisation",
    "NativeGroupNorm": "group normalisation",
    "NativeBatchNorm": "batch normalisation",
    "Product": "elementwise product",
    "PreluKernel": "PReLU",
    "Shift": "elementwise sum",
}


class ParameterWay(NamedTuple):
    """How a parameter enters the kernel.

    Attributes:
        name: its name.
        size: its numbers.
        way: "layer" (what it meets in the graph, and gradients of what it makes there), "Jacobian
            rows", "vector products", "backward passes", or "none" where it does not act.
        reason: why: the operations that it acts in, and how often for one row, or what keeps it
            from going through them.
    """

    name: str
    size: int
    way: str
    reason: str


def parameter_ways(task: Task, method: str) -> list[ParameterWay]:
    """Every parameter with its way in this method, in the network's order."""
    found = _find_reasons(task)
    ways = []
    for name, p in task.model.parameters.items():
        through, reason = found.get(name, (None, "the graph of its rows cannot be looked at"))
        if method != "layerwise" and through == "layer":
            reason += ", a known operation, which this method does without"
        way = through if method == "layerwise" and through else WAYS[method]
        ways.append(ParameterWay(name, p.numel(), way, reason))
    return ways


def _find_reasons(task: Task) -> dict[str, tuple[str | None, str]]:
    """For each parameter its way in the method "layerwise", and why; empty if that fails."""
    try:
        seen = look(task.model, task.largest)
    except (NtkflowError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception:  # whatever a network raises where it is differentiated
        return {}
    claims, _ = claims_of(task.model, seen)
    return {
        name: _reason(name, p.numel(), claims, seen) for name, p in task.model.parameters.items()
    }


def _reason(name: str, size: int, claims: Claims, seen: Look) -> tuple[str | None, str]:
    if name in claims.claimed:
        uses = [use for use in seen.found.uses if name in seen.found.sources(use.names)]
        return "layer", _describe(uses, size)
    if name in claims.idle:
        return "none", "does not act on the outputs"
    return None, _fault(name, seen)


def _describe(uses: list[Use], size: int) -> str:
    """The operations, each with the places of a row at which the parameter acts."""
    counts: Counter = Counter()
    for use in uses:
        counts[NAMES.get(use.kind, use.kind)] += _places(use, size)
    return ", ".join(
        f"{kind} at {places} places" if places > 1 else kind for kind, places in counts.items()
    )


def _places(use: Use, size: int) -> int:
    """How often a parameter of this size acts for one row."""
    if use.kind in PAIRED:
        return sizes_of(use, LOOKED_AT).places
    outputs = shape_of(use.node).numel() // LOOKED_AT
    return max(1, outputs // (use.weight.shape[0] if use.kind == "Grouped" else size))


def _fault(name: str, seen: Look) -> str:
    """Why a parameter is not had from the graph."""
    if seen.axes is None:
        return "three rows meet other operations than two"
    kind = seen.found.elsewhere.get(name)
    if kind is not None:
        form = "in a form that no rule covers" if kind in SLOTS else "which no rule covers"
        return f"read by {kind}, {form}"
    uses = zip(seen.found.uses, seen.axes, strict=True)
    sources = seen.found.sources
    kind = next(use.kind for use, axes in uses if axes is None and name in sources(use.names))
    axis = "not the first axis" if kind in IMAGES else "on no single axis"
    return f"the rows are {axis} of its {NAMES.get(kind, kind)}, or another row acts on it"
