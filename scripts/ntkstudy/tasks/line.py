"""A few points on the line, and the functions that networks draw through them."""

from dataclasses import dataclass, field
from typing import Annotated

from ntkflow.errors import ConfigurationError

from ..needs import Sizes
from ..options import Rule
from ..registry import task
from .common import ProbePoints, TaskOptions


@dataclass(frozen=True, kw_only=True)
class LineOptions(TaskOptions):
    """The points."""

    probe_points: ProbePoints = 360
    inputs: Annotated[list[float], Rule("training inputs, numbers", minItems=1)]
    targets: Annotated[list[float], Rule("their targets", minItems=1)]
    probe_range: Annotated[
        list[float], Rule("ends of the evaluation grid", minItems=2, maxItems=2)
    ] = field(default_factory=lambda: [-4.0, 4.0])


@task(
    "line_points",
    options=LineOptions,
    sizes=lambda options: Sizes(len(options.inputs), options.probe_points, 1, 1),
    axis="position",
    known=False,
)
def line_points(options: LineOptions, files):
    """Points on the line; between them there is no target: NaN."""
    import numpy as np

    from ..data.storage import Array
    from .common import training_arrays

    if len(options.inputs) != len(options.targets):
        raise ConfigurationError(
            f"task: {len(options.inputs)} inputs, {len(options.targets)} targets; "
            "allowed: equally many"
        )
    x, y = (np.array(values, dtype=float)[:, None] for values in (options.inputs, options.targets))
    position = np.linspace(*options.probe_range, options.probe_points)
    return training_arrays(x, y) | {
        "probe/position": Array(position, ["position"], "the input"),
        "probe/x": Array(position[:, None], ["position", "coordinate"]),
        "probe/y": Array(np.full((len(position), 1), np.nan), ["position", "output"]),
    }
