"""Training of an ensemble: the networks in groups, each group step by step."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from .group import GroupTraining
from .objective import MSE, Objective
from .optimizers import Optimizer
from .preparation import prepare
from .schedule import Schedule


@dataclass(frozen=True)
class TrainingResult:
    """What `train_ensemble` returns; S seeds, T recorded steps.

    Attributes:
        parameters: name to tensor (S, *shape) after the last step, a view of a larger array for
            some engines; NaN for a diverged seed.
        steps: recorded steps, ascending.
        losses: loss of every seed before update `steps[t]`; NaN from `diverged_at` on.
        diverged_at: first step at which the loss is not finite or above the explosion bound, -1
            for never.

    Examples:
        >>> network, x = torch.nn.Linear(2, 1), torch.randn(6, 2)
        >>> start = ntkflow.draw_parameters(network, seeds=range(3))
        >>> descent = ntkflow.GradientDescent(learning_rate=0.1)
        >>> schedule = ntkflow.Schedule(steps=5, record=[0, 5])
        >>> found = ntkflow.train_ensemble(
        ...     network, start, x, x[:, :1], optimizer=descent, schedule=schedule
        ... )
        >>> found.parameters["weight"].shape, found.losses.shape, found.steps.tolist()
        (torch.Size([3, 1, 2]), torch.Size([3, 2]), [0, 5])
    """

    parameters: dict[str, Tensor]
    steps: Int[Tensor, " t"]
    losses: Float[Tensor, "s t"]
    diverged_at: Int[Tensor, " s"]


def train_ensemble(
    network: nn.Module,
    parameters: dict[str, Tensor],
    x: Float[Tensor, "m *d"],
    y: Float[Tensor, "m *o"],
    *,
    optimizer: Optimizer,
    schedule: Schedule,
    objective: Objective = MSE,
    engine: str = "auto",
    noise_seeds: Sequence[int] | None = None,
) -> TrainingResult:
    """Train every member of an ensemble by full-batch gradient descent or Adam.

    theta <- theta - eta dL/dtheta with L = (1/M) sum_i l(f(x_i), y_i) / alpha^2 and f = alpha h or
    alpha (h - h_0); see `Objective`. Source: Jacot et al. 2018 (arXiv:1806.07572).

    A seed's numbers do not depend on its neighbours: bitwise at one thread; on some processors
    (AMD) only with MKL_CBWR=AUTO,STRICT in the environment, as sums of MKL depend on addresses.

    Layers in training mode train as such: batch normalisation uses and differentiates the
    statistics of all M samples, dropout draws new masks for each seed and step, on the device of
    the parameters. Recorded losses are those of this function, masks included.

    Args:
        network: maps (M, *d) to (M, O); only its structure is used, and the modes of its layers.
        parameters: name to tensor (S, *shape) as `draw_parameters` makes it; not changed. Their
            dtype and device are those of the training.
        x: inputs.
        y: targets (M, O), or (M,) for one output.
        optimizer: `GradientDescent` or `Adam`, with learning rate and penalty.
        schedule: number of steps, and at which ones losses are recorded and parameters shown.
        objective: loss L, alpha, and whether the initial function is subtracted.
        engine: "arcs" (one hidden ReLU layer, one output, inputs on a circle, plain gradient
            descent, on the CPU: O(n + M) a step), "dense" (written-out gradients of multilayer
            perceptrons), "general" (torch.func, any network) or "auto": the first of these that
            fits. "loop" takes any network too, one after the other by torch.autograd: faster for a
            single recurrent or attending one, which "general" trains beside its own copy, so that
            its rounding is that of an ensemble.
        noise_seeds: one per member, for its dropout masks; needed with dropout only.

    Returns:
        Final parameters, losses and steps of divergence. A seed diverges when its loss is not
        finite or above 1e6 (L at step 0 + L of the zero function); its parameters become NaN.

    Raises:
        ConfigurationError: if parameters are not those of the network or some are frozen, inputs
            and targets differ in number, targets do not suit the loss, the engine is unknown or
            does not fit, dropout has no seeds, or batch normalisation keeps running averages.

    Examples:
        >>> network, x = ntkflow.mlp(2, [64]), torch.randn(20, 2)
        >>> start = ntkflow.draw_parameters(network, seeds=range(3))
        >>> y, descent = x[:, :1] * x[:, 1:], ntkflow.GradientDescent(learning_rate=0.1)
        >>> schedule = ntkflow.Schedule(steps=50, record=[0, 50])
        >>> found = ntkflow.train_ensemble(
        ...     network, start, x, y, optimizer=descent, schedule=schedule
        ... )
        >>> found.losses.shape, found.diverged_at.tolist()
        (torch.Size([3, 2]), [-1, -1, -1])
    """
    ensemble, groups, y = prepare(
        network, parameters, x, y, optimizer=optimizer, objective=objective, engine=engine,
        noise_seeds=noise_seeds,
    )  # fmt: skip
    seeds = len(next(iter(parameters.values())))
    training = [
        GroupTraining(
            ensemble.group(group), objective, optimizer, y, schedule.recorded, schedule.on_progress
        )
        for group in groups
    ]
    visible = {name: p[:seeds] for name, p in ensemble.parameters.items()}
    for stop in schedule.stops:
        for each in training:
            each.advance(stop)
        if stop in schedule.snapshots:
            schedule.on_snapshot(stop, visible)
    return TrainingResult(
        parameters=visible,
        steps=torch.tensor(schedule.recorded, dtype=torch.int64),
        losses=torch.cat([each.losses for each in training])[:seeds],
        diverged_at=torch.cat([each.diverged_at for each in training])[:seeds],
    )
