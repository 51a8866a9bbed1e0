"""Types of numbers in which kernels are computed."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import torch

from ..errors import ConfigurationError, first_words


def check_dtype(dtype: object) -> None:
    """Raise a ConfigurationError unless this is a type of real numbers, or None."""
    if dtype is None or (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        return
    raise ConfigurationError(
        f"dtype: {dtype!r} is not allowed; use a floating-point type such as torch.float64"
    )


def summing_type(dtype: torch.dtype) -> torch.dtype:
    """The type that products of numbers of a type are summed in: at least float32."""
    return torch.promote_types(dtype, torch.float32)


@contextmanager
def refusing_type(dtype: torch.dtype | None) -> Iterator[None]:
    """Errors of torch, as a network of a fixed type causes, as one of the type asked for."""
    try:
        yield
    except RuntimeError as error:
        if dtype is None:
            raise
        raise ConfigurationError(
            f"dtype: the network fails in {dtype} ({first_words(error)})"
        ) from error


@contextmanager
def without_autocast() -> Iterator[None]:
    """No autocast, which would round matrix products of float32."""
    with ExitStack() as stack:
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def same_autocast() -> Callable[[], AbstractContextManager]:
    """Autocast as it is now, to be entered later."""
    kinds = [kind for kind in ("cpu", "cuda") if torch.is_autocast_enabled(kind)]
    states = [(kind, torch.get_autocast_dtype(kind)) for kind in kinds]

    @contextmanager
    def entered() -> Iterator[None]:
        with ExitStack() as stack:
            for kind, dtype in states:
                stack.enter_context(torch.autocast(kind, dtype=dtype))
            yield

    return entered


@contextmanager
def computing(dtype: torch.dtype | None) -> Iterator[None]:
    """Gradients, also where the caller takes none; a type that was asked for is not cast again."""
    with torch.inference_mode(False), torch.enable_grad(), ExitStack() as stack:
        if dtype is not None:
            stack.enter_context(without_autocast())
        yield
