"""What a forward pass changes in the attributes of a network is put back, or refused."""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from operator import is_
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UnsupportedLayerError

CONTAINERS = (list, dict, set, deque)
# What every module has, and the tables among it that are put back.
COMMON = frozenset(vars(nn.Module()))
UNCHANGEABLE = frozenset([bool, int, float, str, type(None)])
TABLES = ("_parameters", "_buffers", "_modules")
# Objects of a container, and numbers of all tensors, that are kept: of what is larger it is only
# noticed that it was changed.
MOST, MOST_NUMBERS = 1000, 2**16


@contextmanager
def kept_attributes(layers: Iterable[nn.Module]) -> Iterator[None]:
    """Inside, a network may give its attributes other values: counts, states, caches.

    At the end attributes are the objects that they were; lists, sets, deques and dictionaries among
    them hold what they held, and tensors the same numbers.

    Raises:
        UnsupportedLayerError: if a tensor that is neither parameter nor buffer was written into, of
            more than 65,536 numbers together, or a container of more than 1000 objects has another
            length.
    """
    layers = list(layers)
    attributes = [vars(layer) for layer in layers]
    found = (held.get(name) for held in attributes for name in TABLES)
    inner = [each for each in found if isinstance(each, dict)]  # not if scripted
    tables = [(table, table.copy()) for table in attributes + inner]
    watched = _Watched()
    for layer, held in zip(layers, attributes, strict=True):
        for name, value in held.items():
            if type(value) not in UNCHANGEABLE and name not in COMMON:
                watched.look_at(value, f"{type(layer).__name__}.{name}")
    try:
        yield
    finally:
        for table, old in tables:
            _put_back(table, old)
        changed = watched.put_back()
    if changed is not None:
        raise UnsupportedLayerError(
            f"network: its forward pass writes into {changed}, so the next call has other outputs; "
            "make it a buffer (register_buffer), or give the attribute another value instead"
        )


class _Watched:
    """Containers and tensors with what they held, or what tells whether it is the same."""

    def __init__(self):
        self.contents: dict[int, tuple[Any, Any]] = {}
        self.lengths: list[tuple[Any, int, str]] = []
        self.tensors: dict[int, tuple[Tensor, int, Tensor | None, str]] = {}
        self.room = MOST_NUMBERS

    def look_at(self, value: Any, name: str) -> None:
        """At a value, and at those that it contains, which may contain it."""
        ahead = [value]
        while ahead:
            value = ahead.pop()
            if isinstance(value, Tensor):
                if id(value) not in self.tensors and not value.is_inference():
                    fits = value.numel() <= self.room
                    self.room -= value.numel() * fits
                    kept = value.detach().clone() if fits else None
                    self.tensors[id(value)] = value, value._version, kept, name
            elif isinstance(value, CONTAINERS) and id(value) not in self.contents:
                if len(value) > MOST or len(self.contents) > MOST:
                    self.lengths.append((value, len(value), name))
                    continue
                self.contents[id(value)] = value, _references(value)
                ahead += value.values() if isinstance(value, dict) else value

    def put_back(self) -> str | None:
        """What containers held; the name of something else that was changed, if there is any."""
        for value, old in self.contents.values():
            if isinstance(value, dict):
                _put_back(value, old)
            elif isinstance(value, set):
                value.symmetric_difference_update(value ^ old)
            elif len(value) != len(old) or any(a is not b for a, b in zip(value, old, strict=True)):
                value.clear()
                value.extend(old)
        changed = [name for value, length, name in self.lengths if len(value) != length]
        for tensor, version, kept, name in self.tensors.values():
            if tensor._version != version:
                if kept is None:
                    changed.append(name)
                else:
                    _write(tensor, kept)
        return changed[0] if changed else None


def _references(container: Any) -> Any:
    if isinstance(container, dict):
        return dict(container)
    return set(container) if isinstance(container, set) else list(container)


def _put_back(table: dict[Any, Any], old: dict[Any, Any]) -> None:
    """The objects that a dictionary held, one by one: it is never empty in between."""
    same = len(table) == len(old) and all(map(is_, table, old))
    if same and all(map(is_, table.values(), old.values())):
        return
    for name, value in old.items():
        if name not in table or table[name] is not value:
            table[name] = value
    if len(table) > len(old):
        for name in [name for name in table if name not in old]:
            del table[name]


def _write(tensor: Tensor, old: Tensor) -> None:
    """The numbers that it held; it belongs to no graph again."""
    with torch.no_grad():
        if not tensor.is_leaf:
            tensor.detach_()
        tensor.copy_(old)
