"""Loops that numba compiles, where tensor operations would pass through memory too often."""

import inspect
from collections.abc import Callable

import numba


def compiled(function: Callable, **options: object) -> Callable:
    """Compile a function that holds no Python objects; other threads run meanwhile.

    Args:
        function: without the checks of shapes that tests wrap around it.
        options: further ones of `numba.njit`.
    """
    function = inspect.unwrap(function)
    try:
        return numba.njit(function, nogil=True, cache=True, **options)
    except RuntimeError:  # nowhere to write the cache: compiled anew in every process
        return numba.njit(function, nogil=True, **options)
