"""Draw an experiment's training set and the inputs on which networks are evaluated."""

import numpy as np

from job import run_job
from ntkflow.datasets import probe_set, training_set
from ntkflow.mnist import choose_images
from ntkflow.storage import Array, write_file


def main(input: dict, output: dict, cfg: dict) -> None:
    """Write groups `train` (inputs x, targets y) and `probe` (a coordinate, x, noiseless y)."""
    images = cfg["task"]["kind"] == "mnist"
    arrays = image_arrays(cfg["task"], input["images"]) if images else circle_arrays(cfg["task"])
    write_file(output["dataset"], cfg, arrays)


def circle_arrays(task: dict) -> dict[str, Array]:
    """Training set, and a grid of angles `gamma` on the circle."""
    x, y = training_set(task)
    gamma, probe_x, probe_y = probe_set(task)
    return {
        "train/x": Array(x, ["sample", "coordinate"]),
        "train/y": Array(y, ["sample", "output"]),
        "probe/gamma": Array(gamma, ["gamma"], "radian"),
        "probe/x": Array(probe_x, ["gamma", "coordinate"]),
        "probe/y": Array(probe_y, ["gamma", "output"]),
    }


def image_arrays(task: dict, files: list[str]) -> dict[str, Array]:
    """Training and test images, the positions `image` of these; `labels` of training images."""
    train, test = choose_images(task, files)
    position = "position in the canonical order, from 0"
    return {
        "train/x": Array(train.x, ["sample", "coordinate"]),
        "train/y": Array(train.y, ["sample", "output"], "one-hot"),
        "probe/image": Array(test.positions, ["image"], position),
        "probe/x": Array(test.x, ["image", "coordinate"]),
        "probe/y": Array(test.y, ["image", "output"], "one-hot"),
        "labels/position": Array(train.positions, ["sample"], position),
        "labels/label": Array(train.labels, ["sample"], "digit"),
        "labels/norm": Array(
            np.linalg.norm(train.x, axis=1), ["sample"], "Euclidean, of the input"
        ),
    }


run_job(main, globals())
