"""Options and arrays that measurements share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from ..options import Rule

if TYPE_CHECKING:
    from ..data.storage import Array


@dataclass(frozen=True, kw_only=True)
class Draws:
    """How often chance is asked."""

    draws: Annotated[int, Rule("networks, noises or repetitions that are drawn", minimum=2)] = 20


@dataclass(frozen=True, kw_only=True)
class Ridges:
    """Ridges in units of the kernel."""

    ridges: Annotated[
        list[Annotated[float, Rule(exclusiveMinimum=0)]],
        Rule("over the mean of the kernel's diagonal", minItems=1, uniqueItems=True),
    ]


@dataclass(frozen=True, kw_only=True)
class PowerIterations:
    """When power iterations stop."""

    tolerance: Annotated[
        float, Rule("relative change at which power iterations stop", exclusiveMinimum=0)
    ] = 1e-4
    max_iterations: Annotated[int, Rule("largest number of power iterations", minimum=1)] = 1000


@dataclass(frozen=True, kw_only=True)
class AnchorOptions:
    """A point on the circle."""

    anchor_angle: Annotated[
        float, Rule("angle of the anchor x0 on the unit circle, in radians")
    ] = 0.0


def labelled(axes: tuple[str, ...] = (), **columns: tuple[Any, str]) -> "dict[str, Array]":
    """Arrays with these axes from pairs of values and units; tensors become arrays."""
    from ..data.storage import Array

    return {name: Array(to_numpy(values), axes, unit) for name, (values, unit) in columns.items()}


def to_numpy(values: Any) -> Any:
    """`ntkflow.arrays.to_numpy`, which loads NumPy when it is called."""
    from ntkflow.arrays import to_numpy

    return to_numpy(values)


def options_of(training: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """Keys of a training block; of untrained networks those it would have by default."""
    usual = {"learning_rate": float("nan"), "output_scale": 1.0, "centred": False}
    return {key: training.get(key, usual[key]) for key in keys}
