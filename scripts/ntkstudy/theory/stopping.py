"""When to stop on noisy targets: predicted from the kernel, and measured on networks."""

from typing import Any

import numpy as np
import torch

from ntkflow.dynamics.early_stopping import early_stopping_time
from ntkflow.dynamics.training_dynamics import TrainingDynamics
from ntkflow.limits import limit_kernels
from ntkflow.networks.output_scale import scale_output
from ntkflow.randomness import generator
from ntkflow.training import GradientDescent, Objective, Schedule, train_ensemble

from ..data.storage import Array
from ..plan.schedule import spread_steps
from .setting import Setting, by_seed


def early_stopping(options: Any, setting: Setting) -> dict[str, Array]:
    """Step of least test error for each draw of the noise, and the predicted one.

    The prediction takes the limit kernel's eigenvalues, the projections of the noiseless target
    and the noise's strength, not its values. Measured are a network of the experiment (seed of the
    draw) and the infinitely wide network, trained on the same noisy targets; test targets are
    noiseless, on the evaluation grid.
    """
    training, x = setting.training, setting.x
    where = dict(dtype=x.dtype, device=x.device)
    probe, clean = setting.data.probe(**where), setting.data.targets(**where)
    cross = limit_kernels(setting.network, probe, x).ntk
    dynamics = TrainingDynamics(
        limit_kernels(setting.network, x).ntk, learning_rate=training["learning_rate"]
    )
    known = (dynamics, cross, setting.y, clean)
    predicted = early_stopping_time(*known, noise_std=options.noise_std)
    steps = torch.tensor(spread_steps(training["snapshots"], training["steps"], "log"))
    rows = []
    for seed in range(options.draws):
        noise = generator(seed, "labels").standard_normal(tuple(setting.y.shape))
        noisy = setting.y + options.noise_std * torch.as_tensor(noise, **where)
        limit = (dynamics.mean(cross, noisy, steps) - clean).square().mean(dim=(1, 2))
        network = _test_errors(setting, seed, noisy, probe, clean, steps.tolist())
        found = {"measured": steps[network.argmin()], "limit": steps[limit.argmin()]}
        rows.append(found | {f"{name}_hit": _near(t, predicted) for name, t in found.items()})
    return by_seed(rows) | {"predicted": Array(np.array(predicted), [])}


def _test_errors(setting: Setting, seed: int, noisy, probe, clean, steps) -> torch.Tensor:
    """Test error of one centred network at these steps."""
    training, start, errors = setting.training, setting.parameters([seed]), []
    initial = setting.outputs({name: p[0] for name, p in start.items()}, probe)
    objective = Objective(output_scale=training["output_scale"], centred=True)

    def look(step, parameters) -> None:
        now = setting.outputs({name: p[0] for name, p in parameters.items()}, probe)
        scaled = scale_output(now, objective.output_scale, initial)
        errors.append((scaled - clean).square().mean())

    train_ensemble(
        setting.network, start, setting.x, noisy, objective=objective,
        optimizer=GradientDescent(training["learning_rate"]),
        schedule=Schedule(training["steps"], snapshots=steps, on_snapshot=look),
    )  # fmt: skip
    return torch.stack(errors)


def _near(measured, predicted: float, factor: float = 1.5) -> float:
    """1 if two times agree within the factor, else 0."""
    return float(predicted / factor <= float(measured) <= predicted * factor)
