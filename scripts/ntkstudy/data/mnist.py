"""MNIST images: IDX files as arrays, and training and test sets chosen from them.

The format: two zero bytes, a type (8: bytes), the number of axes, one big-endian 32-bit size per
axis, then the values (LeCun, Cortes, Burges, The MNIST database of handwritten digits).
"""

import gzip
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ntkflow.errors import ConfigurationError, StorageError
from ntkflow.randomness import generator

from .mnist_files import check_digest, split_checksums, stem

CLASSES = 10
MEAN, DEVIATION = 0.1307, 0.3081  # of pixels / 255 over the 60,000 training images
_IMAGES, _LABELS = 3, 1  # number of axes
_AGAIN = "get the file anew, or set task.source: bundled"


@dataclass(frozen=True)
class Images:
    """Images (N, H, W) of bytes and their labels (N,) in 0..9."""

    pixels: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Chosen:
    """A data set: inputs (M, H W), one-hot targets (M, 10), labels and positions (M,) in the file.

    Positions count from 0 in the canonical order.
    """

    x: np.ndarray
    y: np.ndarray
    labels: np.ndarray
    positions: np.ndarray


def read_idx(path: str | Path, *, axes: int, sha256: str | None = None) -> np.ndarray:
    """Array of bytes from an IDX file, plain or packed (.gz).

    Args:
        path: the file.
        axes: number of axes it must have: 3 for images, 1 for labels.
        sha256: of the unpacked content; None checks nothing.

    Raises:
        StorageError: if the file is missing, damaged, truncated, of another kind, or its checksum
            is wrong.
    """
    content = _read(Path(path))
    magic = bytes([0, 0, 8, axes])
    if content[:4] != magic:
        raise StorageError(
            f"{path}: starts with {content[:4].hex() or 'nothing'}, no magic number of an IDX file "
            f"of {'images' if axes == _IMAGES else 'labels'}; expected {magic.hex()}; {_AGAIN}"
        )
    header = 4 + 4 * axes
    shape = struct.unpack(f">{axes}I", content[4:header]) if len(content) >= header else (0,)
    size = header + int(np.prod(shape, dtype=np.int64))
    if len(content) != size:
        raise StorageError(
            f"{path}: truncated or damaged: holds {len(content)} bytes unpacked; "
            f"expected {size}; {_AGAIN}"
        )
    if sha256 is not None:
        check_digest(path, content, sha256, advice=_AGAIN)
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)


def _read(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise StorageError(f"{path}: truncated or damaged: {error}; {_AGAIN}") from None
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror}; {_AGAIN}") from None


def write_idx(path: str | Path, values: np.ndarray) -> None:
    """Write bytes as a packed IDX file; equal values give equal files."""
    header = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    # mtime=0: no time of writing inside the file.
    packed = gzip.compress(header + values.astype(np.uint8).tobytes(), compresslevel=9, mtime=0)
    Path(path).write_bytes(packed)


def read_images(files: Sequence[str]) -> tuple[Images, Images]:
    """Training and test images.

    Args:
        files: four IDX files in the order of `mnist_files.NAMES`, then perhaps their checksums.

    Raises:
        StorageError: if a file is wrong, or there is not one label per image.
    """
    paths, checksums = split_checksums(files)
    found = [
        read_idx(path, axes=axes, sha256=checksums.get(stem(path)))
        for path, axes in zip(paths, (_IMAGES, _LABELS) * 2, strict=True)
    ]
    for index in (0, 2):
        if len(found[index]) != len(found[index + 1]):
            raise StorageError(
                f"{paths[index + 1]}: holds {len(found[index + 1])} labels for "
                f"{len(found[index])} images in {paths[index]}; expected as many; {_AGAIN}"
            )
    return Images(*found[:2]), Images(*found[2:])


def choose_images(options: Any, files: Sequence[str]) -> tuple[Chosen, Chosen]:
    """Training and test set of a task of kind `mnist`.

    Smaller sets are the first part of larger ones, and the test set does not depend on the size of
    the training set: taken from the training images, it begins at their other end.

    Args:
        options: of the task `mnist`, see `tasks.mnist`.
        files: see `read_images`.

    Raises:
        StorageError: if a file is wrong.
        ConfigurationError: if there are not as many images as asked for.
    """
    train, test = read_images(files)
    counts = options.train_points, options.test_points
    order = _shuffled(train, options, "data")
    if options.test_from == "train":
        _check_count(options, "train_points + test_points", counts, train)
        other, pool = order[::-1], train
    else:
        _check_count(options, "train_points", counts[:1], train)
        _check_count(options, "test_points", counts[1:], test)
        other, pool = _shuffled(test, options, "split"), test
    return (
        _take(train, _arranged(train, order, options)[: counts[0]], options),
        _take(pool, _arranged(pool, other, options)[: counts[1]], options),
    )


def _shuffled(images: Images, options: Any, stream: str) -> np.ndarray:
    """Positions of all images in the order in which they are chosen."""
    if options.selection == "first":
        return np.arange(len(images))
    return generator(options.data_seed, stream).permutation(len(images))


def _arranged(images: Images, order: np.ndarray, options: Any) -> np.ndarray:
    """The order itself; if balanced, one image of every class, then another of every class, ..."""
    if not options.balanced:
        return order
    labels = images.labels[order]
    rank = np.empty(len(order), dtype=np.int64)  # of an image among those of its class
    for label in range(CLASSES):
        mine = labels == label
        rank[mine] = np.arange(mine.sum())
    return order[np.lexsort((labels, rank))]


def _check_count(options: Any, key: str, counts: Sequence[int], images: Images) -> None:
    """Whether there are images for sets of these sizes."""
    needed, allowed = sum(counts), len(images)
    if options.balanced:
        # Every class gives as many images as the class that gives most.
        needed = sum(CLASSES * -(-count // CLASSES) for count in counts)
        allowed = CLASSES * int(np.bincount(images.labels, minlength=CLASSES).min())
    if needed > allowed:
        hint = {
            "bundled": " in the bundled subset (source: directory or download has all 60000)",
            "directory": " in task.directory",
            "download": " in the whole set",
        }[options.source]
        kind = "balanced images" if options.balanced else "images"
        raise ConfigurationError(
            f"task.{key}: {sum(counts)} is not allowed; allowed: at most {allowed}, "
            f"the {kind}{hint}"
        )


def _take(images: Images, positions: np.ndarray, options: Any) -> Chosen:
    labels = images.labels[positions].astype(np.int64)
    x = scale_pixels(
        images.pixels[positions], image_size=options.image_size, scaling=options.scaling
    )
    return Chosen(x.reshape(len(x), -1), np.eye(CLASSES)[labels], labels, positions)


def scale_pixels(pixels: np.ndarray, *, image_size: int, scaling: str) -> np.ndarray:
    """Bytes (N, H, W) to numbers (N, image_size, image_size).

    Args:
        pixels: images whose sides are a multiple of `image_size`.
        image_size: side of the result; smaller images are means over square blocks.
        scaling: "unit", pixels / 255, or "normalised", (pixels / 255 - .1307) / .3081, which gives
            the whole training set mean 0 and variance 1.

    Raises:
        ConfigurationError: if the sides are no multiple of `image_size`.
    """
    count, *sides = pixels.shape
    if any(side % image_size for side in sides):
        raise ConfigurationError(
            f"task.image_size: {image_size} is not allowed; allowed: a divisor of {sides}"
        )
    high, wide = (side // image_size for side in sides)
    blocks = pixels.reshape(count, image_size, high, image_size, wide)
    values = blocks.mean(axis=(2, 4)) / 255
    return values if scaling == "unit" else (values - MEAN) / DEVIATION
