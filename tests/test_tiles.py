import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from ntkflow import empirical_ntk, limit_kernels, write_kernel_tiles
from ntkflow.errors import ConfigurationError, StorageError
from ntkflow.networks import mlp

GRAM = np.cov(np.random.default_rng(0).standard_normal((7, 20)))


class Counting:
    """Tiles of a matrix; counts the calls and fails at one of them."""

    def __init__(self, matrix, fail_at=None):
        self.matrix, self.fail_at, self.calls = matrix, fail_at, 0

    def __call__(self, i, j):
        self.calls += 1
        if self.calls == self.fail_at:
            raise KeyboardInterrupt
        return self.matrix[..., i, j]


def stored(path):
    with h5py.File(path) as file:
        return file["kernel"][()]


def test_symmetric_kernel_needs_half_the_tiles(tmp_path):
    tiles = Counting(GRAM)
    write_kernel_tiles(tmp_path / "k.h5", tiles, 7, tile=3, convention="raw")
    np.testing.assert_array_equal(stored(tmp_path / "k.h5"), GRAM)
    assert tiles.calls == 6


def test_rectangular_kernel(tmp_path):
    matrix = np.arange(35.0).reshape(5, 7)
    write_kernel_tiles(tmp_path / "k.h5", Counting(matrix), 5, 7, tile=4)
    np.testing.assert_array_equal(stored(tmp_path / "k.h5"), matrix)


def test_interrupted_run_goes_on_with_the_missing_tiles(tmp_path):
    path = tmp_path / "k.h5"
    with pytest.raises(KeyboardInterrupt):
        write_kernel_tiles(path, Counting(GRAM, fail_at=4), 7, tile=3)
    rest = Counting(GRAM)
    write_kernel_tiles(path, rest, 7, tile=3)
    assert rest.calls == 1 + 3  # first entries of a finished tile, and what was missing
    np.testing.assert_array_equal(stored(path), GRAM)


def test_killed_process_leaves_a_file_that_can_be_continued(tmp_path):
    path = tmp_path / "k.h5"
    program = (
        "import os, sys, numpy\n"
        "from ntkflow.empirical.tiles import write_kernel_tiles\n"
        "def tile(i, j):\n"
        "    return os._exit(9) if i.start == 3 else numpy.full((3, j.stop - j.start), 5.0)\n"
        "write_kernel_tiles(sys.argv[1], tile, 7, tile=3)\n"
    )
    scripts = str(Path(__file__).parents[1] / "scripts")
    killed = subprocess.run(
        [sys.executable, "-c", program, str(path)], env=os.environ | {"PYTHONPATH": scripts}
    )
    known = np.zeros((7, 7))
    known[:3] = known[:, :3] = 5
    rest = Counting(known)
    write_kernel_tiles(path, rest, 7, tile=3)
    assert (killed.returncode, rest.calls) == (9, 1 + 3)
    assert (stored(path)[:3] == 5).all()
    assert (stored(path)[3:, 3:] == 0).all()


def test_finished_file_computes_no_tile(tmp_path):
    matrix, asked = np.eye(40), []
    write_kernel_tiles(tmp_path / "k.h5", Counting(matrix), 40, tile=20)
    write_kernel_tiles(
        tmp_path / "k.h5", lambda i, j: asked.append((i, j)) or matrix[i, j], 40, tile=20
    )
    assert asked == [(slice(0, 8), slice(0, 8))]


@pytest.mark.parametrize("fail_at", [4, None])
@pytest.mark.parametrize("lead", [(), (2, 2)])
def test_tiles_of_another_kernel_are_not_gone_on_with(fail_at, lead, tmp_path):
    path, matrix = tmp_path / "k.h5", np.broadcast_to(GRAM, (*lead, 7, 7))
    try:
        write_kernel_tiles(path, Counting(matrix, fail_at), 7, tile=3, lead=lead)
    except KeyboardInterrupt:
        assert fail_at
    for other in (1.001 * matrix, matrix * np.nan):
        with pytest.raises(StorageError, match=rf"^{path}: its tiles are of another kernel"):
            write_kernel_tiles(path, Counting(other), 7, tile=3, lead=lead)
    write_kernel_tiles(path, Counting(matrix * (1 + 1e-7)), 7, tile=3, lead=lead)
    np.testing.assert_allclose(stored(path), matrix, rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_in_a_finished_tile_is_no_other_kernel(bad, tmp_path):
    path, matrix = tmp_path / "k.h5", GRAM.copy()
    matrix[0, 1] = matrix[1, 0] = bad
    for again in (matrix, matrix * (1 + 1e-12)):
        write_kernel_tiles(path, Counting(again), 7, tile=3)
    with pytest.raises(StorageError, match="of another kernel"):
        write_kernel_tiles(path, Counting(1.1 * matrix), 7, tile=3)
    with pytest.raises(StorageError, match="of another kernel"):
        write_kernel_tiles(path, Counting(GRAM), 7, tile=3)


def test_a_file_in_half_precision_is_gone_on_with(tmp_path):
    path = tmp_path / "k.h5"
    for _ in range(2):
        write_kernel_tiles(path, Counting(GRAM), 7, tile=3, dtype="float16")


def test_block_kernel_of_a_network(tmp_path):
    torch.manual_seed(0)
    network, x = mlp(3, [5], 2, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)

    def tiles(i, j):
        return empirical_ntk(network, x[i], x[j]).values

    dims = ("o", "o'", "n", "n'")
    write_kernel_tiles(tmp_path / "k.h5", tiles, 5, tile=2, lead=(2, 2), dims=dims)
    whole = empirical_ntk(network, x).values.numpy()
    np.testing.assert_allclose(stored(tmp_path / "k.h5"), whole, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kernel", ["nngp", "ntk"])
def test_limit_kernel_of_a_network(tmp_path, kernel):
    network, x = mlp(3, [1], sigma_b=0.1, device="meta"), torch.randn(5, 3, dtype=torch.float64)

    def tiles(i, j):
        return getattr(limit_kernels(network, x[i], x[j], only=kernel), kernel)

    write_kernel_tiles(tmp_path / "k.h5", tiles, 5, tile=2)
    whole = getattr(limit_kernels(network, x), kernel).numpy()
    np.testing.assert_allclose(stored(tmp_path / "k.h5"), whole, rtol=1e-12, atol=1e-14)


def test_attributes_say_what_the_kernel_is(tmp_path):
    write_kernel_tiles(tmp_path / "k.h5", Counting(GRAM), 7, convention="mean over outputs")
    with h5py.File(tmp_path / "k.h5") as file:
        assert list(file["kernel"].attrs["dims"]) == ["n", "n'"]
        assert file["kernel"].attrs["convention"] == "mean over outputs"


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (dict(n1=6), "shape"),
        (dict(convention="trace"), "convention"),
        (dict(dtype="float32"), "dtype"),
        (dict(tile=2), "tile"),
        (dict(n2=7), "symmetric"),
        (dict(dims=("a", "b")), "dims"),
    ],
)
def test_other_kernel_in_the_file_is_an_error(tmp_path, changed, named):
    path = tmp_path / "k.h5"
    write_kernel_tiles(path, Counting(GRAM), n1=7, tile=3)
    with pytest.raises(StorageError, match=f"k.h5: {named} is"):
        write_kernel_tiles(path, Counting(GRAM), **(dict(n1=7, tile=3) | changed))


def test_damaged_file_is_an_error(tmp_path):
    (tmp_path / "k.h5").write_bytes(b"no HDF5")
    with pytest.raises(StorageError, match="not a readable HDF5"):
        write_kernel_tiles(tmp_path / "k.h5", Counting(GRAM), 7)


def test_file_of_another_kind_is_an_error(tmp_path):
    h5py.File(tmp_path / "k.h5", "w").close()
    with pytest.raises(StorageError, match="holds no kernel"):
        write_kernel_tiles(tmp_path / "k.h5", Counting(GRAM), 7)


def test_tile_of_wrong_shape_is_an_error(tmp_path):
    with pytest.raises(StorageError, match="has shape"):
        write_kernel_tiles(tmp_path / "k.h5", lambda i, j: GRAM, 7, tile=3)


@pytest.mark.parametrize("sizes", [dict(n1=0), dict(n1=7, tile=0), dict(n1=7, n2=0)])
def test_size_below_one_is_an_error(tmp_path, sizes):
    with pytest.raises(ConfigurationError, match="at least 1"):
        write_kernel_tiles(tmp_path / "k.h5", Counting(GRAM), **sizes)


def test_lead_must_be_square(tmp_path):
    with pytest.raises(ConfigurationError, match="lead"):
        write_kernel_tiles(tmp_path / "k.h5", Counting(GRAM), 7, lead=(2,))
