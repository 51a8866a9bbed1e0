import math

import pytest
import torch

from ntkflow import TrainingDynamics, early_stopping_time, expected_test_error
from ntkflow.errors import ConfigurationError, KernelError


def noisy_circle(points=24, grid=60):
    """Kernel on a circle (rate falls with the mode), clean training and test targets."""
    generator = torch.Generator().manual_seed(5)
    train = 2 * torch.pi * torch.rand(points, generator=generator, dtype=torch.float64)
    test = 2 * torch.pi * torch.arange(grid, dtype=torch.float64) / grid
    target = lambda angle: angle.cos() + (3 * angle).sin()  # noqa: E731

    def kernel(a, b):
        modes = torch.arange(1, 12, dtype=torch.float64)
        return (torch.cos(modes * (a[:, None] - b)[..., None]) / modes**2).sum(-1)

    return kernel(train, train), kernel(test, train), target(train), target(test)


def test_expected_test_error_against_noisy_training():
    gram, cross, clean, clean_test = noisy_circle()
    dynamics = TrainingDynamics(gram, learning_rate=0.2)
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(24, 2000, generator=generator, dtype=torch.float64)
    predictions = dynamics.mean(cross, clean[:, None] + 0.7 * noise, [0, 5, 100])
    errors = (predictions - clean_test[:, None]).square().mean(1)
    expected = expected_test_error(dynamics, cross, clean, clean_test, [0, 5, 100], noise_std=0.7)
    standard_error = errors.std(1) / 2000**0.5
    assert ((errors.mean(1) - expected).abs() <= 4 * standard_error + 1e-12).all()
    twice = expected_test_error(
        dynamics,
        cross,
        torch.stack([clean, clean], 1),
        torch.stack([clean_test] * 2, 1),
        5,
        noise_std=0.7,
    )
    torch.testing.assert_close(twice, 2 * expected[1], rtol=1e-12, atol=0)


def test_early_stopping_time_of_one_direction():
    signal, noise_std = 2.0, 0.5
    gram = torch.ones(1, 1, dtype=torch.float64)
    target = torch.full((1,), signal, dtype=torch.float64)
    flow = TrainingDynamics(gram, learning_rate=0.1, method="gradient_flow")
    # The best fraction g = c^2 / (c^2 + sigma^2) minimises (1 - g)^2 c^2 + g^2 sigma^2.
    expected = math.log(1 + signal**2 / noise_std**2) / 0.2
    time = early_stopping_time(flow, gram, target, target, noise_std=noise_std)
    assert time == pytest.approx(expected, rel=1e-6)
    assert early_stopping_time(flow, gram, target, target, noise_std=0) == math.inf
    assert early_stopping_time(flow, gram, 0 * target, 0 * target, noise_std=1) == 0


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("noise_std", [0.2, 0.7, 2.0])
def test_early_stopping_step_against_all_steps(momentum, noise_std):
    gram, cross, clean, clean_test = noisy_circle()
    dynamics = TrainingDynamics(gram, learning_rate=0.02, momentum=momentum)
    args = (cross, clean, clean_test)
    errors = expected_test_error(dynamics, *args, torch.arange(20000), noise_std=noise_std)
    assert 0 < errors.argmin() < 19999
    step = early_stopping_time(dynamics, *args, noise_std=noise_std)
    assert step == errors.argmin()


def test_early_stopping_needs_a_stable_step():
    gram, cross, clean, clean_test = noisy_circle()
    dynamics = TrainingDynamics(gram, learning_rate=100.0)
    with pytest.raises(ConfigurationError, match="largest stable step"):
        early_stopping_time(dynamics, cross, clean, clean_test, noise_std=1)


def test_early_stopping_time_predicts_single_draws():
    gram, cross, clean, clean_test = noisy_circle()
    dynamics = TrainingDynamics(gram, learning_rate=0.05)
    predicted = early_stopping_time(dynamics, cross, clean, clean_test, noise_std=0.7)
    generator = torch.Generator().manual_seed(2)
    noisy = clean[:, None] + 0.7 * torch.randn(24, 200, generator=generator, dtype=torch.float64)
    t = torch.arange(1, 2000)
    errors = (dynamics.mean(cross, noisy, t) - clean_test[:, None]).square().mean(1)
    ratio = t[errors.argmin(0)] / predicted
    assert ((ratio < 2) & (ratio > 0.5)).double().mean() > 0.7


@pytest.mark.parametrize("t", [3, [1, 2]])
def test_expected_test_error_on_the_meta_device(t):
    gram, cross, clean, clean_test = (each.to("meta") for each in noisy_circle())
    dynamics = TrainingDynamics(gram, learning_rate=0.05)
    error = expected_test_error(dynamics, cross, clean, clean_test, t, noise_std=1.0)
    assert error.is_meta
    assert error.shape == torch.Size([] if t == 3 else [2])


def test_nothing_to_learn_stops_at_once():
    dynamics = TrainingDynamics(torch.zeros(2, 2), learning_rate=0.1)
    zeros, clean = torch.zeros(1, 2), torch.ones(2)
    assert early_stopping_time(dynamics, zeros, clean, clean[:1], noise_std=1) == 0


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("name", "change", "allowed"),
    [
        ("clean_test", lambda test: test[:, None], r"\(60,\)"),  # would be broadcast
        ("clean_test", lambda test: test[1:], r"\(60,\)"),
        ("clean_train", lambda train: train[1:], r"\(24, \.\.\.\)"),
        ("cross_gram", lambda cross: cross.T, r"\(any, 24\)"),
    ],
)
def test_arrays_that_do_not_fit_are_named(name, change, allowed):
    names = ("cross_gram", "clean_train", "clean_test")
    gram, *arrays = noisy_circle()
    arguments = dict(zip(names, arrays, strict=True))
    arguments[name] = change(arguments[name])
    dynamics = TrainingDynamics(gram, learning_rate=0.1)
    with pytest.raises(KernelError, match=rf"^{name}: shape .* use {allowed}$"):
        expected_test_error(dynamics, **arguments, t=3, noise_std=1.0)
    with pytest.raises(KernelError, match=rf"^{name}: shape .* use {allowed}$"):
        early_stopping_time(dynamics, **arguments, noise_std=1.0)


def test_noise_is_not_negative():
    gram, cross, clean, clean_test = noisy_circle()
    dynamics = TrainingDynamics(gram, learning_rate=0.1)
    with pytest.raises(ConfigurationError, match=r"noise_std: -1.0 is not allowed"):
        expected_test_error(dynamics, cross, clean, clean_test, 3, noise_std=-1.0)
