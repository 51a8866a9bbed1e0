"""What no regression can be right on is refused, with the thing, the value and what helps."""

import re

import pytest
import torch
from ridge_problems import NETWORK, problem

from ntkflow import (
    assemble_kernel_tiles,
    kernel_ridge,
    write_kernel_tile,
    write_kernel_tiles,
)
from ntkflow.errors import ConfigurationError, KernelError, StorageError
from ntkflow.regression import soundness, sources

METHODS = ("direct", "iterative")
EYE = torch.eye(120, dtype=torch.float64)


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    monkeypatch.setattr(sources.Source, "side", 70)


class Product:
    """A kernel of which products alone are known."""

    device, dtype = torch.device("cpu"), torch.float64

    def __init__(self, kernel):
        self._kernel, self.shape = kernel, kernel.shape

    def __matmul__(self, vectors):
        return self._kernel @ vectors


def stored(path, kernel, **options):
    write_kernel_tiles(path, lambda i, j: kernel[i, j], len(kernel), tile=70, **options)
    return path


@pytest.mark.parametrize("method", METHODS)
def test_a_kernel_that_is_not_symmetric(method):
    _, y, _, kernel, *_ = problem()
    kernel = kernel.clone()
    kernel[100, 3] += 0.25
    with pytest.raises(KernelError, match=r"^kernel: entries .* differ by up to 0.25$"):
        kernel_ridge(kernel, y, 0.1, method=method)


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("form", ["tensor", "operator"])
@pytest.mark.parametrize("method", METHODS)
def test_an_indefinite_kernel_says_by_how_much_and_which_ridge_helps(
    method, form, small, monkeypatch
):
    if not small:
        monkeypatch.setattr(soundness, "_SMALL", 10)
    _, y, _, kernel, *_ = problem()
    kernel = kernel - 2.0 * EYE
    lowest = torch.linalg.eigvalsh(kernel)[0].item()
    given = kernel if form == "tensor" else Product(kernel)
    options = dict(method=method, tolerance=1e-8)
    with pytest.raises(KernelError, match="not positive") as caught:
        kernel_ridge(given, y, 0.1, **options)
    message = str(caught.value)
    assert "\n" not in message
    value = float(re.search(r"smallest eigenvalue is (?:at most )?(\S+),", message)[1])
    assert value == pytest.approx(lowest, rel=1e-2)
    ridge = float(re.search(r"use a ridge of (\S+) or", message)[1])
    assert kernel_ridge(given, y, ridge, **options).residual <= 1e-8


@pytest.mark.parametrize("method", METHODS)
def test_rounding_below_zero_is_no_fault_with_a_ridge(method):
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(120, 20, generator=generator)
    kernel, y = root @ root.T, torch.randn(120, 2, generator=generator)
    kernel = (kernel + kernel.T) / 2
    assert torch.linalg.eigvalsh(kernel)[0] < 0
    assert kernel_ridge(kernel, y, 0.1, method=method).residual <= 1e-6


@pytest.mark.parametrize("form", ["tensor", "file", "network"])
@pytest.mark.parametrize("method", METHODS)
def test_equal_rows_with_different_targets_at_ridge_zero(method, form, tmp_path):
    x, y, _, kernel, *_ = problem()
    index = torch.arange(120)
    index[97] = 5
    x, kernel = x[index], kernel[index][:, index]
    if form == "file":
        given = stored(tmp_path / "kernel.h5", kernel)
    else:
        given = kernel if form == "tensor" else (NETWORK, x)
    options = dict(method=method, dtype=torch.float64)
    with pytest.raises(KernelError, match=r"^y: rows 5 and 97 .* use a ridge > 0"):
        kernel_ridge(given, y, 0.0, **options)
    assert kernel_ridge(given, y, 0.1, **options).residual <= 1e-6


def test_equal_rows_with_equal_targets_are_fitted_by_gradients():
    _, y, _, kernel, *_ = problem()
    index = torch.arange(120)
    index[97] = 5
    kernel, y = kernel[index][:, index], y[index]
    fit = kernel_ridge(kernel, y, 0.0, method="iterative", rank=20)
    assert fit.residual <= 1e-6
    torch.testing.assert_close(fit.predict(kernel), y, rtol=1e-4, atol=1e-4)
    with pytest.raises(KernelError, match="not positive definite with ridge=0"):
        kernel_ridge(kernel, y, 0.0, method="direct")


@pytest.mark.parametrize("form", ["tensor", "file", "operator"])
@pytest.mark.parametrize("method", METHODS)
def test_a_row_that_is_not_finite_is_named(method, form, tmp_path):
    _, y, _, kernel, *_ = problem()
    kernel = kernel.clone()
    kernel[83] = kernel[:, 83] = torch.nan
    given = kernel
    if form == "file":
        given = stored(tmp_path / "kernel.h5", kernel)
    if form == "operator":  # every product with it is NaN, and no row stands out
        given = Product(kernel)
    with pytest.raises(KernelError, match=r"^kernel: .*not finite") as caught:
        kernel_ridge(given, y, 0.1, method=method)
    if form != "operator":
        assert "row 83 " in str(caught.value)


def test_inputs_targets_and_test_points_that_are_not_finite_are_named():
    x, y, _, kernel, cross, _ = problem()
    bad = x.clone()
    bad[7, 1] = torch.inf
    with pytest.raises(KernelError, match=r"^x: row 7 is not finite"):
        kernel_ridge((NETWORK, bad), y, 0.1)
    bad = y.clone()
    bad[11, 2] = torch.nan
    with pytest.raises(KernelError, match=r"^y: row 11 is not finite"):
        kernel_ridge(kernel, bad, 0.1)
    bad = cross.clone()
    bad[2, 0] = torch.nan
    with pytest.raises(KernelError, match=r"^cross: row 2 has entries"):
        kernel_ridge(kernel, y, 0.1).predict(bad)


def test_files_that_are_unfinished_of_other_data_or_no_kernels(tmp_path):
    x, y, _, kernel, cross, _ = problem()
    path = stored(tmp_path / "kernel.h5", kernel, data=x)
    assert kernel_ridge(path, y, 0.1, data=x).residual <= 1e-6
    with pytest.raises(StorageError, match=r"is no kernel of these data \(digest"):
        kernel_ridge(path, y, 0.1, data=x.flip(0))
    with pytest.raises(StorageError, match=r"data is '\w+' in the file, not"):
        stored(path, kernel, data=x.flip(0))
    nameless = stored(tmp_path / "nameless.h5", kernel)
    assert kernel_ridge(nameless, y, 0.1).residual <= 1e-6
    with pytest.raises(StorageError, match="was given no data="):
        kernel_ridge(nameless, y, 0.1, data=x)
    with pytest.raises(StorageError, match="not a readable HDF5 file"):
        kernel_ridge(tmp_path / "none.h5", y, 0.1)
    rectangle = tmp_path / "cross.h5"
    write_kernel_tiles(rectangle, lambda i, j: cross[i, j], *cross.shape, tile=70)
    with pytest.raises(StorageError, match=r"\(9, 120\) is not allowed; use a symmetric"):
        kernel_ridge(rectangle, y, 0.1)

    def interrupted(i, j):
        if i != j:
            raise KeyboardInterrupt
        return kernel[i, j]

    with pytest.raises(KeyboardInterrupt):
        write_kernel_tiles(tmp_path / "part.h5", interrupted, 120, tile=70)
    with pytest.raises(StorageError, match="2 tiles are missing"):
        kernel_ridge(tmp_path / "part.h5", y, 0.1)


def test_shapes_and_options(unchecked_types):
    x, y, _, kernel, cross, _ = problem()
    for given, error, words in (
        ((kernel, y[:5], 0.1), KernelError, r"^y: shape \(5, 3\) .* use \(120, ...\)"),
        ((kernel[:5], y, 0.1), KernelError, r"^kernel: shape \(5, 120\)"),
        ((Product(cross), y, 0.1), KernelError, r"^kernel: an operator \(9, 120\)"),
        ((kernel, y, -0.1), ConfigurationError, "^ridge: -0.1 is not allowed"),
        (("list", y, 0.1), StorageError, "^list: not a readable"),
        (([1], y, 0.1), ConfigurationError, "^kernel: list is not allowed; use a square tensor"),
    ):
        with pytest.raises(error, match=words):
            kernel_ridge(*given)
    for options, words in (
        (dict(method="LU"), "^method: 'LU' is unknown; allowed: direct, iterative"),
        (dict(tolerance=0.0), "^tolerance: 0.0 is not allowed"),
        (dict(rank=0), "^rank: 0 is not allowed"),
        (dict(memory_budget=-1), "^memory_budget: -1"),
        (dict(restart_every=-1.0, restart="state.npz"), "^restart_every: -1.0 is not allowed"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            kernel_ridge(kernel, y, 0.1, **options)
    with pytest.raises(ConfigurationError, match=r"^kind: 'limit' is unknown; allowed: ntk"):
        kernel_ridge((NETWORK, x), y, 0.1, kind="limit")
    fit = kernel_ridge(kernel, y, 0.1)
    with pytest.raises(KernelError, match=r"^cross: shape \(9, 5\) is not allowed"):
        fit.predict(cross[:, :5])
    with pytest.raises(ConfigurationError, match=r"^cross: int is not allowed"):
        fit.predict(3)
    with pytest.raises(KernelError, match=r"^diagonal: shape"):
        fit.posterior(cross, torch.ones(4))


def test_a_tolerance_out_of_reach():
    _, y, _, kernel, *_ = problem(dtype=torch.float32)
    for method in METHODS:
        with pytest.raises(KernelError, match="the relative residual is"):
            kernel_ridge(kernel, y, 0.01, method=method, tolerance=1e-17)


def test_predictions_are_not_made_from_an_unfinished_file(tmp_path):
    *_, y, _, kernel, cross, _ = problem()
    fit, calls = kernel_ridge(kernel, y, 0.1), []

    def tile(i, j):
        calls.append(i)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return cross[i, j]

    path = tmp_path / "cross.h5"
    with pytest.raises(KeyboardInterrupt):
        write_kernel_tiles(path, tile, *cross.shape, tile=70)
    with pytest.raises(StorageError, match=r"cross.h5: 1 tiles are missing"):
        fit.predict(path)
    write_kernel_tiles(path, tile, *cross.shape, tile=70)
    torch.testing.assert_close(fit.predict(path), fit.predict(cross))
    with pytest.raises(StorageError, match=r"none.h5: not a readable HDF5 file"):
        fit.predict(tmp_path / "none.h5")


@pytest.mark.parametrize("method", METHODS)
def test_a_variance_is_of_the_points_that_the_diagonal_is_of(method):
    _, y, _, kernel, cross, tests = problem()
    fit = kernel_ridge(kernel, y, 0.1, method=method)
    variance = fit.posterior(cross, tests.diagonal())[1]
    assert (variance > 0).all()
    for wrong in (torch.zeros(9), torch.full((9,), torch.nan)):
        with pytest.raises(KernelError, match=r"^diagonal: \S+ leaves row 0 a variance of"):
            fit.posterior(cross, wrong)
    with pytest.raises(KernelError, match=r"^cross: it has no rows, or entries that are not"):
        fit.posterior(cross * torch.nan, tests.diagonal())
    nearly = (tests.diagonal() - variance) * (1 - 1e-4)
    with pytest.raises(KernelError, match=r"^diagonal: \S+ leaves row 0 a variance of -"):
        fit.posterior(cross, nearly)
    with pytest.raises(KernelError, match=r"^cross: it has no rows"):
        fit.posterior(cross[:0], torch.ones(0))


def test_a_network_has_its_own_diagonal():
    x, y, new, *_ = problem()
    fit = kernel_ridge((NETWORK, x), y, 0.1)
    with pytest.raises(ConfigurationError, match=r"^diagonal: Tensor is not allowed; use no"):
        fit.posterior(new, torch.ones(9))
    with pytest.raises(ConfigurationError, match=r"^cross: list is not allowed"):
        fit.predict([new])


@pytest.mark.parametrize("method", METHODS)
def test_what_was_changed_since_a_fit_is_refused(method):
    x, y, new, *_ = problem(n=20)
    network, options = torch.nn.Linear(4, 3).double(), dict(method=method, tolerance=1e-5)
    fit = kernel_ridge((network, x), y, 0.1, kind="empirical", **options)
    fit.predict(new)
    with torch.no_grad():
        network.weight.add_(1.0)
    with pytest.raises(ConfigurationError, match=r"^kernel: it, the network or x was changed"):
        fit.predict(new)
    fit = kernel_ridge((network, x), y, 0.1, kind="empirical", **options)
    network.weight.data = 2 * network.weight.data
    with pytest.raises(ConfigurationError, match=r"^kernel: it, the network or x was changed"):
        fit.predict(new)
    fit = kernel_ridge((NETWORK, x), y, 0.1, **options)
    x.add_(1.0)
    with pytest.raises(ConfigurationError, match=r"^kernel: it, the network or x was changed"):
        fit.leave_one_out([0.1])


def written(path, kernel, form):
    """A kernel in one file, or in one for each tile."""
    if form == "whole":
        write_kernel_tiles(path, lambda i, j: kernel[i, j], 20, tile=6)
        return
    files = []
    for place in [(a, b) for a in range(4) for b in range(a, 4)]:
        i, j = (slice(6 * each, 6 * each + 6) for each in place)
        files.append(path.with_name("{}-{}.h5".format(*place)))
        write_kernel_tile(files[-1], kernel[i, j], place, 20, tile=6)
    if not path.exists():
        assemble_kernel_tiles(path, files)


@pytest.mark.parametrize("form", ["whole", "tiles"])
def test_a_file_that_was_changed_since_a_fit_is_refused(form, tmp_path):
    _, y, _, kernel, cross, _ = problem(n=20)
    path = tmp_path / "kernel.h5"
    written(path, kernel, form)
    fits = [
        kernel_ridge(path, y, 0.1, method=method, memory_budget=budget)
        for method, budget in (("iterative", 2000), ("direct", None), ("iterative", None))
    ]
    found = [fit.leave_one_out([0.1], rows=20, method="iterative").mean_squares for fit in fits]
    predicted = fits[0].predict(cross)
    if form == "whole":
        path.unlink()
    written(path, 2 * kernel, form)
    with pytest.raises(ConfigurationError, match=r"^kernel: the tiles in .* changed since the fit"):
        fits[0].leave_one_out([0.1])
    path.unlink()
    torch.testing.assert_close(fits[0].predict(cross), predicted)  # which does not read it
    with pytest.raises(ConfigurationError, match=r"^kernel: the tiles in .* changed since the fit"):
        fits[0].posterior(cross, torch.ones(9))
    for fit, before in zip(fits[1:], found[1:], strict=True):  # which hold it in memory
        again = fit.leave_one_out([0.1], rows=20, method="iterative").mean_squares
        torch.testing.assert_close(again, before)


@pytest.mark.parametrize("method", METHODS)
def test_a_fit_keeps_its_own_targets_and_no_stale_kernel(method):
    _, y, _, kernel, *_ = problem(n=20)
    given = kernel.clone()
    fit = kernel_ridge(given, y, 0.1, method=method)
    before = fit.leave_one_out([0.1]).mean_squares
    y.mul_(2)
    torch.testing.assert_close(fit.leave_one_out([0.1]).mean_squares, before)
    given.mul_(2)
    if method == "direct":  # which has copied it
        torch.testing.assert_close(fit.leave_one_out([0.1]).mean_squares, before)
    else:
        with pytest.raises(ConfigurationError, match=r"^kernel: it, the network or x was changed"):
            fit.leave_one_out([0.1])


def test_ridges_and_seeds_are_numbers_that_can_be():
    _, y, _, kernel, *_ = problem(n=20)
    with pytest.raises(ConfigurationError, match=r"^ridge: inf is not allowed"):
        kernel_ridge(kernel, y, float("inf"))
    with pytest.raises(ConfigurationError, match=r"^ridges: inf is not allowed"):
        kernel_ridge(kernel, y, 1.0).leave_one_out([float("inf")])
    with pytest.raises(ConfigurationError, match=r"^seed: -1 is not allowed"):
        kernel_ridge(kernel, y, 1.0, seed=-1)
    with pytest.raises(KernelError, match=r"^y: shape \(20, 0\) is not allowed"):
        kernel_ridge(kernel, y[:, :0], 1.0)
    with pytest.raises(KernelError, match=r"^cross: shape \(3, 20\) is not allowed; use \(any, 2"):
        kernel_ridge(kernel[:2, :2], y[:2], 1.0).predict(Product(kernel[:3]))
    one = kernel_ridge(kernel[:1, :1], y[:1], 1.0, centre=True)
    with pytest.raises(ConfigurationError, match=r"^rows: 1 is not allowed with centre=True"):
        one.leave_one_out([1.0])


@pytest.mark.parametrize("method", METHODS)
def test_types_that_have_no_solver_are_refused(method):
    x, y, _, kernel, *_ = problem(n=20)
    words = r"^kernel: type torch.{} is not allowed; use torch.float32 or torch.float64$"
    for dtype in (torch.float16, torch.bfloat16, torch.int32, torch.complex128):
        with pytest.raises(ConfigurationError, match=words.format(str(dtype)[6:])):
            sources.as_source(kernel.to(dtype), None, "ntk", None)
    with pytest.raises(ConfigurationError, match=words.format("float16")):
        kernel_ridge((NETWORK, x), y, 0.1, method=method, dtype=torch.float16)
    with pytest.raises(ConfigurationError, match=r"^kernel: ndarray is not allowed; use a square"):
        kernel_ridge(kernel.numpy(), y, 0.1, method=method)
    with pytest.raises(ConfigurationError, match=r"^kernel: \(Sequential, x of shape \(20,\)\)"):
        kernel_ridge((NETWORK, x[:, 0]), y, 0.1, method=method)
    with pytest.raises(ConfigurationError, match=r"^data: the rows are known of a file alone"):
        kernel_ridge(kernel, y, 0.1, method=method, data=x)
    with pytest.raises(KernelError, match=r"^kernel: the relative residual is nan|^kernel: .*1.0e"):
        kernel_ridge(kernel, y * 1e300, 0.1, method=method)


def test_an_expanded_kernel_is_not_overwritten():
    y, shared = torch.randn(5, 2), torch.ones(1, 1).expand(5, 5)
    with pytest.raises(ConfigurationError, match=r"^overwrite: an expanded tensor shares"):
        kernel_ridge(shared, y, 0.1, overwrite=True, method="direct")
    found = kernel_ridge(shared, y, 0.1, method="direct").coefficients
    expected = kernel_ridge(torch.ones(5, 5), y, 0.1, method="direct").coefficients
    torch.testing.assert_close(found, expected)


def test_gradients_do_not_follow_a_fit():
    _, y, _, kernel, *_ = problem(n=20)
    expected = kernel_ridge(kernel, y, 0.1).coefficients
    for method in METHODS:
        given = kernel.clone().requires_grad_()
        fit = kernel_ridge(given, y.clone().requires_grad_(), 0.1, method=method)
        assert not fit.coefficients.requires_grad
        torch.testing.assert_close(fit.coefficients, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_the_ridge_that_would_help_is_above_0(method):
    with pytest.raises(KernelError, match=r"use a ridge of (\S+) or more") as caught:
        kernel_ridge(torch.diag(torch.tensor([0.0, -0.0, -1e-30])), torch.ones(3), 0, method=method)
    helps = float(re.search(r"a ridge of (\S+) or", str(caught.value))[1])
    assert helps > 0


def test_cross_kernels_are_real_and_without_gradients():
    _, y, _, kernel, cross, tests = problem(n=20)
    fit = kernel_ridge(kernel, y, 0.1)
    for given in (cross + 0j, [cross + 0j]):
        with pytest.raises(ConfigurationError, match=r"^cross: type torch.complex128 is not"):
            fit.predict(given)
    with pytest.raises(ConfigurationError, match=r"^y: type torch.complex128 is not allowed"):
        soundness.check_targets(y + 0j, 20)
    given, diagonal = cross.clone().requires_grad_(), tests.diagonal().clone().requires_grad_()
    assert not fit.predict([given]).requires_grad
    assert not any(each.requires_grad for each in fit.posterior(given, diagonal))
