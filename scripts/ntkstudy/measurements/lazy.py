"""How far a network is from its linearisation, and the few numbers of small ones."""

from dataclasses import dataclass
from typing import Annotated

from ..needs import DESCENT, LAYERS, ONE_OUTPUT, SQUARED_LOSS, TWO_POINTS
from ..options import Rule
from ..registry import FINITE, measurement
from .common import labelled, options_of, to_numpy

_AFTER = ("trained", "training")


@dataclass(frozen=True, kw_only=True)
class WeightMatrixOptions:
    """Size of the corner."""

    size: Annotated[int, Rule("rows and columns of the weight matrix's corner", minimum=1)] = 32


@measurement(
    "linearized",
    when=_AFTER,
    needs=(SQUARED_LOSS, DESCENT),
    each=True,
    kernel="block",
    kept=True,
)
def linearized(options, network, data):
    """Distance from the network linearised at its start, after as many steps."""
    import numpy as np

    (x, y), probe = data.training_set(**network.where), data.probe(**network.where)
    training = _linear_training(network, data)
    at_probe = network.once("linear at probe", lambda: training.at(probe))
    target = data.file.array("probe/y").values
    train_gap = to_numpy(network.outputs(x)) - to_numpy(training.train_outputs(network.step))
    linear, values = to_numpy(at_probe(network.step)), to_numpy(network.outputs(probe))
    return labelled(
        train_gap=(np.linalg.norm(train_gap) / y.norm().item(), "|f - f_lin| / |y|, training"),
        probe_gap=(np.abs(values - linear).max(), "largest |f - f_lin| on the grid"),
        test_error=(np.mean((values - target) ** 2), "mean (f - y)^2 on the grid"),
        linear_test_error=(np.mean((linear - target) ** 2), "mean (f_lin - y)^2 on the grid"),
    )


@measurement(
    "mode_decay",
    when=_AFTER,
    axes=("mode",),
    needs=(SQUARED_LOSS, DESCENT),
    each=True,
    kernel="block",
    kept=True,
)
def mode_decay(options, network, data):
    """Residual y - f on the training set along the eigenvectors of the kernel at the start."""
    x, y = data.training_set(**network.where)
    dynamics = _linear_training(network, data).dynamics
    residual = (y - network.outputs(x)).double().T.reshape(-1)
    return labelled(
        ("mode",),
        eigenvalue=(dynamics.eigenvalues, "of K_0 / M, descending"),
        projection=(dynamics.eigenvectors.T @ residual, "1"),
    )


def _linear_training(network, data):
    from ntkflow.dynamics import LinearizedTraining

    options = options_of(network.training, "learning_rate", "output_scale", "centred")
    start = dict(parameters=network.start_weights, **options)
    return network.once(
        "linear training",
        lambda: LinearizedTraining(network.network, *data.training_set(**network.where), **start),
    )


@measurement("doubled_weights", when=FINITE, each=True, kernel="mean")
def doubled_weights(options, network, data):
    """Relative changes when all weights double: of the weights, and of the kernel."""
    import torch

    from ntkflow.empirical import empirical_ntk

    x = data.training_set(**network.where)[0]
    doubled = {name: 2 * p for name, p in network.weights.items()}
    kernels = [
        empirical_ntk(network.network, x, parameters=each, outputs="mean").values.double()
        for each in (network.weights, doubled)
    ]
    weights = [
        torch.cat([p.reshape(-1) for p in each.values()]) for each in (network.weights, doubled)
    ]
    return labelled(
        weights=(_relative_change(*weights), "norm of 2 theta - theta over that of theta"),
        kernel=(_relative_change(*kernels), "Frobenius norm of the change over that of K"),
    )


def _relative_change(before, after) -> float:
    return ((after - before).norm() / before.norm()).item()


@measurement("ellipse", when=FINITE, needs=(ONE_OUTPUT, TWO_POINTS), each=True)
def ellipse(options, network, data):
    """Kernel of the first two training points and the outputs there.

    Eigenvalues of the 2 x 2 kernel and the angle of the first eigenvector.
    """
    import numpy as np

    from ntkflow.empirical import empirical_ntk
    from ntkflow.linalg.spectra import eigenpairs

    x = data.training_set(**network.where)[0][:2]
    gram = empirical_ntk(network.network, x, parameters=network.weights, outputs="mean")
    values, vectors = eigenpairs(to_numpy(gram.values.double()))
    outputs = to_numpy(network.outputs(x))[:, 0]
    numbers = {
        "lambda_1": values[0],
        "lambda_2": values[1],
        "angle": np.arctan2(vectors[1, 0], vectors[0, 0]),
        "f_0": outputs[0],
        "f_1": outputs[1],
    }
    return labelled(**{name: (value, "1") for name, value in numbers.items()})


@measurement(
    "weight_matrix",
    when=FINITE,
    options=WeightMatrixOptions,
    axes=("row", "column"),
    needs=(LAYERS,),
    each=True,
)
def weight_matrix(options, network, data):
    """Upper left corner of the widest hidden layer's weight matrix."""
    matrices = [p for p in network.weights.values() if p.ndim == 2]
    largest = max(matrices, key=lambda p: min(p.shape))
    return labelled(("row", "column"), weight=(largest[: options.size, : options.size], "1"))
