"""Whether two readings of one network found the same nodes."""

from dataclasses import fields

import torch
from torch import Tensor

from .linear import Code
from .nodes import Node
from .taps import Taps


def same_nodes(ones: list[Node], others: list[Node]) -> bool:
    """Whether two programs are the same, but for the numbers that they read."""
    return len(ones) == len(others) and all(map(_same_node, ones, others))


def _same_node(one: Node, other: Node) -> bool:
    if type(one) is not type(other):
        return False
    names = [field.name for field in fields(one) if field.init]
    return all(_alike(getattr(one, name), getattr(other, name)) for name in names)


def _alike(one: object, other: object) -> bool:
    """Whether two options agree; functions and the keys of constants do."""
    if isinstance(one, Node):
        return one.index == other.index
    if isinstance(one, Taps):
        return one.source_places == other.source_places and one.agrees(other)
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and torch.equal(one, other)
    if isinstance(one, tuple) and not isinstance(one, Code):
        return len(one) == len(other) and all(map(_alike, one, other))
    return one == other if isinstance(one, int | float | str) else True
