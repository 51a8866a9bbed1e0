"""A stopped run goes on where it was, and with nothing but its own problem."""

import numpy as np
import pytest
import torch
from ridge_problems import problem

from ntkflow import kernel_ridge
from ntkflow.errors import StorageError
from ntkflow.regression import choosing

OPTIONS = dict(method="iterative", rank=10, tolerance=1e-9, restart_every=0.0)


class Stop(Exception):
    pass


class At:
    """Progress that stops a run at one of its steps, and counts them."""

    def __init__(self, step):
        self._step, self.steps = step, []

    def __call__(self, progress):
        self.steps.append(progress.steps)
        if progress.steps == self._step:
            raise Stop


def stopped(path, kernel, y, step=7, **options):
    with pytest.raises(Stop):
        kernel_ridge(kernel, y, 0.05, restart=path, progress=At(step), **(OPTIONS | options))
    assert path.exists()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_stopped_run_ends_as_an_undisturbed_one(dtype, tmp_path):
    _, y, _, kernel, *_ = problem(dtype=dtype)
    path, tolerance = tmp_path / "state.npz", 1e-6 if dtype == torch.float32 else 1e-9
    options = OPTIONS | dict(tolerance=tolerance)
    undisturbed = kernel_ridge(kernel, y, 0.05, **options)
    for step in (7, 15):
        stopped(path, kernel, y, step, tolerance=tolerance)
    rest = At(None)
    fit = kernel_ridge(kernel, y, 0.05, restart=path, progress=rest, **options)
    assert rest.steps[0] == 16
    assert fit.steps == undisturbed.steps
    torch.testing.assert_close(fit.coefficients, undisturbed.coefficients, rtol=0, atol=0)
    assert not path.exists()


def test_nothing_is_written_before_its_time(tmp_path):
    _, y, _, kernel, *_ = problem()
    path = tmp_path / "state.npz"
    options = OPTIONS | dict(restart_every=100.0)
    with pytest.raises(Stop):
        kernel_ridge(kernel, y, 0.05, restart=path, progress=At(7), **options)
    assert not path.exists()


def test_a_stop_while_writing_leaves_the_former_state(tmp_path, monkeypatch):
    _, y, _, kernel, *_ = problem()
    path = tmp_path / "state.npz"
    stopped(path, kernel, y)
    before = path.read_bytes()

    def half(file, **arrays):
        file.write(b"half")
        raise Stop

    monkeypatch.setattr(np, "savez", half)
    with pytest.raises(Stop):
        kernel_ridge(kernel, y, 0.05, restart=path, **OPTIONS)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (dict(ridge=0.1), "ridge = 0.05, this one has 0.1"),
        (dict(rank=11), "rank = 10, this one has 11"),
        (dict(seed=1), "seed = 0, this one has 1"),
        (dict(tolerance=1e-8), "tolerance = 1e-09, this one has 1e-08"),
        (dict(centre=True), "centre = False, this one has True"),
    ],
)
def test_other_settings_are_refused(changed, words, tmp_path):
    _, y, _, kernel, *_ = problem()
    path = tmp_path / "state.npz"
    stopped(path, kernel, y)
    options = dict(ridge=0.05) | OPTIONS | changed
    with pytest.raises(StorageError, match=f"^{path}: the stopped run had {words}"):
        kernel_ridge(kernel, y, restart=path, **options)


def test_a_run_goes_on_with_the_rank_that_it_was_stopped_with(tmp_path, monkeypatch):
    _, y, _, kernel, *_ = problem()
    path, options = tmp_path / "state.npz", OPTIONS | dict(rank=None)
    stopped(path, kernel, y, rank=None)
    undisturbed = kernel_ridge(kernel, y, 0.05, **options)
    monkeypatch.setattr(choosing, "_RANK", 2)  # as if less memory was free now
    fit = kernel_ridge(kernel, y, 0.05, restart=path, **options)
    torch.testing.assert_close(fit.coefficients, undisturbed.coefficients, rtol=0, atol=0)
    assert kernel_ridge(kernel, y, 0.05, **options).steps > fit.steps
    path.write_text("notes")
    assert kernel_ridge(kernel, y, 0.05, restart=path, method="direct").method == "direct"


def test_other_data_are_refused(tmp_path):
    _, y, _, kernel, *_ = problem()
    path = tmp_path / "state.npz"
    stopped(path, kernel, y)
    options = OPTIONS | dict(restart=path)
    with pytest.raises(StorageError, match="the stopped run had targets = "):
        kernel_ridge(kernel, y + 1, 0.05, **options)
    with pytest.raises(StorageError, match="the stopped run had another kernel"):
        kernel_ridge(1.01 * kernel, y, 0.05, **options)
    with pytest.raises(StorageError, match="the stopped run had size = 120, this one has 119"):
        kernel_ridge(kernel[:119, :119], y[:119], 0.05, **options)
    with pytest.raises(StorageError, match=r"dtype = 'torch\.float64', this one has"):
        kernel_ridge(kernel.float(), y, 0.05, **options)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04 nonsense"])
def test_a_file_that_is_no_state_is_refused(content, tmp_path):
    _, y, _, kernel, *_ = problem()
    path = tmp_path / "state.npz"
    path.write_bytes(content)
    with pytest.raises(StorageError, match="not a restart file of kernel_ridge"):
        kernel_ridge(kernel, y, 0.05, restart=path, **OPTIONS)


@pytest.mark.parametrize("damage", ["missing", "short", "nan"])
@pytest.mark.parametrize("name", ["solution", "left", "directions", "numbers"])
def test_a_damaged_state_is_refused(name, damage, tmp_path):
    _, y, _, kernel, *_ = problem()
    path = tmp_path / "state.npz"
    stopped(path, kernel, y)
    with np.load(path) as file:
        state = dict(file)
    whole = state.pop(name)
    if damage != "missing":
        state[name] = whole[:-1] if damage == "short" else whole * np.nan
    np.savez(path, **state)
    with pytest.raises(StorageError, match=r"state.npz: its state is damaged or of another"):
        kernel_ridge(kernel, y, 0.05, restart=path, **OPTIONS)


def test_other_files_and_folders_are_refused(tmp_path):
    _, y, _, kernel, *_ = problem(n=20)
    path = tmp_path / "state.npz"
    with open(path, "wb") as file:
        np.save(file, np.ones(3))
    with pytest.raises(StorageError, match=r"state.npz: not a restart file of kernel_ridge"):
        kernel_ridge(kernel, y, 0.05, restart=path, **OPTIONS)
    with pytest.raises(StorageError, match=r"none/state.npz: no such folder"):
        kernel_ridge(kernel, y, 0.05, restart=tmp_path / "none" / "state.npz", **OPTIONS)
