"""Gradient descent beside gradient flow, on all points and on minibatches of them."""

from typing import Any

import torch
from torch import Tensor

from ntkflow.randomness import generator

from ..data.storage import Array
from .descent import Linear
from .setting import Setting, axis, by_seed


def minibatches(options: Any, setting: Setting) -> dict[str, Array]:
    """Largest distance from gradient flow on the way, with full batches and with minibatches.

    Of the linearised network: residuals of gradient flow on the loss mean (f - y)^2 are
    exp(-2 K t / M) r, compared after every step at t = eta times its number. Every epoch goes
    through the points in another order, so many points a step; a step on fewer points is as long.
    Distances are over |r|; `ratio` is that of minibatches over that of full batches.
    """
    rate, steps = setting.training["learning_rate"], setting.training["steps"]
    rows = []
    for seed, parameters in enumerate(setting.members(options.draws)):
        linear = Linear.at(setting, parameters)
        flow = _flow(linear, rate, steps)
        full = _largest(linear.descend(rate, steps, list(range(steps + 1)))[1], flow)
        shuffled = [_largest(_descend(linear, rate, steps, b, seed), flow) for b in options.sizes]
        rows.append(
            {
                "full": [full] * len(shuffled),
                "minibatch": shuffled,
                "ratio": [each / full for each in shuffled],
            }
        )
    return by_seed(rows, "batch") | axis("batch", options.sizes)


def _flow(linear: Linear, rate: float, steps: int) -> Tensor:
    """Residuals (steps + 1, M) of gradient flow at the times of the steps."""
    gram = linear.jacobian @ linear.jacobian.T
    values, vectors = torch.linalg.eigh(gram)
    times = rate * torch.arange(steps + 1, dtype=gram.dtype, device=gram.device)
    decay = torch.exp(-2 / len(gram) * times[:, None] * values)
    return (decay * (vectors.T @ linear.residual)) @ vectors.T


def _descend(linear: Linear, rate: float, steps: int, size: int, seed: int) -> Tensor:
    """Residuals (steps + 1, M) of descent on minibatches of so many points."""
    jacobian, count = linear.jacobian, len(linear.residual)
    moved = jacobian.new_zeros(jacobian.shape[1])
    random, order, kept = generator(seed, "split"), [], [linear.residual]
    for _ in range(steps):
        if not order:
            order = random.permutation(count).tolist()
        batch, order = order[:size], order[size:]
        moved = moved + 2 * rate / len(batch) * (jacobian[batch].T @ kept[-1][batch])
        kept.append(linear.residual - jacobian @ moved)
    return torch.stack(kept)


def _largest(residuals: Tensor, flow: Tensor) -> float:
    return ((residuals - flow).norm(dim=1).max() / flow[0].norm()).item()
