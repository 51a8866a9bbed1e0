"""What tasks share: options, and the arrays of their files."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from ..options import Rule

if TYPE_CHECKING:
    import numpy as np

    from ..data.storage import Array

ProbePoints = Annotated[
    int,
    Rule(
        "points of the evaluation grid: angles on the unit circle, or positions on the line",
        minimum=1,
    ),
]


@dataclass(frozen=True, kw_only=True)
class TaskOptions:
    """Options of every task."""

    data_seed: Annotated[int, Rule("seed of the data, the same for all networks", minimum=0)] = 0


def training_arrays(x: "np.ndarray", y: "np.ndarray") -> "dict[str, Array]":
    """Group `train` of inputs (M, n0) and targets (M, O)."""
    from ..data.storage import Array

    return {
        "train/x": Array(x, ["sample", "coordinate"]),
        "train/y": Array(y, ["sample", "output"]),
    }


def circle_probe(count: int, target: "Callable[[np.ndarray], np.ndarray]") -> "dict[str, Array]":
    """Group `probe`: equidistant angles `gamma` on the circle, their points and targets."""
    from ..data.storage import Array
    from ..data.targets import circle_grid, circle_points

    gamma = circle_grid(count)
    return {
        "probe/gamma": Array(gamma, ["gamma"], "radian"),
        "probe/x": Array(circle_points(gamma), ["gamma", "coordinate"]),
        "probe/y": Array(target(gamma), ["gamma", "output"]),
    }
