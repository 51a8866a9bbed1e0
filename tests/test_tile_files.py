"""Tiles in files of their own, and the kernel that is assembled of them."""

import itertools
import os
import shutil

import h5py
import numpy as np
import pytest
import torch
from ridge_problems import problem, relative, solution

from ntkflow import assemble_kernel_tiles, kernel_ridge, write_kernel_tile, write_kernel_tiles
from ntkflow.empirical.stored import open_square_tiles
from ntkflow.empirical.tile_files import tile_places
from ntkflow.errors import ConfigurationError, StorageError
from ntkflow.regression import sources

N, TILE = 120, 50  # three rows of tiles, the last one of 20


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    """Files of a test lie in its folder."""
    monkeypatch.chdir(tmp_path)


def write(kernel, place, folder="tiles", name=None, **options):
    """One tile of a kernel, in <folder>/<row>-<column>.h5."""
    os.makedirs(folder, exist_ok=True)
    i, j = (slice(TILE * number, TILE * (number + 1)) for number in place)
    path = f"{folder}/{name or f'{place[0]}-{place[1]}'}.h5"
    write_kernel_tile(path, kernel[i, j], place, N, tile=TILE, **options)
    return path


def write_all(kernel, **options):
    """All tiles, the last one first."""
    return [write(kernel, place, **options) for place in reversed(tile_places(N, TILE))]


@pytest.fixture
def kernel():
    """120 rows of 4 inputs, in float64."""
    return problem()[3]


def test_places_are_those_on_and_above_the_diagonal():
    assert tile_places(7, 3) == [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]
    assert tile_places(6, 3) == [(0, 0), (0, 1), (1, 1)]
    assert tile_places(1, 3) == [(0, 0)]


def test_an_assembled_kernel_reads_like_one_of_one_piece(kernel):
    assemble_kernel_tiles("kernel.h5", write_all(kernel, convention="raw"))
    write_kernel_tiles("whole.h5", lambda i, j: kernel[i, j], N, tile=TILE, convention="raw")
    parts, whole = open_square_tiles("kernel.h5"), open_square_tiles("whole.h5")
    assert (parts.size, parts.side, parts.dtype) == (whole.size, whole.side, whole.dtype)
    assert (parts.assembled, whole.assembled) == (True, False)
    rows = [slice(0, 50), slice(50, 100), slice(60, 90), slice(100, 120)]
    for i in rows:
        np.testing.assert_array_equal(parts.rows(i), kernel[i])
        np.testing.assert_array_equal(whole.rows(i), kernel[i])
    for i, j in itertools.combinations_with_replacement((rows[0], rows[1], rows[3]), 2):
        np.testing.assert_array_equal(parts.tile(i, j), kernel[i, j])
    with h5py.File("kernel.h5") as one, h5py.File("whole.h5") as other:
        assert one["kernel"].is_virtual
        names = dict(one["kernel"].attrs), dict(other["kernel"].attrs)
        assert [sorted(each) for each in names] == [sorted(names[0])] * 2
        for name in ("tile", "symmetric", "convention", "data"):
            assert names[0][name] == names[1][name]


def test_the_kernel_is_the_tiles_and_no_copy_of_them(kernel):
    files = write_all(kernel)
    assemble_kernel_tiles("kernel.h5", files)
    assert os.path.getsize("kernel.h5") < 0.2 * N**2 * 8
    with h5py.File("kernel.h5") as file:  # as any program reads it
        read = file["kernel"][()]
    inside = np.arange(N) // TILE
    above = inside[:, None] <= inside
    np.testing.assert_array_equal(read[above], kernel.numpy()[above])
    assert np.isnan(read[~above]).all()


@pytest.mark.parametrize("method", ["direct", "iterative"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_regression_with_it_is_that_with_the_matrix(method, dtype):
    x, y, _, kernel, *_ = problem(dtype=dtype)
    files = write_all(kernel, dtype=str(dtype).split(".")[1], data=x)
    assemble_kernel_tiles("kernel.h5", files)
    fit = kernel_ridge("kernel.h5", y, 0.1, data=x, method=method, tolerance=1e-9)
    expected, _ = solution(kernel, y, 0.1)
    assert fit.method == method
    assert relative(fit.coefficients, expected) < 1e-7
    torch.testing.assert_close(fit.predict("kernel.h5"), fit.predict(kernel))


def test_some_rows_are_whole_rows(kernel):
    assemble_kernel_tiles("kernel.h5", write_all(kernel))
    source = sources.FileSource("kernel.h5", None)
    index = torch.tensor([119, 3, 60, 55, 3])
    torch.testing.assert_close(source.rows(index), kernel[index], rtol=0, atol=0)
    torch.testing.assert_close(source.diagonal(), kernel.diagonal(), rtol=0, atol=0)
    torch.testing.assert_close(source.to_dense(torch.float64), kernel, rtol=0, atol=0)


def test_a_folder_with_all_of_it_can_be_moved(kernel, tmp_path, monkeypatch):
    os.mkdir("run")
    assemble_kernel_tiles("run/kernel.h5", write_all(kernel, folder="run/tiles"))
    shutil.move("run", "elsewhere")
    assert open_square_tiles("elsewhere/kernel.h5").size == N
    os.mkdir("other")
    monkeypatch.chdir("other")
    np.testing.assert_array_equal(
        open_square_tiles(tmp_path / "elsewhere/kernel.h5").rows(slice(100, 120)), kernel[100:]
    )


def test_missing_tiles_are_named_and_never_zeros(kernel):
    y = torch.ones(N, dtype=torch.float64)
    files = write_all(kernel)
    assemble_kernel_tiles("kernel.h5", files)
    opened = open_square_tiles("kernel.h5")
    os.remove("tiles/0-1.h5")
    with pytest.raises(StorageError, match=r"^kernel.h5: 1 of its tiles are missing: tiles/0-1.h5"):
        open_square_tiles("kernel.h5")
    with pytest.raises(StorageError, match=r"^kernel.h5: 1 of its tiles are missing: tiles/0-1.h5"):
        kernel_ridge("kernel.h5", y, 0.1)
    with pytest.raises(StorageError, match=r"missing: tiles/0-1.h5"):
        opened.rows(slice(50, 100))  # one that goes after it was opened
    with pytest.raises(StorageError, match=r"missing: tiles/0-1.h5; make them again"):
        assemble_kernel_tiles("again.h5", files)
    write(kernel, (0, 1))
    assert kernel_ridge("kernel.h5", y, 0.1).residual < 1e-6


def test_many_missing_tiles_are_counted(kernel):
    files = write_all(kernel)
    assemble_kernel_tiles("kernel.h5", files)
    shutil.rmtree("tiles")
    with pytest.raises(StorageError, match=r"6 of its tiles are missing: .* and 1 more; make"):
        open_square_tiles("kernel.h5")


def test_places_without_a_file_are_named(kernel):
    files = write_all(kernel)
    with pytest.raises(StorageError, match=r"^k.h5: 5 tiles of a kernel \(120, 120\) do not make"):
        assemble_kernel_tiles("k.h5", files[1:])
    with pytest.raises(StorageError, match=r"no file is of \(0, 1\), \(0, 2\)"):
        assemble_kernel_tiles("k.h5", [each for each in files if each[6:9] not in ("0-1", "0-2")])
    with pytest.raises(StorageError, match=r"^k.h5: all of its tiles are missing"):
        assemble_kernel_tiles("k.h5", [])
    assert not os.path.exists("k.h5")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (dict(data=torch.ones(3)), r"data is '\w{12}' in the file, not ''"),
        (dict(convention="trace"), r"convention is 'trace' in the file, not ''"),
        (dict(dtype="float32"), r"dtype is 'float32' in the file, not 'float64'"),
    ],
)
def test_tiles_of_another_kernel_are_refused_by_name(kernel, changed, words):
    files = write_all(kernel)
    files[2] = write(kernel, (1, 1), name="strange", **changed)
    with pytest.raises(StorageError, match=rf"^tiles/strange.h5: {words} as in tiles/2-2.h5"):
        assemble_kernel_tiles("kernel.h5", files)


def test_tiles_of_another_size_are_refused_by_name(kernel):
    files = write_all(kernel)
    for n, tile, words in ((119, 50, "n is '119'"), (120, 49, "tile is '49'")):
        rows = slice(tile, 2 * tile)
        write_kernel_tile("strange.h5", kernel[rows, rows], (1, 1), n, tile=tile)
        with pytest.raises(StorageError, match=rf"^strange.h5: {words} in the file"):
            assemble_kernel_tiles("kernel.h5", [*files[:2], "strange.h5", *files[3:]])


def test_two_files_of_one_tile_are_refused(kernel):
    files = write_all(kernel)
    twin = write(kernel, (1, 1), name="twin")
    with pytest.raises(StorageError, match=r"^tiles/twin.h5: is of tile \(1, 1\) like tiles/1-1"):
        assemble_kernel_tiles("kernel.h5", [*files, twin])


def test_a_tile_that_was_replaced_since_is_refused(kernel):
    assemble_kernel_tiles("kernel.h5", write_all(kernel))
    write(2 * kernel, (0, 2))
    with pytest.raises(StorageError, match=r"^kernel.h5: tiles/0-2.h5 is not the tile that it was"):
        open_square_tiles("kernel.h5")


def test_a_damaged_byte_is_found_at_reading(kernel):
    assemble_kernel_tiles("kernel.h5", write_all(kernel))
    stored = kernel[:50, 100:].numpy().tobytes()
    with open("tiles/0-2.h5", "r+b") as file:
        place = file.read().index(stored[:1000])
        file.seek(place + 40)
        file.write(b"\x00\x01")
    with pytest.raises(StorageError, match=r"kernel.h5: rows 0 to 49, columns 100 to 119 are dam"):
        kernel_ridge("kernel.h5", torch.ones(N, dtype=torch.float64), 0.1)


def test_files_that_hold_no_tile_are_named(kernel):
    files = write_all(kernel)
    with open(files[0], "r+b") as file:
        file.truncate(100)
    with pytest.raises(StorageError, match=r"^tiles/2-2.h5: not a readable HDF5 file; make the"):
        assemble_kernel_tiles("kernel.h5", files)
    write_kernel_tiles("whole.h5", lambda i, j: kernel[i, j], N, tile=TILE)
    with pytest.raises(StorageError, match=r"^whole.h5: holds no tile of write_kernel_tile"):
        assemble_kernel_tiles("kernel.h5", [*files[1:], "whole.h5"])


def test_a_kernel_of_other_rows_is_refused(kernel):
    x = problem()[0]
    assemble_kernel_tiles("kernel.h5", write_all(kernel, data=x))
    assert open_square_tiles("kernel.h5", x).size == N
    with pytest.raises(StorageError, match=r"^kernel.h5: is no kernel of these data"):
        open_square_tiles("kernel.h5", x.flip(0))


def test_places_and_shapes_that_are_none(kernel):
    for place in ((1, 0), (0, 3), (-1, 0)):
        with pytest.raises(ConfigurationError, match=r"^place: .* is not allowed; use row <= col"):
            write(kernel, place)
    with pytest.raises(StorageError, match=r"^a.h5: tile \(2, 2\) has shape \(50, 50\), not \(20,"):
        write_kernel_tile("a.h5", kernel[:50, :50], (2, 2), N, tile=TILE)
    for options, words in ((dict(tile=0), "^tile: 0"), (dict(dtype="int64"), "^dtype: 'int64'")):
        with pytest.raises(ConfigurationError, match=words):
            write_kernel_tile("a.h5", kernel, (0, 0), N, **options)
    assert not os.path.exists("a.h5")


def test_rows_that_are_not_finite_are_those_of_the_kernel(kernel):
    kernel = kernel.clone()
    kernel[50] = kernel[:, 50] = torch.nan
    assemble_kernel_tiles("kernel.h5", write_all(kernel))
    np.testing.assert_array_equal(open_square_tiles("kernel.h5").rows(slice(0, 50)), kernel[:50])
