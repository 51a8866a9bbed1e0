"""Draw an experiment's training set and evaluation grid."""

from job import run_job
from ntkflow.datasets import circle_grid, circle_points, training_set
from ntkflow.storage import Array, write_file


def main(output: dict, cfg: dict) -> None:
    """Write groups `train` (inputs x, targets y) and `probe` (angle gamma, inputs x)."""
    x, y = training_set(cfg["task"])
    gamma = circle_grid(cfg["task"]["probe_points"])
    arrays = {
        "train/x": Array(x, ["sample", "coordinate"]),
        "train/y": Array(y, ["sample", "output"]),
        "probe/gamma": Array(gamma, ["gamma"], "radian"),
        "probe/x": Array(circle_points(gamma), ["gamma", "coordinate"]),
    }
    write_file(output["dataset"], cfg, arrays)


run_job(main, globals())
