"""Networks at infinite width, and their training in closed form, in float64."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ntkflow.dynamics import TrainingDynamics
from ntkflow.limits import LimitKernels, limit_kernels

from ..data.dataset import DataSet
from ..plan.schedule import spread_steps


@dataclass(frozen=True)
class Limit:
    """An architecture, whose widths do not matter, and where to compute."""

    network: nn.Module
    device: str

    @property
    def where(self) -> dict[str, Any]:
        """Dtype and device of its kernels."""
        return {"dtype": torch.float64, "device": self.device}

    def gram(self, data: DataSet) -> Tensor:
        """Limit NTK (M, M) of the training inputs."""
        return limit_kernels(self.network, data.training_set(**self.where)[0]).ntk


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
        network: nn.Module, data: DataSet, training: Mapping[str, Any], device: str
    ) -> "Prediction":
        """Kernels of the data set and eigenpairs of the Gram matrix."""
        where = {"dtype": torch.float64, "device": device}
        (x, y), probe = data.training_set(**where), data.probe(**where)
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
        """Mean prediction on the evaluation inputs at every step, (T, N)."""
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
