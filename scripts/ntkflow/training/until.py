"""Training that ends at a loss, not at a number of steps."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..errors import ConfigurationError
from .group import GroupTraining
from .objective import MSE, Objective
from .optimizers import Optimizer
from .preparation import prepare


class Arrivals(NamedTuple):
    """Where the losses of S networks first lay at or below each of L levels.

    Attributes:
        steps: updates until then, (L, S); -1 where a level was not reached.
        parameters: name to tensor (L, S, *shape) at that step; NaN where it was not reached.
    """

    steps: Int[Tensor, "l s"]
    parameters: dict[str, Tensor]


def train_until(
    network: nn.Module,
    parameters: dict[str, Tensor],
    x: Float[Tensor, "m *d"],
    y: Float[Tensor, "m *o"],
    *,
    optimizer: Optimizer,
    levels: Sequence[float],
    most_steps: int,
    objective: Objective = MSE,
    engine: str = "auto",
) -> Arrivals:
    """Train every network until its loss is a share of what it was at the start.

    The training is that of `ntkflow.train_ensemble`. A group of networks that step together ends
    when all of them have reached the lowest level, or after `most_steps` updates.

    Args:
        network: as there, without dropout.
        parameters: as there; not changed.
        x: inputs.
        y: targets.
        optimizer: as there.
        levels: shares of the loss at the start, each in (0, 1).
        most_steps: updates after which what is not reached counts as not reached.
        objective: as there.
        engine: as there.

    Returns:
        `Arrivals`, the levels in the order in which they were asked for.

    Raises:
        ConfigurationError: if a level is not a share; also as `ntkflow.train_ensemble`.

    Examples:
        >>> from ntkflow.training.until import train_until
        >>> network, x = torch.nn.Linear(1, 1, bias=False), torch.ones(1, 1)
        >>> start = {"weight": torch.zeros(1, 1, 1)}  # f <- f + .1 (1 - f), the loss is (1 - f)^2
        >>> descent = ntkflow.GradientDescent(learning_rate=0.05)
        >>> train_until(
        ...     network, start, x, x, optimizer=descent, levels=[0.5], most_steps=10
        ... ).steps
        tensor([[4]])
    """
    for level in levels:
        if not 0 < level < 1:
            raise ConfigurationError(f"levels: {level!r} is not allowed; use numbers within 0 .. 1")
    ensemble, groups, y = prepare(
        network, parameters, x, y, optimizer=optimizer, objective=objective, engine=engine
    )
    seeds = len(next(iter(parameters.values())))
    held = ensemble.parameters
    shape = (len(levels), len(next(iter(held.values()))))
    steps = torch.full(shape, -1, device=y.device)
    found = {name: p.new_full((len(levels), *p.shape), torch.nan) for name, p in held.items()}
    for group in groups:
        training = GroupTraining(ensemble.group(group), objective, optimizer, y, [])
        shares = y.new_tensor(levels)[:, None]
        for step, losses in enumerate(training.losses_before_each_step(most_steps)):
            if step == 0:
                bounds = shares * losses
            new = (steps[:, group] < 0) & (losses <= bounds)
            if new.any():
                steps[:, group].masked_fill_(new, step)
                for name, p in held.items():
                    mask = new.reshape(*new.shape, *[1] * (p.ndim - 1))
                    found[name][:, group] = torch.where(mask, p[group], found[name][:, group])
            if not (losses.isfinite() & (steps[:, group] < 0).any(0)).any():
                break
    return Arrivals(steps[:, :seeds], {name: p[:, :seeds] for name, p in found.items()})
