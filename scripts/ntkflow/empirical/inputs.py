"""Inputs of a network: one tensor, or several arguments that are handled like one."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree

from ..errors import ConfigurationError

# What a user may give in place of one tensor.
Several = tuple | list | Mapping

SAME_FOR_ALL = (type(None), bool, int, float, str)
NEEDED = "use tensors in a tuple or dict, or a torch.Tensor"


@dataclass(frozen=True)
class Arguments:
    """Arguments of a network, rows first in every tensor, used as if they were one tensor of rows.

    Attributes:
        tensors: what has rows, by number or keyword.
        constants: what is the same for all rows, by number or keyword.
    """

    tensors: dict[int | str, Any]
    constants: dict[int | str, Any]

    def map(self, function: Callable[[Tensor], Tensor]) -> "Arguments":
        """A function of every tensor; constants stay."""
        changed = {key: function(tensor) for key, tensor in self.tensors.items()}
        return Arguments(changed, self.constants)

    def pass_to(self, function: Callable) -> Any:
        """What the function returns for these arguments."""
        everything = self.constants | self.tensors
        if 0 in everything:
            return function(*(everything[number] for number in range(len(everything))))
        return function(**everything)

    def __len__(self) -> int:
        return len(self._first)

    def __getitem__(self, index: slice | int | list[int] | None) -> "Arguments":
        return self.map(lambda tensor: tensor[index])

    def clone(self) -> "Arguments":
        """Tensors that may be written into."""
        return self.map(Tensor.clone)

    def numel(self) -> int:
        """How many numbers there are in all tensors."""
        return sum(tensor.numel() for tensor in self.tensors.values())

    def as_given(self) -> tuple | dict[str, Any]:
        """In the form in which a user gives them."""
        return self.pass_to(lambda *args, **named: named or args)

    @property
    def device(self) -> torch.device:
        """Of the first tensor."""
        return self._first.device

    @property
    def is_meta(self) -> bool:
        """Whether there are no values."""
        return self._first.is_meta

    @property
    def _first(self) -> Tensor:
        return next(iter(self.tensors.values()))


def _flatten(x: Arguments) -> tuple[list, tuple]:
    return list(x.tensors.values()), (list(x.tensors), x.constants)


def _unflatten(tensors: Iterable[Any], context: tuple) -> Arguments:
    keys, constants = context
    return Arguments(dict(zip(keys, tensors, strict=True)), constants)


# torch.func.vmap takes the rows of every tensor; constants belong to the structure.
_pytree.register_pytree_node(Arguments, _flatten, _unflatten)

Inputs = Tensor | Arguments


def as_inputs(name: str, x: object) -> Inputs:
    """A tensor as it is; a tuple or list as positional and a dict as keyword arguments.

    Raises:
        ConfigurationError: if a member is neither a tensor of as many rows nor a plain constant, or
            there are no rows; the message names it.
    """
    inputs, labelled = gathered(name, x), {name: x}
    if isinstance(inputs, Arguments):
        labelled = {f"{name}[{key!r}]": tensor for key, tensor in inputs.tensors.items()}
    first = next(iter(labelled))
    for label, tensor in labelled.items():
        if tensor.is_nested or tensor.layout is not torch.strided:
            kind = "nested" if tensor.is_nested else str(tensor.layout).removeprefix("torch.")
            raise ConfigurationError(
                f"{label}: a {kind} tensor is not allowed; use a dense one (to_dense(), or padding "
                "and a mask)"
            )
        if tensor.ndim == 0:
            raise ConfigurationError(f"{label}: a tensor without axes has no rows; give rows first")
        if len(tensor) != len(labelled[first]):
            raise ConfigurationError(
                f"{label}: {len(tensor)} row(s), but {first} has {len(labelled[first])}; expand "
                "what is the same for all rows, and stack rows that are given as a list"
            )
    if len(inputs) == 0:
        raise ConfigurationError(f"{name}: no rows; give at least one input")
    return inputs


def gathered(name: str, x: object) -> Inputs:
    """The same without a look at the rows."""
    if isinstance(x, Inputs):
        return x
    if not isinstance(x, Several):
        hint = ", its values" if isinstance(getattr(x, "values", None), Tensor) else ""
        raise ConfigurationError(f"{name}: {type(x).__name__} is not allowed; {NEEDED}{hint}")
    members = dict(x) if isinstance(x, Mapping) else dict(enumerate(x))
    for key, each in members.items():
        if isinstance(x, Mapping) and not isinstance(key, str):
            raise ConfigurationError(f"{name}: key {key!r} is not allowed; use names of arguments")
        if not isinstance(each, (Tensor, *SAME_FOR_ALL)):
            raise ConfigurationError(
                f"{name}[{key!r}]: {type(each).__name__} is not allowed; use a torch.Tensor with "
                "rows first, or None, a number or a string that is the same for all rows"
            )
    tensors = {key: each for key, each in members.items() if isinstance(each, Tensor)}
    if not tensors:
        raise ConfigurationError(f"{name}: holds no tensor; {NEEDED}")
    constants = {key: each for key, each in members.items() if key not in tensors}
    return Arguments(tensors, constants)


def call(function: Callable, x: Inputs) -> Any:
    """What the function returns for a tensor, or for several arguments."""
    return function(x) if isinstance(x, Tensor) else x.pass_to(function)


def refuse_call(name: str, x: Inputs, error: Exception) -> None:
    """Raise a ConfigurationError if the error is that of a call with the wrong arguments."""
    if isinstance(x, Arguments) and isinstance(error, TypeError):
        words = str(error).splitlines()[0]
        raise ConfigurationError(
            f"{name}: {words}; a tuple or list is several arguments, a dict keywords, "
            "and rows in a list are stacked to one tensor"
        ) from error


def apply(change: Callable[[Tensor], Tensor], x: Inputs) -> Inputs:
    """A tensor, or every tensor of several arguments, changed."""
    return change(x) if isinstance(x, Tensor) else x.map(change)


def in_type(x: Inputs, dtype: torch.dtype) -> Inputs:
    """In another type, unless it holds integers or complex numbers."""
    return apply(lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor, x)


def in_double(x: Inputs) -> Inputs:
    """In float64."""
    return in_type(x, torch.float64)


def constant(x: Inputs) -> Inputs:
    """The values without their graph, also those of a tensor made in inference mode."""
    return apply(lambda tensor: tensor.clone() if tensor.is_inference() else tensor.detach(), x)


def shapes_of_rows(x: Inputs) -> tuple:
    """Shapes of what a row holds, by number or keyword."""
    members = {0: x} if isinstance(x, Tensor) else x.tensors
    return tuple((key, tensor.shape[1:]) for key, tensor in members.items())


def same_rows(x: Inputs, other: Inputs) -> bool:
    """Whether two inputs are of one form and hold the same numbers, constants too."""
    mine, theirs = (Arguments({0: x}, {}) if isinstance(x, Tensor) else x for x in (x, other))
    if mine.tensors.keys() != theirs.tensors.keys() or mine.constants != theirs.constants:
        return False
    pairs = [(tensor, theirs.tensors[key]) for key, tensor in mine.tensors.items()]
    return all(a.dtype == b.dtype and torch.equal(a, b) for a, b in pairs)
