"""How well networks classify, and how fast their weights move."""

from ..needs import LABELS
from ..registry import FINITE, measurement
from .common import labelled

UNITS = {
    "train_loss": "cross-entropy",
    "test_loss": "cross-entropy",
    "train_accuracy": "share of the samples",
    "test_accuracy": "share of the samples",
    "rate": "|dL/dtheta|^2 of the cross-entropy: squared speed of the weights in gradient flow",
}


@measurement("classification", when=FINITE, needs=(LABELS,), modes=True)
def classification(options, networks, data):
    """Cross-entropy and accuracy on training and test set, and |dL/dtheta|^2 of the former.

    Of networks as they are evaluated (`ntkflow.evaluated`): without dropout, and with the
    statistics of batch normalisation frozen at their values on the training set, in the derivative
    too.
    """
    import torch

    from ntkflow.networks import ensemble_outputs
    from ntkflow.training.classification import (
        accuracies,
        cross_entropies,
        cross_entropy_descent,
    )

    x, y = data.training_set(**networks.where)
    labels = y.argmax(-1)
    test_labels = data.targets(**networks.where).argmax(-1)
    scale = {
        "output_scale": networks.training.get("output_scale", 1.0),
        "start": networks.start if networks.training.get("centred") else None,
    }
    found = cross_entropy_descent(networks.network, networks.parameters, x, labels, **scale)
    test_x = data.probe(**networks.where)
    on_test = ensemble_outputs(networks.network, networks.parameters, test_x, train_x=x, **scale)
    numbers = [found.losses, cross_entropies(on_test, test_labels)]
    numbers += [accuracies(found.outputs, labels), accuracies(on_test, test_labels), found.rates]
    sound = found.outputs.isfinite().all(-1).all(-1)
    numbers = [values.double().where(sound, torch.nan) for values in numbers]
    return labelled(
        ("seed",), **dict(zip(UNITS, zip(numbers, UNITS.values(), strict=True), strict=True))
    )
