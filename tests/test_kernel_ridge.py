"""Fits of every source and by every method against NumPy's solver."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ridge_problems import NETWORK, problem, relative, solution

from ntkflow import (
    empirical_ntk,
    kernel_ridge,
    limit_kernels,
    mlp,
    ntk_operator,
    write_kernel_tiles,
)
from ntkflow.errors import ConfigurationError, KernelError, StorageError
from ntkflow.regression import choosing, fits, sources

RIDGE = 0.05
METHODS = ("direct", "iterative")


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    """Several tiles, also of a small kernel."""
    monkeypatch.setattr(sources.Source, "side", 70)


def given(kind, x, kernel, folder):
    """A kernel in one of the forms that are taken, and options."""
    if kind == "tensor":
        return kernel, {}
    if kind == "file":
        path = folder / "kernel.h5"
        write_kernel_tiles(path, lambda i, j: kernel[i, j], len(x), tile=50, data=x)
        return path, dict(data=x)
    if kind == "operator":
        return Product(kernel), {}
    return (NETWORK, x), dict(dtype=torch.float64)


class Product:
    """A kernel of which products alone are known."""

    device, dtype = torch.device("cpu"), torch.float64

    def __init__(self, kernel):
        self._kernel, self.shape, self.products = kernel, kernel.shape, 0

    def __matmul__(self, vectors):
        self.products += vectors.shape[1]
        return self._kernel @ vectors


@pytest.mark.parametrize(("outputs", "centre"), [((), True), ((3,), False), ((2, 2), True)])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["tensor", "file", "operator", "network"])
def test_every_source_and_method_solves_the_system(kind, method, outputs, centre, tmp_path):
    x, y, _, kernel, *_ = problem(outputs=outputs)
    form, options = given(kind, x, kernel, tmp_path)
    options |= dict(method=method, centre=centre, tolerance=1e-10)
    fit = kernel_ridge(form, y, RIDGE, **options)
    expected, offset = solution(kernel, y, RIDGE, centre)
    assert relative(fit.coefficients, expected) < 1e-8
    torch.testing.assert_close(fit.offset, offset)
    size = (y - offset).reshape(len(y), -1)
    found = fit.coefficients.reshape(len(y), -1)
    left = size - kernel @ found - RIDGE * found
    true = (left.norm(dim=0) / size.norm(dim=0)).max().item()
    assert fit.residual == pytest.approx(true, rel=0.1, abs=1e-13)
    assert fit.residual <= 1e-10
    assert fit.method == method


def test_a_kernel_made_anew_at_every_product():
    x, y, test, kernel, cross, _ = problem()
    options = dict(memory_budget=90_000, dtype=torch.float64, centre=True, tolerance=1e-8)
    fit = kernel_ridge((NETWORK, x), y, 1.0, **options)
    expected, offset = solution(kernel, y, 1.0, True)
    assert "made anew" in fit.reason
    assert relative(fit.predict(test), cross @ expected + offset) < 1e-7


@pytest.mark.parametrize("method", METHODS)
def test_float32_kernels_are_solved_to_residuals_of_float64(method):
    _, y, _, kernel, cross, _ = problem(dtype=torch.float32)
    fit = kernel_ridge(kernel, y, RIDGE, method=method)
    expected, _ = solution(kernel, y, RIDGE)
    assert fit.residual <= 1e-6
    assert relative(fit.coefficients, expected) < 1e-4
    assert relative(fit.predict(cross), cross.double() @ expected) < 1e-5


def test_float64_factor_where_float32_does_not_do():
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(120, 20, generator=generator)
    kernel, y = root @ root.T, torch.randn(120, 2, generator=generator)
    kernel = (kernel + kernel.T) / 2
    ridge = -1.5 * torch.linalg.eigvalsh(kernel.double())[0].item()
    fit = kernel_ridge(kernel, y, ridge, method="direct")
    assert fit.residual <= 1e-6
    for budget in (60_000, 12 * 120**2 - 1):  # both matrices are there while one is made
        with pytest.raises(KernelError, match=r"use a (larger )?ridge"):
            kernel_ridge(kernel, y, ridge, method="direct", memory_budget=budget)
    assert kernel_ridge(kernel, y, ridge, method="direct", memory_budget=12 * 120**2).steps


def test_one_matrix_is_held_while_its_factor_in_float64_is_made():
    program = """if True:
        import gc, torch
        from ntkflow import kernel_ridge
        from ntkflow.linalg.triangles import SharedTriangles
        from ntkflow.regression import solvers

        factorize, held = SharedTriangles._factorize, []
        def watched(self):
            tensors = [each for each in gc.get_objects() if type(each) is torch.Tensor]
            large = [each for each in tensors if each.shape == (157, 157)]
            storages = {each.untyped_storage().data_ptr() for each in large}
            held.append((str(self.matrix.dtype), len(storages)))
            return factorize(self)
        SharedTriangles._factorize = watched

        root = torch.randn(157, 20, generator=torch.Generator().manual_seed(0))
        kernel = root @ root.T
        kernel = (kernel + kernel.T) / 2
        lowest = -torch.linalg.eigvalsh(kernel.double())[0].item()
        kernel_ridge(kernel, torch.ones(157), 1.5 * lowest, method="direct")
        solvers._ROUNDS = 1  # that in float32 is not refined
        kernel_ridge(kernel, torch.ones(157), 400 * lowest, method="direct", tolerance=1e-8)
        print(held)
    """
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / "scripts")}
    run = [sys.executable, "-c", program]
    printed = subprocess.run(run, env=environment, check=True, capture_output=True, text=True)
    # The user's, and the one that is factorised.
    assert printed.stdout.strip() == str(2 * [("torch.float32", 2), ("torch.float64", 2)])


def test_a_tensor_is_overwritten_only_when_asked():
    _, y, _, kernel, *_ = problem()
    kept = kernel.clone()
    for method in METHODS:
        kernel_ridge(kernel, y, RIDGE, method=method)
        torch.testing.assert_close(kernel, kept, rtol=0, atol=0)
    fit = kernel_ridge(kernel, y, RIDGE, method="direct", overwrite=True)
    torch.testing.assert_close(kernel.triu(1), kept.triu(1), rtol=0, atol=0)
    factor = torch.linalg.cholesky(kept + RIDGE * torch.eye(120, dtype=torch.float64))
    torch.testing.assert_close(kernel.tril(), factor)
    assert relative(fit.coefficients, solution(kept, y, RIDGE)[0]) < 1e-9
    grid = fit.leave_one_out([RIDGE])  # of the kernel, which is still there
    expected = kernel_ridge(kept, y, RIDGE).leave_one_out([RIDGE])
    torch.testing.assert_close(grid.predictions, expected.predictions)


def test_forms_of_a_cross_kernel(tmp_path, monkeypatch):
    monkeypatch.setattr(fits, "_NUMBERS", 480)  # four rows at once
    x, y, test, kernel, cross, _ = problem()
    fit = kernel_ridge(kernel, y, RIDGE, centre=True)
    expected, offset = solution(kernel, y, RIDGE, True)
    expected = cross @ expected + offset
    path = tmp_path / "cross.h5"
    write_kernel_tiles(path, lambda i, j: cross[i, j], *cross.shape, tile=50)
    for form in (cross, cross.split(5), path, Product(cross)):
        torch.testing.assert_close(fit.predict(form), expected, rtol=1e-9, atol=1e-9)
    by_network = kernel_ridge((NETWORK, x), y, RIDGE, centre=True, dtype=torch.float64)
    torch.testing.assert_close(by_network.predict(test), expected, rtol=1e-9, atol=1e-9)
    assert fit.predict(cross[:0]).shape == (0, 3)


@pytest.mark.parametrize("kind", ["nngp", "empirical"])
def test_other_kernels_of_a_network(kind):
    x, y, test, *_ = problem(n=40)
    network = mlp(4, [8], 2).double()
    if kind == "nngp":
        kernel, cross = (limit_kernels(network, *each).nngp for each in ([x], [test, x]))
    else:
        options = dict(outputs="mean")
        kernel = empirical_ntk(network, x, **options).values
        cross = empirical_ntk(network, test, x, **options).values
    expected = cross @ solution(kernel, y, RIDGE)[0]
    for options in (dict(), dict(memory_budget=2000)):
        fit = kernel_ridge(
            (network, x), y, RIDGE, kind=kind, dtype=torch.float64, tolerance=1e-11, **options
        )
        torch.testing.assert_close(fit.predict(test), expected, rtol=1e-7, atol=1e-8)


def test_an_operator_of_a_network_with_all_its_outputs():
    x, _, test, *_ = problem(n=30)
    y = torch.randn(30, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    network = mlp(4, [16], 2).double()
    block = empirical_ntk(network, x).values.permute(2, 0, 3, 1).reshape(60, 60)
    expected, _ = solution(block, y.flatten(), RIDGE)
    options = dict(method="iterative", tolerance=1e-10, rank=20)
    fit = kernel_ridge(ntk_operator(network, x), y.flatten(), RIDGE, **options)
    assert relative(fit.coefficients, expected) < 1e-8
    cross = ntk_operator(network, test, x)
    torch.testing.assert_close(fit.predict(cross), cross @ expected, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("method", METHODS)
def test_posterior_of_a_gaussian_process(method, monkeypatch):
    monkeypatch.setattr(fits, "_TOGETHER", 4)
    x, y, test, kernel, cross, between = problem()
    inverse = np.linalg.inv(kernel.numpy() + RIDGE * np.eye(120))
    mean = cross.numpy() @ inverse @ y.numpy()
    variance = np.diag(between.numpy() - cross.numpy() @ inverse @ cross.numpy().T)
    options = dict(method=method, tolerance=1e-10)
    fit = kernel_ridge(kernel, y, RIDGE, **options)
    by_network = kernel_ridge((NETWORK, x), y, RIDGE, dtype=torch.float64, **options)
    for found in (fit.posterior(cross, between.diagonal()), by_network.posterior(test)):
        np.testing.assert_allclose(found[0], mean, rtol=1e-7, atol=1e-8)
        np.testing.assert_allclose(found[1], variance, rtol=1e-6, atol=1e-9)
    with pytest.raises(ConfigurationError, match=r"^cross: an operator"):
        fit.posterior(Product(cross), between.diagonal())
    with pytest.raises(ConfigurationError, match=r"^diagonal: None is not allowed"):
        fit.posterior(cross)


def test_the_choice_is_made_from_sizes_and_a_budget_and_said(monkeypatch):
    _, y, _, kernel, *_ = problem()
    choices = {
        "all fits": (kernel, {}, "direct", "up to 10000 rows"),
        "no copy fits": (kernel, dict(memory_budget=1e5), "iterative", "more than the budget"),
        "in place": (
            kernel.clone(), dict(memory_budget=1e5, overwrite=True), "direct", "already there"
        ),
        "operator": (Product(kernel), {}, "iterative", "120 products of an operator"),
    }  # fmt: skip
    for form, options, method, words in choices.values():
        fit = kernel_ridge(form, y, RIDGE, **options)
        assert fit.method == method
        assert words in fit.reason
        assert fit.reason in repr(fit)
    monkeypatch.setattr(choosing, "DIRECT_ROWS", 100)
    large = kernel_ridge(kernel, y, RIDGE)
    assert large.method == "iterative"
    assert "above 100 rows" in large.reason
    with pytest.raises(ConfigurationError, match=r"^memory_budget: 100 kB .* 115 kB"):
        kernel_ridge(kernel, y, RIDGE, method="direct", memory_budget=1e5)


def test_nothing_of_the_size_of_the_kernel_is_made_by_an_iterative_fit(monkeypatch):
    """Tiles made anew are never joined, and every product makes each of them once."""
    x, y, *_ = problem(n=200)
    sizes, made = [], sources.NetworkSource.between

    def between(self, *rows):
        found = made(self, *rows)
        sizes.append(found.numel())
        return found

    monkeypatch.setattr(sources.NetworkSource, "between", between)
    monkeypatch.setattr(sources.NetworkSource, "to_dense", None)
    kernel_ridge((NETWORK, x), y, 10.0, memory_budget=100_000, tolerance=1e-3)
    assert max(sizes) < 200**2 / 1.5


def test_progress_tells_steps_residual_and_time_left():
    _, y, _, kernel, *_ = problem()
    seen = []
    fit = kernel_ridge(kernel, y, RIDGE, method="iterative", progress=seen.append)
    assert [each.steps for each in seen] == list(range(1, fit.steps))
    assert all(each.seconds_left >= 0 for each in seen)
    assert seen[-1].residual < 1e-3 * seen[0].residual


def test_a_budget_that_holds_no_wide_preconditioner_gives_a_narrow_one():
    _, _, _, kernel, *_ = problem()
    source = sources.DenseSource(kernel)
    options = dict(method=None, overwrite=False, rank=None)
    ranks = [choosing.choose(source, memory_budget=b, **options).rank for b in (1e9, 2e4, 10)]
    assert ranks == [88, 6, 1]
    with pytest.raises(StorageError, match="not a readable"):
        kernel_ridge("nowhere.h5", torch.ones(3), 1.0)
