"""Statements of theory, each checked by a small experiment of its own; `CHECKS` lists them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ..data.inputs import load_training_set
from ..data.storage import Array, StageFile
from .components import CHECKS as COMPONENTS
from .curvature import CHECKS as CURVATURE
from .descent import CHECKS as DESCENT
from .initialization import CHECKS as INITIALIZATION
from .kernels import CHECKS as KERNELS
from .setting import Check, Setting
from .stopping import CHECKS as STOPPING

__all__ = ["CHECKS", "Setting", "check_theory"]

CHECKS: dict[str, Check] = {
    **INITIALIZATION,
    **KERNELS,
    **DESCENT,
    **COMPONENTS,
    **CURVATURE,
    **STOPPING,
}


def check_theory(
    entries: Sequence[Mapping[str, Any]],
    network: nn.Module,
    data: StageFile,
    training: Mapping[str, Any],
    device: str,
) -> dict[str, Array]:
    """Results of the checks that an experiment asks for, in float64.

    Args:
        entries: measurement blocks of the configuration; `kind` picks the check.
        network: the architecture, without weights.
        data: the data set's file.
        training: the `training` block of the configuration, or empty.
        device: where to compute.

    Returns:
        `kind/name` to array, coordinates of its axes included.
    """
    x, y = load_training_set(data, dtype=torch.float64, device=device)
    setting = Setting(network, x, y, data, training)
    arrays: dict[str, Array] = {}
    for entry in entries:
        found = CHECKS[entry["kind"]](entry, setting)
        arrays |= {f"{entry['kind']}/{name}": array for name, array in found.items()}
    return arrays
