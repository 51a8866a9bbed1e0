"""The arc engine against the dense one: same trajectories in float64."""

import math

import pytest
import torch

from ntkflow.networks import draw_parameters, mlp
from ntkflow.training import train_ensemble


def circle(m, seed=0, grid=None):
    g = torch.Generator().manual_seed(seed)
    if grid is None:
        angles = TURN * torch.rand(m, generator=g, dtype=torch.float64)
    else:
        angles = TURN * torch.randperm(grid, generator=g)[:m].double() / grid
    return torch.stack([angles.cos(), angles.sin()], dim=1), angles


TURN = 2 * math.pi


def assert_same_training(width, x, y, *, sigma_b=0.1, steps=50, change=None, seeds=3, eta=0.3):
    network = mlp(2, [width], sigma_b=sigma_b, dtype=torch.float64)
    parameters = draw_parameters(network, range(seeds))
    if change:
        change(parameters)
    options = dict(learning_rate=eta, steps=steps, record_steps=range(0, steps + 1, 10))
    arcs = train_ensemble(network, parameters, x, y, engine="arcs", **options)
    dense = train_ensemble(network, parameters, x, y, engine="dense", **options)
    torch.testing.assert_close(arcs.losses, dense.losses, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(arcs.parameters, dense.parameters, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("sigma_b", [0.0, 0.1, 2.0])
@pytest.mark.parametrize("grid", [None, 720])
def test_thousand_steps(sigma_b, grid):
    x, angles = circle(40, grid=grid)
    assert_same_training(50, x, (4 * angles).sin(), sigma_b=sigma_b, steps=1000, eta=0.1)
