import gzip
from pathlib import Path

import numpy as np
import pytest

import pack_mnist
from ntkflow.errors import ConfigurationError, StorageError
from ntkstudy.data.mnist import MEAN, choose_images, read_idx, read_images, scale_pixels, write_idx
from ntkstudy.data.mnist_files import BUNDLED_SUMS, FOLDER, NAMES, read_checksums
from ntkstudy.options import read_options
from ntkstudy.registry import TASKS, discover

discover()

ROOT = Path(__file__).parents[1]
TASK = {
    "kind": "mnist", "source": "bundled", "directory": None, "train_points": 20, "test_points": 10,
    "test_from": "test", "selection": "first", "balanced": False, "image_size": 28,
    "scaling": "unit", "data_seed": 0,
}  # fmt: skip


@pytest.fixture(autouse=True)
def inside_the_project(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Thirty small images to train on and twenty to test, three classes in turn."""
    rng = np.random.default_rng(0)
    for names, count in ((NAMES[:2], 30), (NAMES[2:], 20)):
        write_idx(tmp_path / f"{names[0]}.gz", rng.integers(0, 256, (count, 4, 4)))
        write_idx(tmp_path / f"{names[1]}.gz", np.arange(count) % 3)
    return tmp_path


def files_of(results="results/x", **changes) -> list[str]:
    kind = TASKS["mnist"]
    return list(kind.files(read_options(kind.options, TASK | changes), results))


def choose(**changes):
    options = read_options(TASKS["mnist"].options, TASK | changes)
    return choose_images(options, files_of(**changes))


def test_the_bundled_subset_is_what_its_checksums_say():
    train, test = read_images(files_of())
    assert train.pixels.shape == (4000, 28, 28)
    assert test.pixels.shape == (1000, 28, 28)
    # The first labels of the canonical order, as every description of MNIST has them.
    assert train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert set(read_checksums(BUNDLED_SUMS)) == set(NAMES)
    assert sum(path.stat().st_size for path in Path(FOLDER).iterdir()) < 3e6


def test_first_images_are_one_hot_and_scaled():
    train, test = choose()
    assert train.x.shape == (20, 784)
    assert test.x.shape == (10, 784)
    assert (train.x.min(), train.x.max()) == (0.0, 1.0)
    np.testing.assert_array_equal(train.y.argmax(axis=1), train.labels)
    np.testing.assert_array_equal(train.y.sum(axis=1), 1)
    assert train.positions.tolist() == list(range(20))
    normalised = choose(scaling="normalised")[0].x
    np.testing.assert_allclose(normalised * 0.3081 + MEAN, train.x, atol=1e-15)


def test_smaller_images_are_means_over_squares():
    pixels = np.array([[[0, 255, 51, 51], [255, 0, 51, 51]]] * 2, dtype=np.uint8).reshape(1, 4, 4)
    small = scale_pixels(pixels, image_size=2, scaling="unit")
    np.testing.assert_allclose(small, [[[0.5, 0.2], [0.5, 0.2]]], rtol=1e-15)
    with pytest.raises(ConfigurationError, match=r"task.image_size: 3 is not allowed; allowed: a"):
        scale_pixels(pixels, image_size=3, scaling="unit")


@pytest.mark.parametrize("test_from", ["test", "train"])
@pytest.mark.parametrize("balanced", [True, False])
def test_random_subsets_follow_the_seed_are_nested_and_disjoint(test_from, balanced):
    options = {"selection": "random", "test_from": test_from, "balanced": balanced}
    train, test = choose(train_points=300, test_points=200, **options)
    assert len(set(train.positions)) == 300
    assert len(set(test.positions)) == 200
    if test_from == "train":
        assert not set(train.positions) & set(test.positions)
    fewer, same = choose(train_points=50, test_points=200, **options)
    np.testing.assert_array_equal(fewer.positions, train.positions[:50])
    np.testing.assert_array_equal(same.positions, test.positions)
    other, _ = choose(train_points=300, data_seed=1, **options)
    assert set(other.positions) != set(train.positions)
    if balanced:
        assert np.bincount(train.labels).tolist() == [30] * 10
        assert np.bincount(test.labels).tolist() == [20] * 10


def test_first_and_balanced_takes_the_first_of_every_digit():
    train, _ = choose(balanced=True, train_points=25)
    counts = np.bincount(train.labels)
    assert (counts.min(), counts.max()) == (2, 3)
    labels = read_images(files_of())[0].labels
    assert set(np.flatnonzero(labels == 4)[:3]) == set(train.positions[train.labels == 4])


def test_a_folder_is_read_plain_or_packed(folder):
    task = {"source": "directory", "directory": str(folder), "image_size": 4}
    packed, _ = choose(**task)
    file = folder / f"{NAMES[0]}.gz"
    (folder / NAMES[0]).write_bytes(gzip.decompress(file.read_bytes()))
    file.unlink()
    plain, _ = choose(**task)
    np.testing.assert_array_equal(plain.x, packed.x)


def test_packing_again_gives_equal_files(folder, tmp_path):
    for name in ("a", "b"):
        pack_mnist.pack(str(folder), str(tmp_path / name), 6, 3)
    for name in (f"{NAMES[0]}.gz", f"{NAMES[3]}.gz", "bundled.sha256"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    files = [str(tmp_path / "a" / f"{name}.gz") for name in NAMES]
    train, test = read_images([*files, str(tmp_path / "a" / "bundled.sha256")])
    assert (len(train), len(test)) == (6, 3)
    assert train.labels.tolist() == [0, 1, 2, 0, 1, 2]


def test_download_names_files_under_the_results():
    files = files_of(source="download")
    assert files[0] == "results/x/downloads/mnist/train-images-idx3-ubyte.gz"
    assert list(TASKS["circle_product"].files(None, "results/x")) == []


# Errors

IDX = bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9])


@pytest.mark.parametrize(
    ("content", "name", "problem"),
    [
        (IDX, "a", None),
        (b"\x00\x00\x08\x03" + IDX[4:], "a", "starts with 00000803, no magic number of an IDX file"
         " of labels; expected 00000801; get the file anew, or set task.source: bundled"),
        (b"", "a", "starts with nothing, no magic number"),
        (IDX[:-1], "a", "truncated or damaged: holds 10 bytes unpacked; expected 11; get the file"),
        (IDX[:6], "a", "truncated or damaged: holds 6 bytes"),
        (gzip.compress(IDX, mtime=0)[:-9], "a.gz", "truncated or damaged: Compressed file ended"),
        (IDX, "a.gz", "truncated or damaged: Not a gzipped file"),
        (None, "a", "cannot be read: No such file or directory; get the file anew"),
    ],
)  # fmt: skip
def test_wrong_files_are_named_with_what_to_do(tmp_path, content, name, problem):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    if problem is None:
        assert read_idx(path, axes=1).tolist() == [7, 8, 9]
        return
    with pytest.raises(StorageError) as error:
        read_idx(path, axes=1)
    assert str(error.value).startswith(f"{path}: {problem}")
    assert "\n" not in str(error.value)


def test_wrong_checksum(tmp_path):
    (tmp_path / "a").write_bytes(IDX)
    with pytest.raises(StorageError, match=r"a: its unpacked content has SHA-256 \w{64}; expected"):
        read_idx(tmp_path / "a", axes=1, sha256="0" * 64)


def test_one_label_per_image(folder):
    write_idx(folder / f"{NAMES[3]}.gz", np.arange(19) % 3)
    files = [str(folder / f"{name}.gz") for name in NAMES]
    with pytest.raises(StorageError, match=r"t10k-labels.*: holds 19 labels for 20 images in .*; "):
        read_images(files)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"train_points": 4001}, "task.train_points: 4001 is not allowed; allowed: at most 4000, "
         "the images in the bundled subset (source: directory or download has all 60000)"),
        ({"test_points": 1001}, "task.test_points: 1001 is not allowed; allowed: at most 1000"),
        ({"train_points": 3995, "test_from": "train"},
         "task.train_points + test_points: 4005 is not allowed; allowed: at most 4000"),
        ({"balanced": True, "train_points": 3900},
         "task.train_points: 3900 is not allowed; allowed: at most 3500, the balanced images in"),
    ],
)  # fmt: skip
def test_more_images_than_there_are(changes, problem):
    with pytest.raises(ConfigurationError) as error:
        choose(**changes)
    assert str(error.value).startswith(problem)


def test_folders_without_the_files(tmp_path):
    with pytest.raises(
        ConfigurationError, match=r"task.directory: null is not allowed with source"
    ):
        files_of(source="directory")
    with pytest.raises(ConfigurationError, match="has no train-images-idx3-ubyte; allowed: a fold"):
        files_of(source="directory", directory=str(tmp_path))
