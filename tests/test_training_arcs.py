"""The arc engine against the dense one: same trajectories in float64."""

import math

import numpy as np
import pytest
import torch
from descents import descent

from ntkflow.errors import ConfigurationError
from ntkflow.networks import draw_parameters, mlp
from ntkflow.training import Objective, arc_loops, train_ensemble

TURN = 2 * math.pi


pytestmark = pytest.mark.usefixtures("one_thread")


def task(samples=40, grid=None, radius=1.0):
    """Random points of a circle, or random points of a grid on it, in random order."""
    g = torch.Generator().manual_seed(0)
    if grid is None:
        angles = TURN * torch.rand(samples, generator=g, dtype=torch.float64)
    else:
        angles = TURN * torch.randperm(grid, generator=g)[:samples].double() / grid
    x = radius * torch.stack([angles.cos(), angles.sin()], dim=1)
    return x, (4 * angles).sin()


def assert_as_dense(parameters, x, y, *, sigma_b=0.1, steps=50, eta=0.1, **options):
    network = mlp(2, [parameters["0.weight"].shape[1]], sigma_b=sigma_b, dtype=torch.float64)
    options |= descent(eta, steps, record=range(0, steps + 1, 10))
    result = train_ensemble(network, parameters, x, y, engine="arcs", **options)
    dense = train_ensemble(network, parameters, x, y, engine="dense", **options)
    torch.testing.assert_close(result.losses, dense.losses, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(result.parameters, dense.parameters, rtol=1e-9, atol=1e-10)


def draw(width, sigma_b=0.1, seeds=3):
    network = mlp(2, [width], sigma_b=sigma_b, dtype=torch.float64)
    return draw_parameters(network, range(seeds))


@pytest.mark.parametrize("sigma_b", [0.0, 0.1, 2.0])
@pytest.mark.parametrize("grid", [None, 720])
def test_thousand_steps(sigma_b, grid):
    assert_as_dense(draw(50, sigma_b), *task(grid=grid), sigma_b=sigma_b, steps=1000)


@pytest.mark.parametrize("samples", [1, 2, 5])
def test_few_samples(samples):
    assert_as_dense(draw(7), *task(samples))


def test_radius_of_the_circle():
    assert_as_dense(draw(30), *task(radius=2.5))


def test_equal_samples():
    x, y = task(10)
    assert_as_dense(draw(30), torch.cat([x, x, x[:1]]), torch.cat([y, y + 1, y[:1]]))


def test_scaled_and_centred():
    assert_as_dense(draw(30), *task(), objective=Objective(output_scale=10.0, centred=True))


@pytest.mark.parametrize("bias", [-50.0, 50.0])
def test_arcs_empty_and_full(bias):
    parameters = draw(30)
    parameters["0.bias"][:, ::2] = bias  # |sigma_b b| = 5 is above |w| / sqrt(2) for nearly all
    assert_as_dense(parameters, *task(), eta=0.01)


@pytest.mark.parametrize("centre", [0.0, 0.5, 1.0, 1.5])
def test_arcs_that_wrap_around(centre):
    parameters = draw(40)
    angles = math.pi * centre + torch.linspace(-0.1, 0.1, 40, dtype=torch.float64)
    parameters["0.weight"][:] = torch.stack([angles.cos(), angles.sin()], dim=1)
    assert_as_dense(parameters, *task(grid=720))


@pytest.mark.parametrize("samples", [1, 2, 3, 20])
def test_ranges_hold_just_the_active_samples(samples):
    random = np.random.default_rng(samples)
    angles = np.sort(random.uniform(0, TURN, samples))
    circle = np.stack([np.cos(angles), np.sin(angles), np.full(samples, 0.7)], axis=1)
    turns = np.concatenate([circle[-1:], circle, circle, circle[:1]])
    for _ in range(500):
        w = random.standard_normal(3)
        old = int(random.integers(samples)), int(random.integers(samples + 1))
        begin, length = arc_loops.walk(*w, turns, *old)
        found = np.zeros(samples, bool)
        found[(begin + np.arange(length)) % samples] = True
        np.testing.assert_array_equal(found, circle @ w > 0)
        assert arc_loops.is_range(*w, turns, begin, length) == (0 < length < samples)


def test_float32_follows_float64():
    network, (x, y) = mlp(2, [50], sigma_b=0.1), task()
    parameters = draw(50)
    single = {name: p.float() for name, p in parameters.items()}
    options = descent(0.1, 200, record=[200]) | {"engine": "arcs"}
    wanted = train_ensemble(network, parameters, x, y, **options)
    result = train_ensemble(network, single, x.float(), y.float(), **options)
    torch.testing.assert_close(result.losses, wanted.losses.float(), rtol=1e-4, atol=0)


def test_seed_alone_is_bitwise_the_same():
    network, parameters = mlp(2, [300], sigma_b=0.1, dtype=torch.float64), draw(300, seeds=10)
    options = descent(0.1, 20) | {"engine": "arcs"}
    together = train_ensemble(network, parameters, *task(), **options)
    for s in (0, 9):
        one = {name: p[s : s + 1] for name, p in parameters.items()}
        alone = train_ensemble(network, one, *task(), **options)
        for name, p in alone.parameters.items():
            assert torch.equal(p[0], together.parameters[name][s])


def test_one_seed_diverges_and_harms_nobody():
    network, parameters = mlp(2, [20], sigma_b=0.1, dtype=torch.float64), draw(20, seeds=4)
    wild = {name: p.clone() for name, p in parameters.items()}
    for p in wild.values():
        p[2] *= 30
    options = descent(0.1, 200, record=[200]) | {"engine": "arcs"}
    sound = train_ensemble(network, parameters, *task(), **options)
    result = train_ensemble(network, wild, *task(), **options)
    assert result.diverged_at[2] > 0
    assert result.losses[2].isnan().all()
    for name, p in result.parameters.items():
        assert p[2].isnan().all()
        assert torch.equal(p[[0, 1, 3]], sound.parameters[name][[0, 1, 3]])


@pytest.mark.parametrize(
    ("network", "inputs", "reason"),
    [
        (mlp(2, [3, 3], dtype=torch.float64), task()[0], "it is not one hidden ReLU layer"),
        (mlp(2, [3], activation="erf", dtype=torch.float64), task()[0], "not one hidden ReLU"),
        (mlp(2, [3], 2, dtype=torch.float64), task()[0], "it has 2 outputs, not one"),
        (mlp(1, [3], dtype=torch.float64), task()[0][:, :1], "not points of the plane"),
        (mlp(2, [3], dtype=torch.float64), task()[0] + 0.1, "do not lie on one circle around 0"),
    ],
)
def test_says_why_it_does_not_fit(network, inputs, reason):
    with pytest.raises(ConfigurationError, match=f"engine: 'arcs' does not fit.*{reason}"):
        train_ensemble(
            network, draw_parameters(network, [0]), inputs, task()[1], **descent(0.1, 1),
            engine="arcs",
        )  # fmt: skip
