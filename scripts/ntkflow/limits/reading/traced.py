"""Tensors of a traced forward, which stand in for those of numbers."""

from collections.abc import Callable, Iterator

from torch import Tensor


class Traced(Tensor):
    """A tensor of a traced forward, with the row of each of its elements."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        tracer = next(e for e in flat((args, kwargs)) if isinstance(e, Traced)).tracer
        return tracer.call(function, args, kwargs)


class Memory:
    """What views of one tensor share: how often it was written into."""

    version = 0


class Data(Traced):
    """A tensor that depends on the inputs alone, with its numbers as `value`."""


class Lifted(Traced):
    """A tensor that depends on weights, with its elements as `ids`."""


def flat(nested: object) -> Iterator[object]:
    """All members of nested tuples, lists and dictionaries."""
    if isinstance(nested, tuple | list):
        for each in nested:
            yield from flat(each)
    elif isinstance(nested, dict):
        yield from flat(list(nested.values()))
    else:
        yield nested


def mapped(nested: object, change: Callable) -> object:
    """Nested tuples, lists and dictionaries with every member changed."""
    if isinstance(nested, tuple) and hasattr(nested, "_fields"):
        return type(nested)(*(mapped(each, change) for each in nested))
    if isinstance(nested, tuple | list):
        return type(nested)(mapped(each, change) for each in nested)
    if isinstance(nested, dict):
        return {key: mapped(each, change) for key, each in nested.items()}
    return change(nested)
