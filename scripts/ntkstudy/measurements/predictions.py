"""Training of the infinitely wide network, measured as in `measurements`, in float64.

Every array has the steps of the experiment's snapshots as its first axis.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ntkflow.dynamics.training_dynamics import TrainingDynamics
from ntkflow.limits import LimitKernels, limit_kernels
from ntkflow.regression.ridge import ridge_regression

from ..data.inputs import load_probe, load_training_set
from ..data.storage import Array, StageFile
from ..plan.schedule import spread_steps
from .modes import mode_arrays


@dataclass(frozen=True)
class Prediction:
    """What the predictions of one cell share: kernels, targets and the training in closed form."""

    train: LimitKernels
    cross: LimitKernels
    probe_variance: Tensor
    targets: Tensor
    dynamics: TrainingDynamics
    steps: Tensor
    training: Mapping[str, Any]

    @staticmethod
    def prepare(
        network: nn.Module, data: StageFile, training: Mapping[str, Any], device: str
    ) -> "Prediction":
        """Kernels of the data set and eigenpairs of the Gram matrix."""
        x, y = load_training_set(data, dtype=torch.float64, device=device)
        probe = load_probe(data, dtype=torch.float64, device=device)
        kernels = limit_kernels(network, x)
        steps = spread_steps(training["snapshots"], training["steps"], training["spacing"])
        return Prediction(
            train=kernels,
            cross=limit_kernels(network, probe, x),
            probe_variance=limit_kernels(network, probe).nngp.diagonal(),
            targets=y,
            dynamics=TrainingDynamics(
                kernels.ntk, learning_rate=training["learning_rate"], loss=training["loss"]
            ),
            steps=torch.tensor(steps, device=device),
            training=training,
        )

    @property
    def mean(self) -> Tensor:
        """Mean prediction on the grid at every step, (T, N)."""
        return self.dynamics.mean(self.cross.ntk, self.targets, self.steps)[..., 0]

    @property
    def deviation(self) -> Tensor:
        """Standard deviation over initialisations, (T, N): of alpha h, zero if centred."""
        if self.training["centred"]:
            return torch.zeros_like(self.mean)
        variance = self.dynamics.variance(
            self.cross.ntk, self.train.nngp, self.cross.nngp, self.probe_variance, self.steps
        )
        return self.training["output_scale"] * variance.clamp(min=0).sqrt()


PredictedMeasurement = Callable[[Mapping[str, Any], Prediction, StageFile], dict[str, Array]]


def measure_prediction(
    entries: Sequence[Mapping[str, Any]], prediction: Prediction, data: StageFile
) -> dict[str, Array]:
    """Measurements along the training of the infinitely wide network.

    Args:
        entries: measurement blocks of the configuration; `kind` picks the function.
        prediction: of this cell.
        data: the data set's file.

    Returns:
        `kind/name` to array, coordinates of its axes included.
    """
    arrays: dict[str, Array] = {}
    steps = Array(prediction.steps.cpu().numpy(), ["step"], "gradient steps")
    for entry in entries:
        arrays |= PREDICTED_MEASUREMENTS[entry["kind"]](entry, prediction, data)
        arrays[f"{entry['kind']}/step"] = steps
    return arrays


def _function(entry, prediction: Prediction, data: StageFile) -> dict[str, Array]:
    """Mean and deviation on the grid at every step, and ridge regression (t = infinity)."""
    ridge = ridge_regression(
        prediction.train.ntk, prediction.cross.ntk, prediction.targets, ridge=entry["ridge"]
    )
    return {
        "function/gamma": data.array("probe/gamma"),
        "function/target": Array(data.array("probe/y").values[:, 0], ["gamma"]),
        "function/mean": Array(prediction.mean.cpu().numpy(), ["step", "gamma"]),
        "function/deviation": Array(prediction.deviation.cpu().numpy(), ["step", "gamma"]),
        "function/ridge": Array(ridge[:, 0].cpu().numpy(), ["gamma"]),
    }


def _modes(entry, prediction: Prediction, data: StageFile) -> dict[str, Array]:
    """Fourier amplitudes of the mean prediction and of its distance from the target."""
    target = data.array("probe/y").values[:, 0]
    return mode_arrays(prediction.mean.cpu().numpy(), target, entry["max_mode"])


def _movement(entry, prediction: Prediction, data: StageFile) -> dict[str, Array]:
    """Lazy distance of the weights, from an initial function of zero."""
    distance = prediction.dynamics.lazy_distance(prediction.targets, prediction.steps)
    distance = distance / prediction.training["output_scale"]
    return {
        "movement/distance": Array(distance.cpu().numpy(), ["step"], "norm of theta_t - theta_0")
    }


PREDICTED_MEASUREMENTS: dict[str, PredictedMeasurement] = {
    "function": _function,
    "modes": _modes,
    "movement": _movement,
}
