"""A data set of one's own, in an npz or HDF5 file."""

from dataclasses import dataclass
from typing import Annotated

from ..needs import Sizes
from ..options import Rule
from ..registry import task
from .common import TaskOptions


@dataclass(frozen=True, kw_only=True)
class FileOptions(TaskOptions):
    """Where the arrays are, and what their targets mean."""

    path: Annotated[
        str,
        Rule(
            "npz or HDF5 file with arrays inputs (M, ...), targets (M,) or (M, O), test_inputs and "
            "test_targets; further axes of inputs are flattened"
        ),
    ]
    train_points: Annotated[
        int | None, Rule("how many of the first rows to train on; null takes all", minimum=1)
    ] = None
    classes: Annotated[
        int | None,
        Rule("targets are labels 0 ... classes - 1, made one-hot; null: numbers", minimum=2),
    ] = None


def _sizes(options: FileOptions) -> Sizes:
    from ..data.arrays_file import read_shapes

    shapes = read_shapes(options.path, options.train_points)
    rows, *inputs = shapes["inputs"]
    count = 1
    for size in inputs:
        count *= size
    outputs = options.classes or (*shapes["targets"], 1)[1]
    return Sizes(options.train_points or rows, shapes["test_inputs"][0], count, outputs)


@task(
    "file",
    options=FileOptions,
    sizes=_sizes,
    axis="row",
    table="labels",
    labels=lambda options: options.classes is not None,
    files=lambda options, results: [options.path],
)
def file(options: FileOptions, files):
    """Rows of an npz or HDF5 file of one's own."""
    import numpy as np

    from ..data.arrays_file import read_rows
    from ..data.storage import Array
    from .common import training_arrays

    x, y, test_x, test_y = read_rows(files[0], options.train_points, options.classes)
    first = y.argmax(1) if options.classes else y[:, 0]
    return training_arrays(x, y) | {
        "probe/row": Array(np.arange(len(test_x)), ["row"], "position in test_inputs, from 0"),
        "probe/x": Array(test_x, ["row", "coordinate"]),
        "probe/y": Array(test_y, ["row", "output"]),
        "labels/position": Array(np.arange(len(x)), ["sample"], "position in inputs, from 0"),
        "labels/label": Array(first, ["sample"], "label, or first target"),
        "labels/norm": Array(np.linalg.norm(x, axis=1), ["sample"], "Euclidean, of the input"),
    }
