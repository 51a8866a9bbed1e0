"""Checks: a result on the device against one on the CPU in float64, at a stated tolerance."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .parts import Row, Setting

DOUBLE, SINGLE = torch.float64, torch.float32
Values = Sequence[Tensor]


class Check(NamedTuple):
    """Results on a device in a type, and what they should be.

    Attributes:
        name: what is computed.
        found: results, given device and type.
        wanted: the same in float64 on the CPU, where there is one by a slower method.
        tolerances: for each type, the largest difference allowed, over the largest entry.
    """

    name: str
    found: Callable[[torch.device, torch.dtype], Values]
    wanted: Callable[[], Values]
    tolerances: dict[torch.dtype, float]


def run_checks(checks: Iterable[Check], setting: Setting) -> list[Row]:
    """A row for every check and type; an error is a row, too, and stops no other check."""
    return [
        {"check": check.name, "dtype": str(dtype).removeprefix("torch."), "tolerance": tolerance}
        | _outcome(check, setting.place, dtype, tolerance)
        for check in checks
        for dtype, tolerance in check.tolerances.items()
    ]


def _outcome(check: Check, place: torch.device, dtype: torch.dtype, tolerance: float) -> Row:
    try:
        error = difference(check.found(place, dtype), check.wanted(), place)
    except Exception as reason:  # whatever the library or the driver raises is a finding
        return {"error": None, "passed": False, "problem": f"{type(reason).__name__}: {reason}"}
    return {"error": error, "passed": error <= tolerance}


def difference(found: Values, wanted: Values, place: torch.device) -> float:
    """Largest difference over the largest entry, of all pairs of tensors.

    Raises:
        ValueError: if a result is on another device, or is not finite, or too few were computed.
    """
    worst = 0.0
    for each, other in zip(found, wanted, strict=True):
        if each.device.type != place.type:
            raise ValueError(f"the result is on {each.device}, not on {place}")
        gap = (each.detach().cpu().double() - other.double()).abs().max().item()
        if not gap < float("inf"):
            raise ValueError("the result, or what it is compared with, is not finite")
        worst = max(worst, gap / max(other.abs().max().item(), 1e-300))
    return worst


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers that float32 holds exactly, in float64: the same input for both types."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def to_double(network: nn.Module) -> nn.Module:
    """A network drawn in float32, in float64 and evaluation mode: float32 holds it exactly."""
    return network.double().eval()
