"""Make the measurements that a job was asked for, and arrange them as the arrays of one file."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ntkflow.errors import ConfigurationError
from ntkflow.networks import has_modes

from ..data.dataset import DataSet
from ..data.storage import Array
from ..data.tables import WIDE
from ..needs import ONE_MODE
from ..options import read_options
from ..registry import MEASUREMENTS, STAGE_AXES, Measurement
from .pace import told


def measure(
    entries: Sequence[Mapping[str, Any]], when: str, subject: Any, data: DataSet
) -> dict[str, Array]:
    """Measurements of one subject.

    Args:
        entries: measurement blocks of the configuration.
        when: the moment, of `registry.WHEN`.
        subject: what that moment's measurements are made on, see `registry.measurement`.
        data: the data set.

    Returns:
        `kind/name` to array, coordinates of axes included; NaN for a diverged network. Networks
        have a leading axis `seed`.

    Raises:
        ConfigurationError: if a network of one's own has dropout or batch normalisation, and a
            measurement does not take such.
        ConfigurationError: if a measurement returns other axes than it declares.
    """
    arrays: dict[str, Array] = {}
    with torch.no_grad():
        for entry in told(entries, lambda entry: entry["kind"]):
            found = _measure(MEASUREMENTS[entry["kind"]], entry, when, subject, data)
            arrays |= {f"{entry['kind']}/{name}": array for name, array in found.items()}
    return arrays


def _measure(
    kind: Measurement, entry: Mapping[str, Any], when: str, subject: Any, data: DataSet
) -> Mapping[str, Array]:
    options, variant = read_options(kind.options, entry), kind.variants[when]
    # A plan does not see into a module of one's own.
    network = getattr(subject, "network", None)
    if ONE_MODE in variant.needs and network is not None and has_modes(network):
        raise ConfigurationError(
            f"measurements.kind: {kind.name!r} ({when}) is not allowed here: it needs "
            f"{ONE_MODE.text}"
        )
    if variant.each:
        found = stack(
            [variant.measure(options, one, data) for one in told(subject, "network")], "seed"
        )
    else:
        found = variant.measure(options, subject, data)
    declared = {data.axis if axis == "probe" else axis for axis in variant.axes}
    axes = {axis for array in found.values() for axis in array.dims} - {*WIDE, *STAGE_AXES[when]}
    if axes != declared - set(STAGE_AXES[when]):
        raise ConfigurationError(
            f"{kind.module}: measurement {kind.name!r} ({when}) has the axes {sorted(axes)}, but "
            f"declares {sorted(declared)}; allowed: the same axes"
        )
    return found


def stack(each: Sequence[Mapping[str, Array]], axis: str) -> dict[str, Array]:
    """Stack equal measurements along a new leading axis; coordinates are kept once."""
    return {
        name: array
        if _is_coordinate(name, array)
        else Array(np.stack([one[name].values for one in each]), [axis, *array.dims], array.units)
        for name, array in each[0].items()
    }


def _is_coordinate(name: str, array: Array) -> bool:
    return list(array.dims) == [name.split("/")[-1]]


def drop_seed(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Measurements of an ensemble of one, without its axis."""
    return {
        name: Array(np.asarray(array.values[0]), array.dims[1:], array.units)
        if "seed" in array.dims
        else array
        for name, array in arrays.items()
    }


def join(parts: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """Measurements of several groups of seeds as those of one."""
    return {
        name: Array(np.concatenate([part[name].values for part in parts]), array.dims, array.units)
        if "seed" in array.dims
        else array
        for name, array in parts[0].items()
    }


def add_steps(
    arrays: Mapping[str, Array], entries: Sequence[Mapping[str, Any]], steps: Sequence[int]
) -> dict[str, Array]:
    """Arrays with the coordinate `step` in every measurement's group."""
    coordinate = Array(np.asarray(steps), ["step"], "gradient steps")
    return {**arrays, **{f"{entry['kind']}/step": coordinate for entry in entries}}
