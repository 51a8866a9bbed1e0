"""Which parameters and outputs of a network are meant, in every form that people give them."""

import operator
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, SupportsIndex

from torch import Tensor, nn

from ..checks import check_tensors
from ..errors import ConfigurationError

SINGLE = str | nn.Module | Tensor
Outputs = str | SupportsIndex | Iterable[SupportsIndex]


def select_parameters(module: nn.Module, wanted: Any) -> dict[str, Tensor]:
    """Name to tensor of the parameters that are differentiated.

    Args:
        module: the network.
        wanted: None for those that require a gradient; name to tensor; a name or a pattern
            ("head.*"); a part of the module; a parameter; or several of the last four, or pairs as
            `named_parameters` gives them.

    Raises:
        ConfigurationError: if the network has no such parameter, or the shape is another.
    """
    wanted = as_mapping(wanted)
    if wanted is None:
        chosen = {name: p for name, p in module.named_parameters() if p.requires_grad}
        if not chosen:
            raise ConfigurationError("parameters: no parameter of the network requires a gradient")
    elif isinstance(wanted, Mapping):
        chosen = dict(wanted)
        _check_names(module, chosen)
    else:
        chosen = {}
        for each in [wanted] if isinstance(wanted, SINGLE) else _items(wanted):
            chosen |= _matching(module, each)
    if not chosen:
        raise ConfigurationError("parameters: none is given; the kernel needs at least one")
    return chosen


def as_mapping(wanted: Any) -> Any:
    """Pairs of names and tensors, as `named_parameters` gives them, as a mapping; others as a list.

    What is one thing stays as it is.
    """
    if wanted is None or isinstance(wanted, Mapping | SINGLE) or not isinstance(wanted, Iterable):
        return wanted
    given = list(wanted)
    pairs = given and all(isinstance(each, tuple) and len(each) == 2 for each in given)
    return dict(given) if pairs else given


def _items(wanted: Any) -> Iterable:
    if not isinstance(wanted, Iterable):
        raise ConfigurationError(
            f"parameters: {type(wanted).__name__} is not allowed; use name to tensor, names or "
            "patterns ('head.*'), a part of the network, or its parameters"
        )
    return wanted


def _check_names(module: nn.Module, given: Mapping[str, Tensor]) -> None:
    known = dict(module.named_parameters(remove_duplicate=False))
    for name, value in given.items():
        if name not in known:
            raise ConfigurationError(f"parameters: the network has no parameter {name!r}")
        check_tensors(**{f"parameters[{name!r}]": value})
        if value.shape != known[name].shape:
            raise ConfigurationError(
                f"parameters: {name!r} has shape {tuple(value.shape)}; "
                f"use {tuple(known[name].shape)}"
            )


def _matching(module: nn.Module, wanted: object) -> dict[str, Tensor]:
    """Parameters of one name, pattern, part or tensor; a shared one under its first name."""
    first = {id(p): name for name, p in module.named_parameters()}
    if isinstance(wanted, str):
        every = module.named_parameters(remove_duplicate=False)
        found = [p for name, p in every if name == wanted or fnmatchcase(name, wanted)]
        label = repr(wanted)
    elif isinstance(wanted, nn.Module):
        found, label = list(wanted.parameters()), f"of that {type(wanted).__name__}"
    else:
        found, label = [wanted], f"that is this {type(wanted).__name__}"
    if not found or any(id(p) not in first for p in found):
        raise ConfigurationError(f"parameters: the network has no parameter {label}")
    return {first[id(p)]: p for p in found}


def read_outputs(outputs: Outputs, count: int, conventions: Iterable[str]) -> str | int | list[int]:
    """A convention, the number of one output, or those of several different ones.

    Raises:
        ConfigurationError: if they are neither outputs below `count` nor a convention.
    """
    if isinstance(outputs, str) and outputs in conventions:
        return outputs
    found = _indices(outputs)
    chosen = found if isinstance(found, list) else [found]
    allowed = chosen and None not in chosen and all(-count <= o < count for o in chosen)
    if not allowed or len({o % count for o in chosen}) < len(chosen):
        raise ConfigurationError(
            f"outputs: {outputs!r} is not allowed; use {', '.join(map(repr, conventions))}, "
            f"an output below {count}, or a list of different ones"
        )
    return found


def _indices(outputs: object) -> int | list[int] | None:
    """The number or numbers given, of Python, NumPy or torch; None if they are none."""
    if _is_single(outputs):
        return operator.index(outputs)
    if isinstance(outputs, str) or not isinstance(outputs, Iterable):
        return None
    each = list(outputs)
    return list(map(operator.index, each)) if all(map(_is_single, each)) else None


def _is_single(outputs: object) -> bool:
    whole = isinstance(outputs, SupportsIndex) and not isinstance(outputs, bool)
    return whole and getattr(outputs, "ndim", 0) == 0
