import math

import numpy as np
import pytest
import torch

from ntkflow.dynamics.null_models import shrinkage_factor, soft_second_moment
from ntkflow.empirical.one_hidden_layer import mean_kernels
from ntkflow.networks import draw_parameters, mlp
from ntkflow.training import GradientDescent, Penalty, Schedule, train_ensemble

TRAINING = {"learning_rate": 0.05, "l1": 0.0, "l2": 0.0, "decay": "coupled", "optimizer": "sgd"}


def test_published_values():
    seed = {"learning_rate": 0.01, "l2": 0.001, "decay": "seed"}
    assert 7.26 * shrinkage_factor(seed, 100) == pytest.approx(5.920, abs=5e-4)
    coupled = {"learning_rate": 0.1, "l2": 0.1}
    assert 11.67 * shrinkage_factor(coupled, 20) == pytest.approx(5.20, abs=0.01)
    assert soft_second_moment(1.0) == pytest.approx(0.151, abs=5e-4)


@pytest.mark.parametrize("s", [0.0, 0.3, 1.0, 4.0])
def test_soft_second_moment_is_an_expectation(s):
    z = np.linspace(-12, 12, 400001)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    expected = np.trapezoid(np.maximum(np.abs(z) - s, 0) ** 2 * density, z)
    assert soft_second_moment(s) == pytest.approx(expected, rel=1e-7)


def shrunken(widths, steps, **change):
    """Kernels before and after steps that only the penalty moves: inputs 0 have no gradient."""
    network, x = mlp(3, widths, 1, dtype=torch.float64), torch.eye(3, dtype=torch.float64)
    start, options = draw_parameters(network, [0]), TRAINING | change
    penalty = Penalty(**{name: options[name] for name in ("l1", "l2", "decay")})
    optimizer = GradientDescent(options["learning_rate"], penalty)
    how = dict(optimizer=optimizer, schedule=Schedule(steps))
    result = train_ensemble(network, start, 0 * x, x[:, :1], **how)
    before, after = (mean_kernels(network, p, x) for p in (start, result.parameters))
    return before, after, shrinkage_factor(options, steps, hidden_layers=len(widths))


@pytest.mark.parametrize("widths", [(30,), (20, 20)])
@pytest.mark.parametrize("change", [dict(l2=0.02), dict(l2=0.02, decay="seed")])
def test_l2_alone_shrinks_the_kernel_by_the_factor(widths, change):
    before, after, factor = shrunken(widths, 7, **change)
    torch.testing.assert_close(after, factor * before, rtol=1e-10, atol=0)


def test_l1_alone_shrinks_wide_kernels_by_the_factor():
    before, after, factor = shrunken((20000,), 50, l1=0.2)
    assert factor == pytest.approx(soft_second_moment(0.5))
    assert after[0].trace() / before[0].trace() == pytest.approx(factor, rel=0.03)


def test_adam_has_one_where_the_decay_is_decoupled():
    adam = TRAINING | {"optimizer": "adam", "l2": 0.02}
    assert math.isnan(shrinkage_factor(adam, 3))
    assert shrinkage_factor(adam | {"decay": "decoupled"}, 3) == pytest.approx(0.998**6)
