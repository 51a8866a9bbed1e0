"""Digits of MNIST."""

from dataclasses import dataclass
from typing import Annotated, Literal

from ..needs import Sizes
from ..options import Rule
from ..registry import task
from .common import TaskOptions

CLASSES = 10


@dataclass(frozen=True, kw_only=True)
class MnistOptions(TaskOptions):
    """Which images, and how they become numbers."""

    source: Annotated[
        Literal["bundled", "directory", "download"],
        Rule(
            "the bundled 4,000 + 1,000 images, a folder of your own, or the whole set from "
            "mnist_mirrors"
        ),
    ] = "bundled"
    directory: Annotated[
        str | None, Rule("folder with the four IDX files, plain or .gz (source: directory)")
    ] = None
    train_points: Annotated[int, Rule("M, number of training images", minimum=1)]
    test_points: Annotated[
        int, Rule("number of test images, on which networks are evaluated", minimum=1)
    ]
    test_from: Annotated[
        Literal["test", "train"],
        Rule("the test images, or training images that are not trained on"),
    ] = "test"
    selection: Annotated[
        Literal["first", "random"], Rule("the first images, or random ones by data_seed")
    ] = "first"
    balanced: Annotated[bool, Rule("as many images of every digit, up to one")] = False
    image_size: Annotated[
        int,
        Rule("side in pixels, a divisor of 28; smaller images are means over squares", minimum=1),
    ] = 28
    scaling: Annotated[
        Literal["unit", "normalised"], Rule("pixels / 255, or (pixels / 255 - .1307) / .3081")
    ] = "unit"


def _files(options: MnistOptions, results: str) -> list[str]:
    from ..data.mnist_files import image_files

    return image_files(options.source, options.directory, results)


@task(
    "mnist",
    options=MnistOptions,
    sizes=lambda options: Sizes(
        options.train_points, options.test_points, options.image_size**2, CLASSES
    ),
    axis="image",
    table="labels",  # hundreds of pixels an image are no table
    labels=lambda options: True,
    files=_files,
)
def mnist(options: MnistOptions, files):
    """Training and test images, the positions `image` of these; `labels` of training images."""
    import numpy as np

    from ..data.mnist import choose_images
    from ..data.storage import Array

    train, test = choose_images(options, files)
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
