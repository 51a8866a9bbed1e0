"""Make the bundled MNIST subset from a folder with the whole set.

    python scripts/pack_mnist.py FOLDER [resources/mnist]

Takes the first 4,000 training and 1,000 test images in the canonical order, and writes them as
packed IDX files with the SHA-256 of their unpacked content. Equal input gives equal content.
"""

import argparse
import gzip
import hashlib
from pathlib import Path

from ntkstudy.data.mnist import read_images, write_idx
from ntkstudy.data.mnist_files import FOLDER, FULL_SUMS, NAMES, image_files

TRAIN, TEST = 4000, 1000


def pack(source: str, target: str, train: int = TRAIN, test: int = TEST) -> None:
    """Write the subset of `source` and its checksums into the folder `target`."""
    checked = [FULL_SUMS] if Path(target) == Path(FOLDER) else []
    sets = read_images([*image_files("directory", source, ""), *checked])
    Path(target).mkdir(parents=True, exist_ok=True)
    lines = []
    for images, count, names in zip(sets, (train, test), (NAMES[:2], NAMES[2:]), strict=True):
        for name, values in zip(names, (images.pixels, images.labels), strict=True):
            file = Path(target, f"{name}.gz")
            write_idx(file, values[:count])
            digest = hashlib.sha256(gzip.decompress(file.read_bytes())).hexdigest()
            lines.append(f"{digest}  {name}\n")
    Path(target, "bundled.sha256").write_text("".join(lines), encoding="ascii")


def main() -> None:
    """Parse the command line and pack."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="folder with the four IDX files, plain or .gz")
    parser.add_argument("target", nargs="?", default=FOLDER)
    arguments = parser.parse_args()
    pack(arguments.folder, arguments.target)


if __name__ == "__main__":
    main()
