"""Eigenvalues on the circle against closed forms and published values."""

import math

import pytest
import torch

from ntkflow.errors import ConfigurationError
from ntkflow.limits import circle_eigenvalues, limit_kernels
from ntkflow.networks import mlp

BETA_TENTH = """.16593 .12913 .037547 1.1501e-3 3.4745e-3 6.276e-4 1.1316e-3 3.974e-4 5.367e-4
2.710e-4 3.089e-4 1.943e-4 2.006e-4 1.448e-4 1.412e-4 1.112e-4 1.052e-4 8.77e-5 8.17e-5 7.07e-5
6.55e-5 5.81e-5 5.38e-5 4.85e-5 4.50e-5 4.11e-5 3.82e-5 3.53e-5 3.29e-5 3.06e-5 2.86e-5 2.67e-5
2.51e-5"""
BETA_ONE = """1.9526 .23108 .023450 6.052e-3 3.105e-3 1.895e-3 1.284e-3 9.303e-4 7.058e-4 5.542e-4
4.469e-4 3.682e-4 3.086e-4 2.625e-4 2.260e-4 1.966e-4 1.726e-4"""
DEEP = {3: 0.005926, 7: 8.01e-4, 11: 3.09e-4, 16: 1.59e-4, 23: 6.88e-5, 32: 3.92e-5}


def published(text):
    """Values and half a unit of each last digit."""
    for word in text.split():
        mantissa, _, exponent = word.partition("e")
        digits = len(mantissa.partition(".")[2])
        yield float(word), 0.51 * 10.0 ** (int(exponent or 0) - digits)


def exact(k):
    """One hidden layer without bias."""
    if k == 1:
        return 1 / 8
    return 0.0 if k % 2 else (k**2 + 3) / (2 * math.pi**2 * (k**2 - 1) ** 2)


def test_one_hidden_layer_without_bias_is_exact():
    values = circle_eigenvalues(mlp(2, [1]), range(65))
    expected = torch.tensor([exact(k) for k in range(65)], dtype=torch.float64)
    torch.testing.assert_close(values, expected, rtol=0, atol=2e-14)


@pytest.mark.parametrize(("sigma_b", "text"), [(0.1, BETA_TENTH), (1.0, BETA_ONE)])
def test_one_hidden_layer_with_bias(sigma_b, text):
    expected = list(published(text))
    values = circle_eigenvalues(mlp(2, [1], sigma_b=sigma_b), range(len(expected)))
    for value, (target, half_digit) in zip(values.tolist(), expected, strict=True):
        assert value == pytest.approx(target, abs=half_digit)


def test_beta_one_at_mode_32():
    (value,) = circle_eigenvalues(mlp(2, [1], sigma_b=1.0), [32]).tolist()
    assert value == pytest.approx(4.29e-5, abs=0.005e-5)


def test_three_hidden_layers_bring_odd_modes_back():
    values = circle_eigenvalues(mlp(2, [1] * 3), list(DEEP)).tolist()
    for value, target in zip(values, DEEP.values(), strict=True):
        assert value == pytest.approx(target, rel=2e-3)


@pytest.mark.parametrize("sigma_b", [0.0, 1e-3, 0.1])
@pytest.mark.parametrize("kernel", ["ntk", "nngp"])
def test_quadrature_has_converged(sigma_b, kernel):
    network = mlp(2, [1] * 3, sigma_b=sigma_b)
    values, finer = (
        circle_eigenvalues(network, range(65), kernel=kernel, nodes=nodes) for nodes in (256, 600)
    )
    torch.testing.assert_close(values, finer, rtol=0, atol=1e-12)


def test_eigenvalues_are_those_of_a_uniform_grid():
    network, n = mlp(2, [1, 1], sigma_b=0.3), 2000
    angles = torch.arange(n, dtype=torch.float64) * (2 * math.pi / n)
    points = torch.stack([angles.cos(), angles.sin()], dim=1)
    row = limit_kernels(network, points[:1], points).ntk[0]
    grid = torch.fft.rfft(row).real[:4] / n
    torch.testing.assert_close(circle_eigenvalues(network, range(4)), grid, rtol=0, atol=1e-6)


def test_any_kernel_function():
    values = circle_eigenvalues(lambda x1, x2: (x1 @ x2.mT) ** 2, range(4))
    expected = torch.tensor([0.5, 0, 0.25, 0], dtype=torch.float64)
    torch.testing.assert_close(values, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel": "both"}, "'both' is unknown; allowed: nngp, ntk"),
        ({"nodes": 3}, r"0 \.\.\. nodes - 1 = 2"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ConfigurationError, match=message):
        circle_eigenvalues(mlp(2, [1]), range(5), **options)
