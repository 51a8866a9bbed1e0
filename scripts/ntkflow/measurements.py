"""What is measured on a finite network: one function per kind of measurement.

Each gives arrays `kind/name`; scripts stack them over steps and seeds. Their counterparts for
infinitely wide networks are in `limit_measurements`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from .empirical import empirical_ntk
from .inputs import circle_point, load_probe
from .storage import Array, StageFile

Measurement = Callable[
    [Mapping[str, Any], nn.Module, dict[str, Tensor], StageFile], dict[str, Array]
]


def measure(
    entries: Sequence[Mapping[str, Any]],
    network: nn.Module,
    parameters: dict[str, Tensor],
    data: StageFile,
) -> dict[str, Array]:
    """Measurements of one network.

    Args:
        entries: measurement blocks of the configuration; `kind` picks the function.
        network: the architecture.
        parameters: weights of one network, by name.
        data: the data set's file.

    Returns:
        `kind/name` to array, coordinates of its axes included.
    """
    arrays: dict[str, Array] = {}
    for entry in entries:
        arrays |= MEASUREMENTS[entry["kind"]](entry, network, parameters, data)
    return arrays


def stack_measurements(each: Sequence[Mapping[str, Array]], dim: str) -> dict[str, Array]:
    """Stack equal measurements along a new leading axis; coordinates are kept once."""
    return {
        name: array
        if _is_coordinate(name, array)
        else Array(np.stack([one[name].values for one in each]), [dim, *array.dims], array.units)
        for name, array in each[0].items()
    }


def _is_coordinate(name: str, array: Array) -> bool:
    return list(array.dims) == [name.split("/")[-1]]


def _profile(entry, network, parameters, data: StageFile) -> dict[str, Array]:
    """Theta(x0, x(gamma)): one vjp at the anchor and one jvp over the circle, never a Jacobian."""
    like = next(iter(parameters.values()))
    where = dict(dtype=like.dtype, device=like.device)
    kernel = empirical_ntk(
        network,
        circle_point(entry["anchor_angle"], **where),
        load_probe(data, **where),
        parameters=parameters,
        outputs="trace",
        method="vector_product",
    )
    return {
        "profile/gamma": data.array("probe/gamma"),
        "profile/theta": Array(kernel.values[0].cpu().numpy(), ["gamma"], kernel.convention),
    }


MEASUREMENTS: dict[str, Measurement] = {"profile": _profile}
