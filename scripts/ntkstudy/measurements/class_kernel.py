"""The kernel as a picture: images side by side with others of their class."""

from ..needs import LABELS
from ..registry import FINITE, measurement
from .common import labelled


@measurement("class_kernel", when=FINITE, axes=("row",), needs=(LABELS,), each=True, kernel="mean")
def class_kernel(options, network, data):
    """Kernel, mean over outputs, of the training images in the order of their classes.

    `entry_j`: K_ij over the mean of the diagonal, i the `row`; `label`: class of the image.
    """
    import numpy as np

    from ntkflow.empirical import empirical_ntk

    x, y = data.training_set(**network.where)
    labels, order = y.argmax(1).sort(stable=True)
    kernel = empirical_ntk(
        network.network, x[order], parameters=network.weights, outputs="mean"
    ).values.double()
    return labelled(
        ("row",),
        row=(np.arange(len(order)), "training image, sorted by class"),
        label=(labels, "class of the image"),
    ) | labelled(
        ("row", "coordinate"), entry=(kernel / kernel.diagonal().mean(), "over its diagonal")
    )
