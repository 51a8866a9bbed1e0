"""Make the data set of a cell: training samples and an evaluation grid or test set."""

import numpy as np

from job import run_job
from ntkstudy.data.mnist import choose_images
from ntkstudy.data.storage import Array, write_file
from ntkstudy.data.tasks import line_set, probe_set, training_set


def main(input: dict, output: dict, cfg: dict) -> None:
    """Write groups `train` (inputs x, targets y) and `probe` (a coordinate, x, noiseless y)."""
    task = cfg["task"]
    if task["kind"] == "mnist":
        arrays = image_arrays(task, input["images"])
    else:
        x, y = training_set(task)
        arrays = {
            "train/x": Array(x, ["sample", "coordinate"]),
            "train/y": Array(y, ["sample", "output"]),
        }
        arrays |= line_arrays(task) if task["kind"] == "line_points" else circle_arrays(task)
    write_file(output["dataset"], cfg, arrays)


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
