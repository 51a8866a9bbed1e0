"""Draw an experiment's training set and evaluation grid."""

from job import run_job
from ntkflow.datasets import probe_set, training_set
from ntkflow.storage import Array, write_file


def main(output: dict, cfg: dict) -> None:
    """Write groups `train` (inputs x, targets y) and `probe` (angle gamma, x, noiseless y)."""
    x, y = training_set(cfg["task"])
    gamma, probe_x, probe_y = probe_set(cfg["task"])
    arrays = {
        "train/x": Array(x, ["sample", "coordinate"]),
        "train/y": Array(y, ["sample", "output"]),
        "probe/gamma": Array(gamma, ["gamma"], "radian"),
        "probe/x": Array(probe_x, ["gamma", "coordinate"]),
        "probe/y": Array(probe_y, ["gamma", "output"]),
    }
    write_file(output["dataset"], cfg, arrays)


run_job(main, globals())
