"""Expected test errors of kernel regression: against simulations, closed forms and limits."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import brentq

from ntkflow import learning_curve, ridge_regression, total_learnability
from ntkflow.errors import ConfigurationError, KernelError

MODES = 200
POWER_LAW = torch.arange(1, MODES + 1, dtype=torch.float64) ** -1.5
TARGET = torch.arange(1, MODES + 1, dtype=torch.float64) ** -0.8


def simulated(values, target, n, ridge, noise=0.0, draws=200):
    """Test errors and learnabilities of regression on Gaussian features, one a training set.

    The test error is exact: features are orthonormal, |v - v_hat|^2 + noise.
    """
    rng = torch.Generator().manual_seed(n)
    features = torch.randn(draws, n, len(values), dtype=torch.float64, generator=rng)
    noises = torch.randn(draws, n, 1, dtype=torch.float64, generator=rng) * noise**0.5
    weighted = features * values
    gram = weighted @ features.mT + ridge * torch.eye(n, dtype=torch.float64)
    found = weighted.mT @ torch.linalg.solve(gram, features @ target[:, None] + noises)
    learned = torch.linalg.solve(gram, weighted @ features.mT).diagonal(dim1=1, dim2=2).sum(1)
    return (found[..., 0] - target).square().sum(1) + noise, learned


@pytest.mark.parametrize(
    ("n", "ridge", "noise"), [(20, 0.0, 0.0), (80, 0.0, 0.3), (80, 0.5, 0.3), (300, 2.0, 1.0)]
)
def test_error_and_learnability_are_those_of_simulations(n, ridge, noise):
    """Within four standard errors, which are below 3 % of the error."""
    expected = learning_curve(POWER_LAW, TARGET, n, ridge, noise)
    errors, learned = simulated(POWER_LAW, TARGET, n, ridge, noise)
    for found, value in ((errors, expected.error), (learned, expected.learnability.sum())):
        standard_error = found.std().item() / len(found) ** 0.5
        assert standard_error < 0.03 * value.item()
        assert abs(found.mean() - value).item() < 4 * standard_error + 1e-9 * value.item()


def test_bias_and_variance_are_those_of_simulated_predictions():
    n, ridge = 60, 0.1
    rng = torch.Generator().manual_seed(0)
    features = torch.randn(400, n, MODES, dtype=torch.float64, generator=rng)
    weighted = features * POWER_LAW
    gram = weighted @ features.mT + ridge * torch.eye(n, dtype=torch.float64)
    found = (weighted.mT @ torch.linalg.solve(gram, features @ TARGET[:, None]))[..., 0]
    curve = learning_curve(POWER_LAW, TARGET, n, ridge)
    variance = found.var(0).sum()
    bias = (found.mean(0) - TARGET).square().sum() - variance / len(found)
    assert bias.item() == pytest.approx(curve.bias.item(), rel=0.05)
    assert variance.item() == pytest.approx(curve.variance.item(), rel=0.05)


@pytest.mark.parametrize("n", [1, 7, 40, 199])
def test_a_flat_spectrum_has_a_closed_form(n):
    """At ridge 0 every mode is learned to n / M, and the error is |v|^2 (1 - n / M)."""
    flat = torch.full((MODES,), 0.7, dtype=torch.float64)
    curve = learning_curve(flat, TARGET, n, 0.0)
    assert curve.kappa.item() == pytest.approx(0.7 * (MODES - n) / n, rel=1e-12)
    np.testing.assert_allclose(curve.learnability, n / MODES, rtol=1e-12)
    whole = TARGET.square().sum().item()
    assert curve.error.item() == pytest.approx(whole * (1 - n / MODES), rel=1e-12)


def test_a_flat_spectrum_with_ridge_solves_a_quadratic():
    """Formula n = M lambda / (lambda + kappa) + ridge / kappa, multiplied out."""
    level, ridge, n = 0.7, 5.0, 30
    flat = torch.full((MODES,), level, dtype=torch.float64)
    b = n * level - MODES * level - ridge
    kappa = (-b + math.sqrt(b**2 + 4 * n * level * ridge)) / (2 * n)
    curve = learning_curve(flat, TARGET, n, ridge, noise=0.2)
    assert curve.kappa.item() == pytest.approx(kappa, rel=1e-12)
    share = level / (level + kappa)
    left = (1 - share) ** 2 * TARGET.square().sum().item() + 0.2
    assert curve.error.item() == pytest.approx(n / (n - MODES * share**2) * left, rel=1e-12)


@pytest.mark.parametrize("ridge", [0.0, 1e-12, 1e-3, 1.0, 1e9])
@pytest.mark.parametrize("power", [0.5, 1.5, 6.0, 20.0])
def test_kappa_is_the_root_and_learnabilities_sum_to_n(power, ridge):
    """Against a root finder in float64; spectra fall by up to 46 decades."""
    values = torch.arange(1, MODES + 1, dtype=torch.float64) ** -power
    sizes = [1, 2, 10, 150, MODES - 1] + [MODES, 5 * MODES] * (ridge > 0)
    curve = learning_curve(values, TARGET, sizes, ridge)

    def excess(log_kappa, n):
        kappa = math.exp(log_kappa)
        return math.fsum((values / (values + kappa)).tolist()) + ridge / kappa - n

    for n, kappa in zip(sizes, curve.kappa.tolist(), strict=True):
        assert math.log(kappa) == pytest.approx(brentq(excess, -120, 40, args=(n,)), abs=1e-9)
    total = curve.learnability.sum(1) + ridge / curve.kappa
    np.testing.assert_allclose(total, sizes, rtol=1e-12)


def test_a_gap_in_the_spectrum_loses_no_digits():
    """Ten modes and ten others 30 decades below: kappa is their geometric mean at n = 10."""
    values = torch.tensor([1.0] * 10 + [1e-30] * 10, dtype=torch.float64)
    curve = learning_curve(values, torch.ones(20), 10, 0.0)
    assert curve.kappa.item() == pytest.approx(1e-15, rel=1e-9)
    assert curve.error.item() == pytest.approx(10 / 2e-14 * 10, rel=1e-9)


def test_errors_fall_and_learnabilities_rise_with_n():
    sizes = torch.arange(1, MODES)
    for ridge in (0.0, 0.1):
        curve = learning_curve(POWER_LAW, TARGET, sizes, ridge)
        assert (curve.error.diff() < 0).all()
        assert (curve.learnability.diff(dim=0) > 0).all()
        assert (curve.learnability.diff(dim=1) < 0).all()
        assert ((curve.learnability > 0) & (curve.learnability < 1)).all()
    with_ridge = learning_curve(POWER_LAW, TARGET, sizes, 0.1)
    assert (with_ridge.kappa > learning_curve(POWER_LAW, TARGET, sizes, 0.0).kappa).all()


def test_the_parts_add_up():
    curve = learning_curve(POWER_LAW, TARGET, [5, 50], 0.1, noise=0.4)
    learned = curve.learnability
    left = ((1 - learned).square() * TARGET.square()).sum(1) + 0.4
    sizes = torch.tensor([5.0, 50.0])
    expected = sizes / (sizes - learned.square().sum(1)) * left
    torch.testing.assert_close(curve.error, expected)
    torch.testing.assert_close(curve.bias + curve.variance + 0.4, expected)


def test_outputs_are_summed_and_the_order_of_modes_is_free():
    both = torch.stack([TARGET, TARGET.flip(0)], dim=1)
    sizes = np.array([3.0, 30.5])
    together = learning_curve(POWER_LAW, both, sizes, 0.1)
    apart = [learning_curve(POWER_LAW, both[:, index], sizes, 0.1) for index in (0, 1)]
    torch.testing.assert_close(together.error, apart[0].error + apart[1].error)
    turned = learning_curve(POWER_LAW.flip(0), both.flip(0), sizes, 0.1)
    torch.testing.assert_close(turned.error, together.error)
    torch.testing.assert_close(turned.learnability.flip(1), together.learnability)


def test_axes_and_units():
    one = learning_curve(POWER_LAW.float(), TARGET, 3, 0.1)
    assert (one.kappa.shape, one.learnability.shape, one.error.shape) == ((), (MODES,), ())
    assert one.error.dtype == torch.float64
    grid = learning_curve(POWER_LAW, TARGET, torch.ones(2, 3), 0.1)
    assert (grid.kappa.shape, grid.learnability.shape) == ((2, 3), (2, 3, MODES))
    scaled = learning_curve(7 * POWER_LAW, TARGET, 3, 0.7)
    base = learning_curve(POWER_LAW, TARGET, 3, 0.1)
    assert scaled.kappa.item() == pytest.approx(7 * base.kappa.item(), rel=1e-12)
    assert scaled.error.item() == pytest.approx(base.error.item(), rel=1e-12)


def test_beyond_the_rank_regression_is_least_squares():
    """At ridge 0 the error is n / (n - rank) of the noise: nearly the exact 1 + r / (n - r - 1)."""
    values = torch.cat([POWER_LAW[:20], torch.zeros(1, dtype=torch.float64)])
    target = torch.cat([TARGET[:20], torch.tensor([0.3], dtype=torch.float64)])
    curve = learning_curve(values, target, [50, 200], 0.0, noise=0.5)
    left = 0.5 + 0.3**2
    assert curve.kappa.tolist() == [0.0, 0.0]
    assert curve.learnability[0].tolist() == [1.0] * 20 + [0.0]
    np.testing.assert_allclose(curve.error, [50 / 30 * left, 200 / 180 * left], rtol=1e-12)
    tiny = learning_curve(values, target, [50, 200], 1e-13, noise=0.5)
    np.testing.assert_allclose(tiny.error, curve.error, rtol=1e-6)
    errors, _ = simulated(values[:20], target[:20], 50, 1e-9, noise=0.5)
    expected = learning_curve(values[:20], target[:20], 50, 0.0, noise=0.5).error.item()
    assert errors.mean().item() == pytest.approx(0.5 * (1 + 20 / 29), rel=0.05)
    assert errors.mean().item() == pytest.approx(expected, rel=0.05)


def test_at_the_rank_the_error_is_infinite_unless_nothing_is_left():
    values, target = POWER_LAW[:20], TARGET[:20]
    assert learning_curve(values, target, 20, 0.0).error.item() == 0.0
    noisy = learning_curve(values, target, 20, 0.0, noise=0.1)
    assert (noisy.error.item(), noisy.bias.item()) == (math.inf, 0.0)
    assert learning_curve(values, target, 19, 0.0).error.item() > 0


def test_a_kernel_without_a_mode_predicts_zero():
    nothing = learning_curve(torch.zeros(3), torch.ones(3), [1, 9], 0.0, noise=0.5)
    assert nothing.error.tolist() == [3.5, 3.5]
    assert learning_curve(torch.zeros(3), torch.ones(3), 2, 0.4).kappa.item() == 0.2


def test_a_pool_of_rows_is_its_own_distribution():
    """From eigenpairs of K / M: errors over all rows of the pool, those of training too."""
    rng = torch.Generator().manual_seed(0)
    features = torch.randn(600, MODES, dtype=torch.float64, generator=rng)
    gram, y = features * POWER_LAW @ features.T, features @ TARGET[:, None]
    gram = (gram + gram.T) / 2
    values, vectors = torch.linalg.eigh(gram / 600)
    curve = learning_curve(values, vectors.T @ y / 600**0.5, [30, 60], ridge=0.1)
    for n, expected in zip((30, 60), curve.error.tolist(), strict=True):
        errors = []
        for seed in range(100):
            rows = np.random.default_rng(seed).permutation(600)[:n]
            f = ridge_regression(gram[rows][:, rows], gram[:, rows], y[rows], ridge=0.1)
            errors.append((f - y).square().mean().item())
        standard_error = np.std(errors) / 10
        assert standard_error < 0.03 * expected
        assert abs(np.mean(errors) - expected) < 4 * standard_error


def test_eigenvalues_within_rounding_count_as_zero():
    noise = torch.tensor([3e-17, -5e-17, 4e-17], dtype=torch.float64)
    values = torch.cat([POWER_LAW[:20], noise])
    target = torch.cat([TARGET[:20], torch.full((3,), 1e-3, dtype=torch.float64)])
    clean = torch.where(values > 1e-10, values, 0.0)
    for n in (10, 22, 40):
        found, expected = (learning_curve(each, target, n, 0.0) for each in (values, clean))
        torch.testing.assert_close(found.error, expected.error)
    small = torch.tensor([1.0, 3e-17], dtype=torch.float64)  # none is negative: not rounding
    assert learning_curve(small, torch.ones(2), 3, 0.0).learnability.tolist() == [1.0, 1.0]


def test_total_learnability_is_the_trace():
    rng = torch.Generator().manual_seed(0)
    features = torch.randn(12, 5, dtype=torch.float64, generator=rng)
    gram = features @ features.T
    gram = (gram + gram.T) / 2
    for ridge in (1e-3, 1.0, 1e12):
        inverse = torch.linalg.inv(gram + ridge * torch.eye(12, dtype=torch.float64))
        expected = torch.trace(gram @ inverse).item()
        assert total_learnability(gram, ridge=ridge) == pytest.approx(expected, rel=1e-9)
    assert total_learnability(gram.float(), ridge=1.0) == pytest.approx(
        total_learnability(gram, ridge=1.0), rel=1e-5
    )


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"n": 0}, ConfigurationError, r"^n: 0 is not allowed; use finite numbers of rows >= 1"),
        ({"n": [5, 0.5]}, ConfigurationError, r"^n: \[5, 0\.5\] is not allowed"),
        ({"n": math.inf}, ConfigurationError, "^n: inf"),
        ({"ridge": -1.0}, ConfigurationError, "^ridge: -1.0 is not allowed; use a number >= 0"),
        ({"ridge": math.nan}, ConfigurationError, "^ridge: nan"),
        ({"ridge": math.inf}, ConfigurationError, "^ridge: inf is not allowed; use a finite"),
        ({"noise": -0.1}, ConfigurationError, "^noise: -0.1"),
        ({"eigenvalues": POWER_LAW - 0.01}, KernelError, r"^eigenvalues: -0\.00\d+ is negative"),
        ({"eigenvalues": POWER_LAW * torch.nan}, KernelError, "^eigenvalues: some are not finite"),
        ({"coefficients": TARGET / 0}, KernelError, "^coefficients: some are not finite"),
    ],
)
def test_bad_arguments(change, error, message):
    arguments = {"eigenvalues": POWER_LAW, "coefficients": TARGET, "n": 5, "ridge": 0.0}
    with pytest.raises(error, match=message):
        learning_curve(**arguments | change)


@pytest.mark.usefixtures("unchecked_types")
def test_lengths_that_differ_are_named():
    with pytest.raises(KernelError, match=r"^coefficients: shape \(3,\) .* use \(200, \.\.\.\)"):
        learning_curve(POWER_LAW, TARGET[:3], 5, 0.0)


def test_total_learnability_refuses_what_is_no_kernel():
    gram = torch.diag(torch.tensor([1.0, -0.5]))
    with pytest.raises(KernelError, match=r"^kernel: eigenvalue -0\.5 is negative beyond rounding"):
        total_learnability(gram, ridge=1.0)
    with pytest.raises(ConfigurationError, match=r"^ridge: 0\.0 is not allowed; use a number > 0"):
        total_learnability(gram, ridge=0.0)


def test_nothing_to_learn_from_is_refused():
    ones = torch.ones(3)
    with pytest.raises(ConfigurationError, match=r"^n: none is given; use at least one number"):
        learning_curve(ones, ones, [], 0.1)
    with pytest.raises(ConfigurationError, match=r"^eigenvalues: torch.float32 \(0,\) with coeff"):
        learning_curve(ones[:0], ones[:0], 2, 0.1)


def test_gradients_do_not_follow_the_root():
    values = torch.tensor([2.0, 1.0]).requires_grad_()
    curve = learning_curve(values, torch.ones(2), 2, 0.1)
    assert not curve.error.requires_grad
    assert not curve.kappa.requires_grad
