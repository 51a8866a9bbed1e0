"""Draw an experiment's training set and the inputs on which networks are evaluated."""

import numpy as np

from job import run_job
from ntkflow.datasets import line_set, probe_set, training_set
from ntkflow.storage import Array, write_file


def main(output: dict, cfg: dict) -> None:
    """Write groups `train` (inputs x, targets y) and `probe` (a coordinate, x, noiseless y)."""
    x, y = training_set(cfg["task"])
    train = {
        "train/x": Array(x, ["sample", "coordinate"]),
        "train/y": Array(y, ["sample", "output"]),
    }
    line = cfg["task"]["kind"] == "line_points"
    arrays = train | (line_arrays(cfg["task"]) if line else circle_arrays(cfg["task"]))
    write_file(output["dataset"], cfg, arrays)


def circle_arrays(task: dict) -> dict[str, Array]:
    """A grid of angles `gamma` on the circle."""
    gamma, x, y = probe_set(task)
    return {
        "probe/gamma": Array(gamma, ["gamma"], "radian"),
        "probe/x": Array(x, ["gamma", "coordinate"]),
        "probe/y": Array(y, ["gamma", "output"]),
    }


def line_arrays(task: dict) -> dict[str, Array]:
    """A grid of positions on the line; between the training points there is no target: NaN."""
    position, x = line_set(task)
    return {
        "probe/position": Array(position, ["position"], "the input"),
        "probe/x": Array(x, ["position", "coordinate"]),
        "probe/y": Array(np.full_like(x, np.nan), ["position", "output"]),
    }


run_job(main, globals())
