"""What is measured on an infinitely wide network: counterparts of `measurements`, in float64."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from .inputs import circle_point, load_probe
from .limits import limit_kernels
from .storage import Array, StageFile

LimitMeasurement = Callable[[Mapping[str, Any], nn.Module, StageFile, str], dict[str, Array]]


def measure_limit(
    entries: Sequence[Mapping[str, Any]], network: nn.Module, data: StageFile, device: str
) -> dict[str, Array]:
    """Measurements of the infinitely wide version of a network.

    Args:
        entries: measurement blocks of the configuration; `kind` picks the function.
        network: the architecture; its widths do not matter.
        data: the data set's file.
        device: where to compute.

    Returns:
        `kind/name` to array, coordinates of its axes included.
    """
    arrays: dict[str, Array] = {}
    for entry in entries:
        arrays |= LIMIT_MEASUREMENTS[entry["kind"]](entry, network, data, device)
    return arrays


def _profile(entry, network, data: StageFile, device: str) -> dict[str, Array]:
    """Limit NTK Theta(x0, x(gamma))."""
    where = dict(dtype=torch.float64, device=device)
    anchor, probe = circle_point(entry["anchor_angle"], **where), load_probe(data, **where)
    theta = limit_kernels(network, anchor, probe).ntk[0]
    return {
        "profile/gamma": data.array("probe/gamma"),
        "profile/theta": Array(theta.cpu().numpy(), ["gamma"], "limit NTK, per output"),
    }


LIMIT_MEASUREMENTS: dict[str, LimitMeasurement] = {"profile": _profile}
