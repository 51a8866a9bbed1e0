"""Checks of the tensors that a user hands to the library; errors name the argument."""

import math
import numbers
import operator
from collections.abc import Iterable, Mapping
from types import EllipsisType

import numpy as np
from torch import Tensor, nn

from .errors import ConfigurationError, KernelError, unknown


def check_tensors(**arguments: object) -> None:
    """Raise a ConfigurationError unless every argument is a tensor; None is passed over."""
    for name, value in arguments.items():
        if value is not None and not isinstance(value, Tensor):
            hint = ", its values" if isinstance(getattr(value, "values", None), Tensor) else ""
            raise ConfigurationError(
                f"{name}: {type(value).__name__} is not allowed; use a torch.Tensor{hint}"
            )


def check_shape(name: str, values: Tensor, *sizes: int | EllipsisType | None) -> None:
    """Raise a KernelError unless `values` has these axes: None is any size, a last `...` any axes.

    `check_shape("targets", y, 4, ...)` takes (4,), (4, 1) and (4, 10).
    """
    check_tensors(**{name: values})
    more = sizes[-1] is ...
    wanted = sizes[:-1] if more else sizes
    found = values.shape[: len(wanted)] if more else values.shape
    fits = len(found) == len(wanted)
    if not fits or any(w not in (None, f) for w, f in zip(wanted, found, strict=True)):
        words = ["..." if size is ... else "any" if size is None else str(size) for size in sizes]
        allowed = ", ".join(words) + "," * (len(words) == 1)
        raise KernelError(f"{name}: shape {tuple(values.shape)} is not allowed; use ({allowed})")


def check_names(network: nn.Module, parameters: Mapping[str, Tensor]) -> None:
    """Raise a ConfigurationError unless these are all parameters of a network, and all are free."""
    known = dict(network.named_parameters())
    for name in sorted(known.keys() ^ parameters.keys()):
        problem = "is missing" if name in known else "is no parameter of the network"
        raise ConfigurationError(f"parameters: {name!r} {problem}; use {', '.join(known)}")
    frozen = [name for name, p in known.items() if not p.requires_grad]
    if frozen:
        raise ConfigurationError(
            f"parameters: {frozen[0]!r} requires no gradient, but every parameter is trained; "
            "use a network whose parameters all require one"
        )


def check_real(name: str, values: Tensor) -> None:
    """Raise a ConfigurationError for complex numbers."""
    if values.is_complex():
        raise ConfigurationError(f"{name}: type {values.dtype} is not allowed; use real numbers")


def check_labels(name: str, labels: Tensor, count: int, classes: int) -> None:
    """Raise a KernelError or ConfigurationError unless these are `count` whole labels 0 ..."""
    check_shape(name, labels, count)
    if labels.is_floating_point() or labels.is_complex():
        raise ConfigurationError(f"{name}: type {labels.dtype} is not allowed; use whole numbers")
    if not labels.is_meta and len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        found = labels[(labels < 0) | (labels >= classes)][0].item()
        raise ConfigurationError(f"{name}: {found} is not allowed; use 0 ... {classes - 1}")


def check_choice(name: str, value: str, known: Iterable[str]) -> None:
    """Raise a ConfigurationError unless the value is one of those known."""
    if value not in known:
        raise unknown(name, value, list(known))


def check_positive(name: str, value: float | int) -> None:
    """Raise a ConfigurationError unless the number is > 0."""
    if not _is_number(value) or not value > 0:
        raise ConfigurationError(f"{name}: {value!r} is not allowed; use a number > 0")


def as_whole(name: str, value: object, least: int, most: int | None = None) -> int:
    """A whole number of Python, NumPy or torch, between these or equal to one of them.

    Raises:
        ConfigurationError: if it is another number, or something else.
    """
    whole = not isinstance(value, bool) and hasattr(value, "__index__")
    try:
        number = operator.index(value) if whole else None
    except TypeError:  # a tensor of floating-point numbers, or of several
        number = None
    if number is None or number < least or (most is not None and number > most):
        allowed = f"from {least} on" if most is None else f"from {least} to {most}"
        raise ConfigurationError(f"{name}: {value!r} is not allowed; use a whole number {allowed}")
    return number


def check_not_negative(name: str, value: float | int) -> None:
    """Raise a ConfigurationError unless the number is >= 0."""
    if not _is_number(value) or not value >= 0:
        raise ConfigurationError(f"{name}: {value!r} is not allowed; use a number >= 0")


def check_ridge(name: str, value: float | int) -> None:
    """Raise a ConfigurationError unless the number is finite and >= 0."""
    check_not_negative(name, value)
    if not math.isfinite(value):
        raise ConfigurationError(f"{name}: {value!r} is not allowed; use a finite number >= 0")


def _is_number(value: object) -> bool:
    """Whether it compares with numbers: '1e-3', which YAML makes of 1e-3, does not."""
    return isinstance(value, numbers.Real | Tensor | np.generic) and not isinstance(value, bool)
