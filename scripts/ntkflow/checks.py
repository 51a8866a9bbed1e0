"""Checks of the tensors that a user hands to the library; errors name the argument."""

from collections.abc import Iterable
from types import EllipsisType

from torch import Tensor

from .errors import ConfigurationError, KernelError, unknown


def check_tensors(**arguments: object) -> None:
    """Raise a ConfigurationError unless every argument is a tensor; None is passed over."""
    for name, value in arguments.items():
        if value is not None and not isinstance(value, Tensor):
            hint = ", its values" if hasattr(value, "values") else ""
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


def check_choice(name: str, value: str, known: Iterable[str]) -> None:
    """Raise a ConfigurationError unless the value is one of those known."""
    if value not in known:
        raise unknown(name, value, list(known))


def check_positive(name: str, value: float | int) -> None:
    """Raise a ConfigurationError unless the number is > 0."""
    if not value > 0:
        raise ConfigurationError(f"{name}: {value!r} is not allowed; use a number > 0")


def check_not_negative(name: str, value: float | int) -> None:
    """Raise a ConfigurationError unless the number is >= 0."""
    if not value >= 0:
        raise ConfigurationError(f"{name}: {value!r} is not allowed; use a number >= 0")
