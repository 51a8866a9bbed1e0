"""Parameters that act only in operations known here, as they are met in a forward pass."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.graph import GradientEdge

from .graph import Found, Use, find_uses, shape_of
from .inputs import Inputs
from .model import Model
from .rules import RowAxis, Seen
from .walking import Node, Shapes, same_for_all_rows

IMAGES = ("Convolution", "Transposed", "Grouped")
LOOKED_AT = 2  # rows in the graph whose uses are planned for
ALIKE = 0.01  # relative distance of what two equal rows have at the same places; else about 1


class Recording(NamedTuple):
    """Outputs of a forward pass and the uses of parameters in its graph."""

    outputs: Float[Tensor, "n o"]
    found: Found
    leaves: dict[str, Tensor]


def record(model: Model, x: Inputs, made: Shapes = {}) -> Recording:  # noqa: B006
    """Run the network and find every use of its parameters, and of what is made of them alone."""
    parameters = {name: p.detach().requires_grad_() for name, p in model.parameters.items()}
    with torch.enable_grad(), _noticing_hooks() as hooks:
        outputs = model(parameters, x)
    found = find_uses(outputs, parameters, made)
    operations = found.operations + (("Hook",),) * len(hooks)
    return Recording(outputs, found._replace(operations=operations), parameters)


@contextmanager
def _noticing_hooks() -> Iterator[list[Callable]]:
    """Hooks on tensors, which change gradients and leave no trace in the graph."""
    original, noticed = Tensor.register_hook, []

    def register_hook(tensor: Tensor, hook: Callable) -> Any:
        noticed.append(hook)
        return original(tensor, hook)

    Tensor.register_hook = register_hook
    try:
        yield noticed
    finally:
        Tensor.register_hook = original


class Axes(NamedTuple):
    """Axes of the rows at the source and at the node of a use."""

    source: RowAxis
    node: RowAxis


class Claims(NamedTuple):
    """Parameters that act only through operations known here, and those that do not act at all.

    `read` holds the claimed ones and what is made of them alone, under its own names, `pattern`
    kind and names of each of their uses, in order, and `axes` their axes; `made` where to look for
    what is made of parameters alone; `summed` the lengths that sums go over, None if rows are among
    them.
    """

    claimed: set[str]
    read: set[str]
    idle: set[str]
    pattern: list[tuple]
    axes: list[Axes]
    made: Shapes
    summed: tuple[tuple[int, ...], ...] | None


class Look(NamedTuple):
    """The graph of the first row, twice, and the axes of the rows in each of its uses.

    `axes` is None where three rows have other uses than two, `summed` where sums go over rows.
    """

    found: Found
    axes: list[Axes | None] | None
    made: Shapes
    summed: tuple[tuple[int, ...], ...] | None


def look(model: Model, x: Inputs) -> Look:
    """What the parameters meet in the graph of the first row."""
    two, three = (record(model, x[[0] * rows]) for rows in (LOOKED_AT, 3))
    made = same_for_all_rows((two.found.walk, three.found.walk))
    if made:
        two, three = (
            each._replace(found=find_uses(each.outputs, each.leaves, made)) for each in (two, three)
        )
    uses, others = two.found.uses, three.found.uses
    summed = two.found.summed if two.found.summed == three.found.summed else None
    if _pattern(uses) != _pattern(others):
        return Look(two.found, None, made, summed)
    axes = _axes(two.outputs, uses, others)
    if None in axes and not two.outputs.is_meta:
        # Where a layer starts at zero, those before it have gradients at other weights alone; and
        # another row may have gradients where the first has none.
        moved = record(replace(model, parameters=_moved(model.parameters)), x[[-1] * 2], made)
        if _pattern(moved.found.uses) == _pattern(uses):
            found = _axes(moved.outputs, moved.found.uses, others)
            axes = [here or there for here, there in zip(axes, found, strict=True)]
    return Look(two.found, axes, made, summed)


def _moved(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Parameters near these, none of which is zero."""
    generator = torch.Generator().manual_seed(0)
    found = {}
    for name, p in parameters.items():
        size = p.double().square().mean().sqrt()
        noise = torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p.device)
        found[name] = (p + (0.1 * torch.clamp(size, min=0.1)) * noise).to(p.dtype)
    return found


def claims_of(model: Model, seen: Look, apart: Iterable[str] = ()) -> tuple[Claims, list[Use]]:
    """Which parameters can be had from a graph that was looked at, and their uses in two rows.

    Parameters that are to be left `apart` cannot.

    An operation counts if one axis of its output follows the number of rows and no row acts on the
    outputs of another.
    """
    if seen.axes is None:
        return Claims(set(), set(), set(), [], [], {}, None), []
    found, uses = seen.found, seen.found.uses
    met = list(zip(uses, seen.axes, strict=True))
    odd = found.sources(name for use, axes in met if not axes for name in use.names)
    elsewhere = {*found.elsewhere, *odd, *apart}
    known = found.sources(name for use in uses for name in use.names)
    claimed, idle = known - elsewhere, set(model.parameters) - elsewhere - known
    claimed &= model.parameters.keys()
    read = claimed | {name for name, made in found.made.items() if made.sources & claimed}
    read -= elsewhere
    kept = [(use, axes) for use, axes in met if _acts(use, read)]
    mine, axes = [use for use, _ in kept], [axes for _, axes in kept]
    return Claims(claimed, read, idle, _pattern(mine), axes, seen.made, seen.summed), mine


def accounted(recording: Recording, claims: Claims, rows: int) -> list[Seen] | None:
    """Uses of the claimed parameters, if they are those of the first row; None if not."""
    found, elsewhere = recording.found, set(recording.found.elsewhere)
    uses = [use for use in found.uses if _acts(use, claims.read)]
    names = found.sources(name for use in found.uses for name in use.names) | elsewhere
    if elsewhere & claims.read or names & claims.idle or _pattern(uses) != claims.pattern:
        return None
    seen = [_seen(use, rows, axes) for use, axes in zip(uses, claims.axes, strict=True)]
    return None if None in seen else seen


def _seen(use: Use, rows: int, axes: Axes) -> Seen | None:
    """With the places of these rows; None if their number does not divide the axis."""
    found = []
    for node, axis in ((use.source, axes.source), (use.node, axes.node)):
        shape = shape_of(node)
        if rows > 1 and (len(shape) <= axis.axis or shape[axis.axis] % rows):
            return None
        places = shape[axis.axis] // rows if rows > 1 else axis.places
        found.append(axis._replace(places=places))
    return Seen(use, rows, *found)


def edges(nodes: Iterable[Node]) -> list[GradientEdge]:
    """Where the gradients of what nodes return are taken."""
    return [GradientEdge(node, 0) for node in nodes]


def _acts(use: Use, names: set[str]) -> bool:
    return bool({*use.names} & names)


def _pattern(uses: Iterable[Use]) -> list[tuple]:
    return [(use.kind, *use.names) for use in uses]


def _axes(outputs: Float[Tensor, "n o"], uses: list[Use], others: list[Use]) -> list[Axes | None]:
    """Axes of the rows of every use, None where they are not what the rules need."""
    mine, theirs = ([n for use in each for n in (use.source, use.node)] for each in (uses, others))
    found = {node: _row_axis(node, other) for node, other in zip(mine, theirs, strict=True)}
    found = _ordered(outputs, found)
    pairs = [Axes(found[use.source], found[use.node]) for use in uses]
    return [
        None if None in pair or (use.kind in IMAGES and pair.source.axis) else pair
        for use, pair in zip(uses, pairs, strict=True)
    ]


def _row_axis(two: Node, three: Node) -> RowAxis | None:
    """The only axis that has two thirds of the length in a graph of two rows."""
    shapes = shape_of(two), shape_of(three)
    if len(shapes[0]) != len(shapes[1]):
        return None
    longer = [i for i, (a, b) in enumerate(zip(*shapes, strict=True)) if a != b]
    if len(longer) != 1 or 3 * shapes[0][longer[0]] != 2 * shapes[1][longer[0]]:
        return None
    return RowAxis(longer[0], shapes[0][longer[0]] // 2, True)


def _ordered(
    outputs: Float[Tensor, "n o"], axes: dict[Node, RowAxis | None]
) -> dict[Node, RowAxis | None]:
    """With rows on the outer or inner side, as the gradients of two equal rows tell."""
    nodes = [node for node, axis in axes.items() if axis is not None]
    if not nodes or outputs.is_meta:
        return axes
    places, gradients = edges(nodes), []
    for row in range(2):
        signal = torch.zeros_like(outputs)
        signal[row] = torch.linspace(0.5, 1.5, outputs.shape[1]).to(outputs)
        options = dict(materialize_grads=True, retain_graph=True)
        gradients.append(torch.autograd.grad(outputs, places, signal, **options))
    return axes | {n: _side(axes[n], *pair) for n, *pair in zip(nodes, *gradients, strict=True)}


def _side(axis: RowAxis, first: Tensor, second: Tensor) -> RowAxis | None:
    """The side on which each row has its own gradient, and both the same; None if there is none.

    A gradient that is zero tells no side, where there are several places.
    """
    if axis.places > 1 and not first.any():
        return None
    for outer in (True, False):
        candidate = axis._replace(outer=outer)
        (mine, other), (another, same) = (candidate.rows_first(g, 2) for g in (first, second))
        apart = not other.any() and not another.any()
        if apart and (mine - same).norm() <= ALIKE * mine.norm():
            return candidate
    return None
