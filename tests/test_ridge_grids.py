"""Errors of many ridges at once against a refit for every row that is left out."""

import numpy as np
import pytest
import torch
from ridge_problems import problem, relative, solution

from ntkflow import kernel_ridge
from ntkflow.errors import ConfigurationError, KernelError
from ntkflow.regression import grids

RIDGES = [1e-2, 0.3, 5.0]
METHODS = ("direct", "iterative")


def refit(kernel, y, ridge, rows, centre):
    """Predictions at rows by a fit to the others."""
    kept = np.setdiff1d(np.arange(len(y)), rows)
    found, offset = solution(kernel[kept][:, kept], y[kept], ridge, centre)
    return kernel[rows][:, kept].double() @ found.reshape(len(kept), -1) + offset.reshape(-1)


def fitted(method, centre, outputs=(3,), dtype=torch.float64, **options):
    _, y, _, kernel, *_ = problem(n=60, outputs=outputs, dtype=dtype)
    tolerance = 1e-10 if dtype == torch.float64 else 1e-6
    options |= dict(method=method, centre=centre, tolerance=tolerance)
    return kernel, y, kernel_ridge(kernel, y, 0.1, **options)


@pytest.mark.parametrize("centre", [False, True])
@pytest.mark.parametrize("fit_method", METHODS)
@pytest.mark.parametrize("method", METHODS)
def test_leave_one_out_is_a_refit_without_the_row(method, fit_method, centre):
    kernel, y, fit = fitted(fit_method, centre)
    found = fit.leave_one_out(RIDGES, method=method, rows=60, tolerance=1e-11)
    assert found.method == method
    assert found.rows.tolist() == list(range(60))
    for ridge, predictions, mean, spread in zip(
        RIDGES, found.predictions, found.mean_squares, found.standard_errors, strict=True
    ):
        expected = torch.cat([refit(kernel, y, ridge, [i], centre) for i in range(60)])
        assert relative(predictions, expected) < 1e-7
        squares = (expected - y).square().mean(1)
        assert mean.item() == pytest.approx(squares.mean().item(), rel=1e-6)
        assert spread.item() == pytest.approx(squares.std().item() / 60**0.5, rel=1e-6)


@pytest.mark.parametrize("centre", [False, True])
@pytest.mark.parametrize("fit_method", METHODS)
@pytest.mark.parametrize("method", METHODS)
def test_held_out_rows_are_not_fitted(method, fit_method, centre):
    kernel, y, fit = fitted(fit_method, centre)
    rows = torch.tensor([50, 2, 17, 33])
    found = fit.held_out(RIDGES, rows, method=method, tolerance=1e-11)
    for ridge, predictions, mean in zip(RIDGES, found.predictions, found.mean_squares, strict=True):
        expected = refit(kernel, y, ridge, rows.numpy(), centre)
        assert relative(predictions, expected) < 1e-7
        squares = (expected - y[rows]).square().mean()
        assert mean.item() == pytest.approx(squares.item(), rel=1e-6)
    assert found.residual <= 1e-10
    assert found.ridges.tolist() == RIDGES


@pytest.mark.parametrize("outputs", [(), (2, 2)])
def test_predictions_have_the_shape_of_the_targets(outputs):
    kernel, y, fit = fitted("iterative", True, outputs)
    found = fit.leave_one_out(RIDGES)
    assert found.predictions.shape == (3, 60, *outputs)
    expected = refit(kernel, y, RIDGES[1], [7], True).reshape(outputs)
    torch.testing.assert_close(found.predictions[1, 7], expected, rtol=1e-7, atol=1e-8)


def test_a_sample_of_rows_is_part_of_all_rows(monkeypatch):
    *_, fit = fitted("iterative", True)
    everything = fit.leave_one_out(RIDGES)
    monkeypatch.setattr(grids, "_DECOMPOSED", 10)
    monkeypatch.setattr(grids, "_SAMPLED", 20)
    some = fit.leave_one_out(RIDGES, tolerance=1e-10)
    assert (everything.method, some.method) == METHODS
    assert len(some.rows) == len(some.rows.unique()) == 20
    assert relative(some.predictions, everything.predictions[:, some.rows]) < 1e-6
    away = (some.mean_squares - everything.mean_squares).abs()
    assert (away < 4 * some.standard_errors).all()


def test_float32_kernels_have_the_errors_of_float64():
    kernel, y, fit = fitted("iterative", False, dtype=torch.float32)
    rows = torch.arange(50, 60)
    for found in (fit.held_out(RIDGES, rows, method="iterative"), fit.held_out(RIDGES, rows)):
        expected = torch.stack([refit(kernel, y, r, rows.numpy(), False) for r in RIDGES])
        assert relative(found.predictions, expected) < 1e-3
        assert found.residual < 1e-3


def test_what_is_refused(unchecked_types):
    kernel, y, fit = fitted("iterative", False)
    for options, words in (
        (dict(ridges=[]), "^ridges: none is given"),
        (dict(ridges=[0.1, -1.0]), "^ridges: -1.0 is not allowed"),
        (dict(ridges=[0.1], method="LU"), "^method: 'LU' is unknown"),
        (dict(ridges=[0.1], rows=61), "^rows: 61 is not allowed; use a whole number from 1 to 60"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            fit.leave_one_out(**options)
    for rows in ([60], [-1], [], [0.5]):
        with pytest.raises(ConfigurationError, match=r"^rows: use indices from 0 to 59"):
            fit.held_out(RIDGES, torch.tensor(rows))
    with pytest.raises(ConfigurationError, match=r"^rows: all 60 are held out"):
        fit.held_out(RIDGES, torch.arange(60))
    single = kernel_ridge(kernel.float(), y, 0.1, method="iterative")
    with pytest.raises(KernelError, match=r"^ridges: the .*relative residual"):
        single.held_out([1e-3], torch.arange(5), method="iterative", tolerance=1e-9)


def test_a_singular_kernel_needs_a_ridge():
    kernel = torch.ones(8, 8, dtype=torch.float64)
    fit = kernel_ridge(kernel, torch.randn(8), 0.1)
    with pytest.raises(KernelError, match=r"^ridges: 0 is not allowed with a smallest eigenvalue"):
        fit.leave_one_out([0.0, 0.1])


def test_rows_that_judge_are_indices_each_once():
    _, _, fit = fitted("direct", False)
    mask = torch.zeros(60, dtype=torch.bool)
    mask[[3, 7]] = True
    for rows in (mask, torch.tensor([3, 3])):
        with pytest.raises(ConfigurationError, match=r"^rows: .* at least one, each of them once"):
            fit.held_out(RIDGES, rows)
    with pytest.raises(KernelError, match=r"^rows: shape \(\) is not allowed"):
        fit.held_out(RIDGES, torch.tensor(3))
    expected = fit.held_out(RIDGES, torch.tensor([3, 7]))
    small = fit.held_out(RIDGES, torch.tensor([3, 7], dtype=torch.uint8))
    torch.testing.assert_close(small.standard_errors, expected.standard_errors)


@pytest.mark.parametrize("method", METHODS)
def test_a_kernel_that_a_ridge_leaves_indefinite_is_refused(method):
    _, y, _, kernel, *_ = problem(n=60)
    kernel = kernel - 2.0 * torch.eye(60)
    fit = kernel_ridge(kernel, y, 5.0)
    assert fit.leave_one_out([5.0], method=method).residual < 1e-3
    for found in (
        lambda: fit.leave_one_out([5.0, 0.3], rows=60, method=method),
        lambda: fit.held_out([0.3, 5.0], torch.tensor([3, 7]), method=method),
    ):
        with pytest.raises(KernelError, match=r"^ridges: 0.3 is not allowed with a"):
            found()


@pytest.mark.parametrize("rows", [None, torch.arange(50, 60)])
def test_residuals_of_direct_solutions_are_computed(rows, monkeypatch):
    _, y, _, kernel, *_ = problem(n=60)
    fit = kernel_ridge(kernel, y, 0.1)

    def errors():
        found = fit.leave_one_out([0.1]) if rows is None else fit.held_out([0.1], rows)
        return found.residual

    assert 0 < errors() < 1e-12
    name = "_eigenpairs" if rows is None else "_direct"
    exact = getattr(grids, name)

    def wrong(*given):
        found = exact(*given)
        return found * (1 + 1e-4) if rows is not None else (found[0] * (1 + 1e-4), found[1])

    monkeypatch.setattr(grids, name, wrong)
    assert 1e-6 < errors() < 1e-3


@pytest.mark.usefixtures("unchecked_types")
def test_ridges_are_a_list():
    _, _, fit = fitted("direct", False)
    for ridges in (0.1, torch.tensor(0.1)):
        with pytest.raises(ConfigurationError, match=r"^ridges: .* use a list of numbers >= 0"):
            fit.leave_one_out(ridges)


def test_factors_of_few_ridges_and_eigenpairs_of_many_agree():
    _, y, _, kernel, *_ = problem(n=60)
    fit, rows = kernel_ridge(kernel, y, 0.1), torch.arange(10, 25)
    many = [10.0 ** (-k / 8) for k in range(40)]
    found, expected = fit.held_out(many[:5], rows), fit.held_out(many, rows)
    assert relative(found.predictions, expected.predictions[:5]) < 1e-9
    assert (found.method, expected.method) == ("direct", "direct")
