"""What a forward pass changes in the attributes of a network is put back."""

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from operator import is_
from typing import Any

from torch import Tensor, nn

CONTAINERS = frozenset([list, dict, set, deque, OrderedDict])
# What every module has: tensors, which are swapped for a call, parts and hooks.
COMMON = frozenset(vars(nn.Module()))


@contextmanager
def kept_attributes(layers: Iterable[nn.Module]) -> Iterator[None]:
    """Inside, a network may write into its attributes: counts, states, caches, and tensors.

    At the end attributes are the objects that they were, lists, sets and dictionaries among them
    hold what they held, and tensors that are no parameters the same numbers.
    """
    before, contents = [], {}
    for layer in layers:
        attributes = vars(layer)
        before.append((attributes, attributes.copy()))
        for name in attributes.keys() - COMMON:
            value = attributes[name]
            if type(value) in CONTAINERS and id(value) not in contents:
                _gather(value, contents)
            elif type(value) is Tensor and not value.requires_grad:
                attributes[name] = value.clone()
    try:
        yield
    finally:
        for attributes, old in before:
            _put_back(attributes, old)
        for container, old in contents.values():
            _put_back(container, old)


def _gather(container: Any, contents: dict[int, tuple]) -> None:
    """The container and those that it holds, each with a copy; it may hold itself."""
    contents[id(container)] = container, container.copy()
    if not container:
        return
    for value in container.values() if isinstance(container, dict) else container:
        if type(value) in CONTAINERS and id(value) not in contents:
            _gather(value, contents)


def _put_back(container: Any, old: Any) -> None:
    """The objects that it held, in their order."""
    if _is_as_before(container, old):
        return
    container.clear()
    if isinstance(container, dict | set):
        container.update(old)
    else:
        container.extend(old)


def _is_as_before(container: Any, old: Any) -> bool:
    if len(container) != len(old):
        return False
    if isinstance(container, set):
        return container == old
    if isinstance(container, dict) and not all(map(is_, container.values(), old.values())):
        return False
    return all(map(is_, container, old))
