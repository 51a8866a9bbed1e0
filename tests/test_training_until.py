"""Training that ends at a loss against training by a number of steps."""

import pytest
import torch
from descents import descent

from ntkflow.errors import ConfigurationError
from ntkflow.networks import RNN, Dense, draw_parameters, member, mlp
from ntkflow.networks.averaging import TimeAverage
from ntkflow.training import GradientDescent, Objective, train_ensemble
from ntkflow.training.until import train_until

pytestmark = pytest.mark.usefixtures("one_thread")


def recurrent():
    """A network without written-out gradients."""
    cell = TimeAverage(RNN(2, 6, 1, device="meta"))
    return torch.nn.Sequential(torch.nn.Unflatten(1, (2, 2)), cell, Dense(6, 3, device="meta"))


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("make", [lambda: mlp(4, [9, 9], 3, device="meta"), recurrent])
def test_stops_are_the_first_steps_at_which_recorded_losses_are_low_enough(make, centred):
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(7, 4, generator=g).double(), torch.randn(7, 3, generator=g).double()
    network, objective = make(), Objective(centred=centred)
    start = draw_parameters(network, range(3), dtype=torch.float64)
    levels, most = [0.8, 0.5, 0.6], 120
    found = train_until(
        network, start, x, y, optimizer=GradientDescent(0.1), levels=levels, most_steps=most,
        objective=objective,
    )  # fmt: skip
    how = dict(objective=objective)
    losses = train_ensemble(
        network, start, x, y, **descent(0.1, most, record=range(most + 1)), **how
    )
    shares = losses.losses / losses.losses[:, :1]
    for level, steps in zip(levels, found.steps, strict=True):
        low = shares <= level
        expected = [int(row.int().argmax()) if row.any() else -1 for row in low]
        assert steps.tolist() == expected
    assert (found.steps > 0).any()
    for place, seed in (found.steps > 0).nonzero().tolist():
        there = train_ensemble(
            network, start, x, y, **descent(0.1, int(found.steps[place, seed])), **how
        )
        here = {name: p[place] for name, p in found.parameters.items()}
        torch.testing.assert_close(
            member(here, seed), member(there.parameters, seed), rtol=1e-9, atol=1e-12
        )


def test_what_is_not_reached_is_no_number():
    network, x = mlp(2, [5], 1, device="meta"), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    start = draw_parameters(network, [0])
    y = torch.tensor([[1.0], [-1.0]])  # no function of x
    how = dict(optimizer=GradientDescent(0.01), levels=[0.01], most_steps=20)
    found = train_until(network, start, x, y, **how)
    assert found.steps.tolist() == [[-1]]
    assert all(p.isnan().all() for p in found.parameters.values())
    how["optimizer"] = GradientDescent(1e9)  # diverges
    assert train_until(network, start, x, 0 * y, **how).steps.tolist() == [[-1]]


@pytest.mark.parametrize("level", [0.0, 1.0, 1.5])
def test_levels_are_shares(level):
    network = mlp(2, [5], 1, device="meta")
    with pytest.raises(ConfigurationError, match=f"^levels: {level} is not allowed"):
        train_until(
            network, draw_parameters(network, [0]), torch.ones(1, 2), torch.ones(1, 1),
            optimizer=GradientDescent(0.1), levels=[level], most_steps=1,
        )  # fmt: skip
