"""Nodes of an autograd graph, and which of them are made of parameters alone."""

from collections.abc import Callable, Container, Mapping
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.graph import GradientEdge

# A torch.autograd.graph.Node, or one of C++ that is not registered as such.
Node = Any
# Shapes of what nodes return, by their place in a walk.
Shapes = Mapping[int, list[torch.Size]]


class Walk(NamedTuple):
    """Nodes, what they come from first, and for those of parameters alone the names of these."""

    nodes: list[Node]
    sources: dict[Node, frozenset[str]]


class Made(NamedTuple):
    """A tensor that is made of the named parameters alone: a position, a normalised weight."""

    edge: GradientEdge
    sources: frozenset[str]


def walk(root: Node | None, name_of: Callable[[Node], str | None]) -> Walk:
    """Walk from the last node to the parameters.

    `name_of` gives the parameter that a node hands on, if it does nothing else.
    """
    nodes = visit(root, name_of)
    return Walk(nodes, _sources(nodes, name_of))


def visit(
    root: Node | None, name_of: Callable[[Node], str | None], stop: Container = ()
) -> list[Node]:
    """The nodes of `walk`, but for those where `stop` says and what only they come from."""
    nodes, stack = [], [] if root is None else [(root, iter(root.next_functions))]
    seen = {None, root}
    while stack:
        node, parents = stack[-1]
        for parent, _ in parents:
            if parent not in seen and parent not in stop and not _is_leaf(parent, name_of):
                seen.add(parent)
                stack.append((parent, iter(parent.next_functions)))
                break
        else:
            nodes.append(node)
            stack.pop()
    return nodes


def _is_leaf(node: Node, name_of: Callable[[Node], str | None]) -> bool:
    return hasattr(node, "variable") or name_of(node) is not None


def _sources(
    nodes: list[Node], name_of: Callable[[Node], str | None]
) -> dict[Node, frozenset[str]]:
    found: dict[Node, frozenset[str]] = {}
    for node in nodes:
        sources: frozenset[str] = frozenset()
        for parent, _ in node.next_functions:
            if parent is None:
                continue
            name = name_of(parent)
            if not name and parent not in found:
                break
            sources |= found.get(parent, frozenset()) | ({name} if name else set())
        else:
            found[node] = sources
    return {node: names for node, names in found.items() if names}


def same_for_all_rows(walks: tuple[Walk, Walk]) -> Shapes:
    """Nodes of parameters alone whose shapes are the same in graphs of two numbers of rows."""
    one, other = walks
    if len(one.nodes) != len(other.nodes):
        return {}
    pairs = enumerate(zip(one.nodes, other.nodes, strict=True))
    alone = {i: pair for i, pair in pairs if pair[0] in one.sources and pair[1] in other.sources}
    return {i: shapes_of(a) for i, (a, b) in alone.items() if shapes_of(a) == shapes_of(b)}


def find_made(walk: Walk, shapes: Shapes) -> dict[Node, int]:
    """The nodes that are meant, with their places in the walk."""
    places = [i for i in shapes if i < len(walk.nodes) and walk.nodes[i] in walk.sources]
    return {walk.nodes[i]: i for i in places if shapes_of(walk.nodes[i]) == shapes[i]}


def shapes_of(node: Node) -> list[torch.Size]:
    """Shapes of all that a node's operation returns."""
    return [torch.Size(each.shape) for each in node._input_metadata]


def pulled_back(made: Made, rows: Float[Tensor, "s n p"], leaf: Tensor) -> Float[Tensor, "s n q"]:
    """Gradients of a parameter from those of what is made of it."""
    like = made.edge.node._input_metadata[made.edge.output_nr]
    signals = rows.to(like.dtype).reshape(-1, *like.shape)
    put_back = _put_back(made.edge.node, signals, leaf)
    if put_back is not None:
        return put_back.reshape(*rows.shape[:2], -1).to(rows.dtype)

    def pull(signal: Tensor) -> Tensor:
        options = dict(retain_graph=True, materialize_grads=True)
        return torch.autograd.grad([made.edge], [leaf], [signal], **options)[0]

    try:
        found = torch.func.vmap(pull)(signals)
    except Exception:  # what a network's own backward raises for numbers that are not there
        found = torch.stack([pull(signal) for signal in signals])
    return found.reshape(*rows.shape[:2], -1).to(rows.dtype)


def _put_back(node: Node, signals: Float[Tensor, "b *dims"], leaf: Tensor) -> Tensor | None:
    """Gradients of a table whose rows are taken and laid out anew; None of anything else.

    So are biases of relative positions. In general, torch adds up such rows one by one.
    """
    while not hasattr(node, "variable"):
        (parent, number), *others = node.next_functions
        if others or parent is None or number:
            return None
        shape = parent.variable.shape if hasattr(parent, "variable") else shapes_of(parent)[0]
        kind = node.name().rstrip("0123456789").removesuffix("Backward")
        if kind == "Permute":
            axes = [_signed(axis) % len(shape) for axis in node._saved_dims]
            signals = signals.permute(0, *(1 + axes.index(axis) for axis in range(len(shape))))
        elif kind == "Index" and len(node._saved_indices) == 1 and _counts(node._saved_indices[0]):
            (index,) = node._saved_indices
            taken = signals.flatten(1, index.ndim)
            signals = signals.new_zeros(len(signals), *shape)
            signals.index_add_(1, index.flatten() % shape[0], taken)
        elif kind in ("Clone", "View", "ReshapeAlias", "UnsafeView", "Unsqueeze", "Squeeze"):
            signals = signals.reshape(len(signals), *shape)
        else:
            return None
        node = parent
    return signals if node.variable is leaf else None


def _counts(index: Tensor | None) -> bool:
    """Whether it holds numbers of rows, not truth values."""
    return index is not None and index.dtype == torch.int64 and index.ndim > 0


def summed_lengths(node: Node) -> tuple[int, ...]:
    """Lengths of the axes that a sum or a mean goes over."""
    shape = node._saved_self_sym_sizes
    axes = getattr(node, "_saved_dim", None)
    # Without an axis all are meant. Autograd keeps axes as numbers without a sign.
    return tuple(shape) if not axes else tuple(shape[_signed(axis)] for axis in axes)


def _signed(axis: int) -> int:
    """An axis from the end, which a node keeps as a number of 64 bits without a sign."""
    return axis - 2**64 if axis >= 2**63 else axis
