import numpy as np
import pytest
import torch
from torch import nn

from ntkflow.dynamics.null_models import (
    is_positively_homogeneous,
    shrinkage_factor,
    soft_second_moment,
)
from ntkflow.empirical.one_hidden_layer import mean_kernels
from ntkflow.networks import Dense, Residual, cnn, draw_parameters, mlp
from ntkflow.training import Adam, GradientDescent, Penalty, Schedule, train_ensemble


def test_published_values():
    by_seed = shrinkage_factor(100, learning_rate=0.01, l2=0.001, decay="seed")
    assert 7.26 * by_seed == pytest.approx(5.920, abs=5e-4)
    coupled = shrinkage_factor(20, learning_rate=0.1, l2=0.1)
    assert 11.67 * coupled == pytest.approx(5.20, abs=0.01)
    assert soft_second_moment(1.0) == pytest.approx(0.151, abs=5e-4)


@pytest.mark.parametrize("s", [0.0, 0.3, 1.0, 4.0])
def test_soft_second_moment_is_an_expectation(s):
    z = np.linspace(-12, 12, 400001)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    expected = np.trapezoid(np.maximum(np.abs(z) - s, 0) ** 2 * density, z)
    assert soft_second_moment(s) == pytest.approx(expected, rel=1e-7)


def shrunken(network, hidden_layers, steps, *, optimizer="sgd", **penalty):
    """Kernels before and after steps that only the penalty moves: inputs 0 have no gradient."""
    x = torch.eye(3, dtype=torch.float64)
    start, penalty = draw_parameters(network, [0]), penalty | {"learning_rate": 0.05}
    targets = torch.zeros(3, 1, dtype=torch.float64)
    rate, rest = penalty["learning_rate"], {k: penalty[k] for k in penalty if k != "learning_rate"}
    kind = {"sgd": GradientDescent, "adam": Adam}[optimizer]
    how = dict(optimizer=kind(rate, Penalty(**rest)), schedule=Schedule(steps))
    trained = train_ensemble(network, start, 0 * x, targets, **how)
    before, after = (mean_kernels(network, p, x) for p in (start, trained.parameters))
    return before, after, shrinkage_factor(steps, hidden_layers=hidden_layers, **penalty)


@pytest.mark.parametrize("activation", ["relu", "abs", "linear"])
@pytest.mark.parametrize("widths", [(30,), (20, 20)])
@pytest.mark.parametrize("decay", ["coupled", "decoupled", "seed"])
def test_l2_alone_shrinks_the_kernel_by_the_factor(widths, activation, decay):
    network = mlp(3, widths, 1, activation=activation, dtype=torch.float64)
    before, after, factor = shrunken(network, len(widths), 7, l2=0.02, decay=decay)
    torch.testing.assert_close(after, factor * before, rtol=1e-10, atol=0)


@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_l1_shrinks_wide_kernels_by_the_factor(l2):
    network = mlp(3, (20000,), 1, dtype=torch.float64)
    before, after, factor = shrunken(network, 1, 50, l1=0.2, l2=l2)
    if not l2:
        assert factor == pytest.approx(soft_second_moment(0.5))
    assert after[0].trace() / before[0].trace() == pytest.approx(factor, rel=0.03)


def test_decoupled_decay_of_adam_is_that_of_descent():
    network = mlp(3, (30,), 1, dtype=torch.float64)
    options = dict(l2=0.02, optimizer="adam", decay="decoupled")
    before, after, factor = shrunken(network, 1, 7, **options)
    torch.testing.assert_close(after, factor * before, rtol=1e-10, atol=0)


def test_a_penalty_may_leave_nothing():
    assert shrinkage_factor(10**5, learning_rate=0.1, l1=0.1, l2=0.1) == 0
    assert shrinkage_factor(500, learning_rate=0.1, l1=1.0) == 0
    assert shrinkage_factor(0, learning_rate=0.1, l1=1.0, l2=1.0) == 1


HOMOGENEOUS = {
    "relu": (mlp(3, (5, 4), 1, dtype=torch.float64), True),
    "abs": (mlp(3, (5,), 1, activation="abs", dtype=torch.float64), True),
    "linear": (mlp(3, (5,), 1, activation="linear", dtype=torch.float64), True),
    "standard": (mlp(3, (5,), 1, parameterization="standard", dtype=torch.float64), True),
    "leaky": (nn.Sequential(Dense(3, 5), nn.LeakyReLU(), Dense(5, 1)).double(), True),
    "dropout": (mlp(3, (5,), 1, dropout=0.5, dtype=torch.float64).eval(), True),
    "bias": (mlp(3, (5,), 1, sigma_b=0.1, dtype=torch.float64), False),
    "tanh": (mlp(3, (5,), 1, activation="tanh", dtype=torch.float64), False),
    "gelu": (mlp(3, (5,), 1, activation="gelu", dtype=torch.float64), False),
    "torch": (nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 1)).double(), False),
    "norm": (nn.Sequential(Dense(3, 5), nn.LayerNorm(5), Dense(5, 1)).double(), False),
    "residual": (nn.Sequential(Dense(3, 5), Residual(Dense(5, 5)), Dense(5, 1)).double(), False),
}


@pytest.mark.parametrize("name", HOMOGENEOUS)
def test_which_networks_are_homogeneous(name):
    network, expected = HOMOGENEOUS[name]
    assert is_positively_homogeneous(network) is expected
    x = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    layers = sum(key.endswith("weight") for key, p in network.named_parameters() if p.ndim > 1)
    doubled = {key: 2 * p for key, p in network.named_parameters()}
    scaled = torch.func.functional_call(network, doubled, (x,))
    assert torch.allclose(scaled, 2**layers * network(x), rtol=1e-10, atol=0) is expected


def test_convolutions_are_homogeneous_and_batch_normalisation_is_not():
    assert is_positively_homogeneous(cnn(1, [4], image_size=4, head="gap"))
    assert not is_positively_homogeneous(mlp(3, (5,), normalization="batch"))
