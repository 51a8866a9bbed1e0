"""Complex parameters as pairs of real numbers, by which their networks are differentiated."""

from collections.abc import Callable, Collection, Mapping

import torch
from torch import Tensor


def as_real(tensor: Tensor) -> Tensor:
    """A complex tensor (*d) as its real and imaginary parts (*d, 2), another as it is."""
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def put_together(named: Mapping[str, Tensor], names: Collection[str]) -> dict[str, Tensor]:
    """With the parts of these tensors as complex numbers."""
    return {
        name: torch.view_as_complex(value) if name in names else value
        for name, value in named.items()
    }


def in_precision(tensor: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
    """In a type of real numbers, a complex tensor in that of two of them; whole numbers stay."""
    if tensor.is_complex():
        return tensor.to(dtype.to_complex())
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def hook_of(tensor: Tensor, hook: Callable) -> Callable:
    """A hook of a parameter for the gradient of its parts, in any type."""

    def of_parts(gradient: Tensor) -> Tensor | None:
        whole = torch.view_as_complex(gradient.contiguous()) if tensor.is_complex() else gradient
        found = hook(whole)
        return None if found is None else as_real(found).to(gradient.dtype)

    return of_parts
