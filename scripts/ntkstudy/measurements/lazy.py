"""What is measured on a network in or out of the lazy regime; `measurements` lists them.

Each takes an entry of the configuration, a `measurements.Member` and the data set's file.
"""

from dataclasses import asdict

import numpy as np
from torch import Tensor

from ntkflow.dynamics import LinearizedTraining
from ntkflow.empirical import empirical_ntk
from ntkflow.lazy import kappa
from ntkflow.linalg.spectra import eigenpairs

from ..data.storage import Array, StageFile


def _linearized(entry, member, data: StageFile) -> dict[str, Array]:
    """Distance from the network linearised at its start, after as many steps."""
    x, y = member.training_set(data)
    training = _linear_training(member, data)
    at_probe = member.once("linear at probe", lambda: training.at(member.probe(data)))
    target = member.once("probe targets", lambda: data.array("probe/y").values)
    train_gap = _numpy(member.outputs(x)) - training.train_outputs(member.step).cpu().numpy()
    linear = at_probe(member.step).cpu().numpy()
    values = _numpy(member.on_probe(data))
    numbers = {
        "train_gap": (np.linalg.norm(train_gap) / y.norm().item(), "|f - f_lin| / |y|, training"),
        "probe_gap": (np.abs(values - linear).max(), "largest |f - f_lin| on the grid"),
        "test_error": (np.mean((values - target) ** 2), "mean (f - y)^2 on the grid"),
        "linear_test_error": (np.mean((linear - target) ** 2), "mean (f_lin - y)^2 on the grid"),
    }
    return {
        f"linearized/{name}": Array(np.asarray(v), [], units)
        for name, (v, units) in numbers.items()
    }


def _linear_training(member, data: StageFile) -> LinearizedTraining:
    options = {key: member.training[key] for key in ("learning_rate", "output_scale", "centred")}
    start = dict(parameters=member.start, **options)
    return member.once(
        "linear training",
        lambda: LinearizedTraining(member.network, *member.training_set(data), **start),
    )


def _mode_decay(entry, member, data: StageFile) -> dict[str, Array]:
    """Residual y - f on the training set along the eigenvectors of the kernel at the start."""
    x, y = member.training_set(data)
    dynamics = _linear_training(member, data).dynamics
    residual = (y - member.outputs(x)).double().T.reshape(-1)
    projections = dynamics.eigenvectors.T @ residual
    return {
        "mode_decay/eigenvalue": Array(
            _numpy(dynamics.eigenvalues), ["mode"], "of K_0 / M, descending"
        ),
        "mode_decay/projection": Array(_numpy(projections), ["mode"]),
    }


def _kappa(entry, member, data: StageFile) -> dict[str, Array]:
    """Laziness kappa and its factors, at the present weights."""
    x, y = member.training_set(data)
    options = {key: member.training[key] for key in ("output_scale", "centred")}
    limits = dict(tolerance=entry["tolerance"], max_iterations=entry["max_iterations"])
    found = kappa(member.network, x, y, parameters=member.parameters, **options, **limits)
    return {f"kappa/{name}": Array(np.asarray(v), []) for name, v in asdict(found).items()}


def _ellipse(entry, member, data: StageFile) -> dict[str, Array]:
    """Kernel of the first two training points and the outputs there.

    Eigenvalues of the 2 x 2 kernel and the angle of the first eigenvector.
    """
    x, _ = member.training_set(data)
    gram = empirical_ntk(member.network, x[:2], parameters=member.parameters, outputs="mean")
    values, vectors = eigenpairs(_numpy(gram.values.double()))
    numbers = {
        "lambda_1": values[0],
        "lambda_2": values[1],
        "angle": np.arctan2(vectors[1, 0], vectors[0, 0]),
    }
    arrays = {f"ellipse/{name}": Array(np.asarray(value), []) for name, value in numbers.items()}
    outputs = _numpy(member.outputs(x[:2]))[:, 0]
    return arrays | {f"ellipse/f_{i}": Array(np.asarray(outputs[i]), []) for i in (0, 1)}


def _weight_matrix(entry, member, data: StageFile) -> dict[str, Array]:
    """Upper left corner of the widest hidden layer's weight matrix."""
    matrices = [p for name, p in member.parameters.items() if p.ndim == 2]
    largest = max(matrices, key=lambda p: min(p.shape))
    corner = _numpy(largest[: entry["size"], : entry["size"]])
    return {"weight_matrix/weight": Array(corner, ["row", "column"])}


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()


LAZY_MEASUREMENTS = {
    "linearized": _linearized,
    "mode_decay": _mode_decay,
    "kappa": _kappa,
    "ellipse": _ellipse,
    "weight_matrix": _weight_matrix,
}
