"""What training does to a kernel's alignment with the targets, beside what it does to the loss."""

from ..needs import LABELS
from ..registry import measurement
from .common import labelled


@measurement("alignment_gain", when="trained", each=True, kernel="mean", needs=(LABELS,))
def alignment_gain(options, network, data):
    """Rise of kernel-target alignment, fall of the cross-entropy since the start, test accuracy.

    Alignment is the centred one of the kernel (mean over outputs) on the training set with the
    one-hot targets. `rise`: after training minus before; `fall`: cross-entropy on the training set
    before minus after; `alignment` and `test_accuracy` after training.
    """
    import torch

    from ntkflow.empirical import empirical_ntk
    from ntkflow.linalg.spectra import alignment
    from ntkflow.training.classification import accuracies, cross_entropies

    x, y = data.training_set(**network.where)
    aligned, losses = [], []
    for one in (network.before, network):
        kernel = empirical_ntk(network.network, x, parameters=one.weights, outputs="mean").values
        sound = bool(kernel.isfinite().all())
        aligned.append(alignment(kernel.double(), y.double(), centred=True) if sound else torch.nan)
        losses.append(float(cross_entropies(one.outputs(x)[None], y.argmax(1))))
    test_x, test_y = data.probe(**network.where), data.targets(**network.where)
    right = accuracies(network.outputs(test_x)[None], test_y.argmax(1))
    return labelled(
        rise=(aligned[1] - aligned[0], "of the cosine of K and y y', centred"),
        fall=(losses[0] - losses[1], "cross-entropy on the training set"),
        alignment=(aligned[1], "cosine of K and y y', centred"),
        test_accuracy=(float(right), "share of the test images"),
    )
