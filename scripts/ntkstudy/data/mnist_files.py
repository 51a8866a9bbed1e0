"""Where the MNIST images come from: four IDX files, bundled, in a folder, or downloaded.

No numerics here, so that planning can name the files. `mnist` reads them.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from ntkflow.errors import ConfigurationError, StorageError

# In the order in which lists of the four files come: images and labels, for training and for test.
NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
FOLDER = "resources/mnist"
BUNDLED_SUMS = f"{FOLDER}/bundled.sha256"
FULL_SUMS = f"{FOLDER}/full.sha256"


def image_files(source: str, directory: str | None, results: str) -> list[str]:
    """Files that a task of kind `mnist` reads.

    Args:
        source: "bundled", "directory" or "download".
        directory: folder of the four IDX files, for that source.
        results: folder of the results, where the download rule puts its files.

    Returns:
        The four IDX files in the order of `NAMES`; for the bundled subset also its checksums.

    Raises:
        ConfigurationError: if `directory` is missing or lacks one of the four files.
    """
    if source == "bundled":
        return [*(f"{FOLDER}/{name}.gz" for name in NAMES), BUNDLED_SUMS]
    if source == "download":
        return [f"{results}/downloads/mnist/{name}.gz" for name in NAMES]
    if directory is None:
        raise ConfigurationError(
            "task.directory: null is not allowed with source: directory; "
            "allowed: the folder of the four IDX files"
        )
    return [_find(Path(directory), name) for name in NAMES]


def _find(folder: Path, name: str) -> str:
    """The file of that name, plain or packed."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return str(path)
    raise ConfigurationError(
        f"task.directory: {str(folder)!r} has no {name}; "
        f"allowed: a folder with {', '.join(NAMES)}, plain or .gz"
    )


def read_checksums(path: str | Path) -> dict[str, str]:
    """File name to SHA-256 from a list as `sha256sum` writes it."""
    lines = Path(path).read_text(encoding="ascii").splitlines()
    return {name: digest for digest, name in (line.split() for line in lines)}


def check_digest(path: str | Path, content: bytes, expected: str, *, advice: str) -> None:
    """Compare the SHA-256 of unpacked content with the expected one.

    Raises:
        StorageError: naming the file and what to do about it.
    """
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise StorageError(
            f"{path}: its unpacked content has SHA-256 {found}; expected {expected}; {advice}"
        )


def stem(path: str | Path) -> str:
    """Name of an IDX file without `.gz`."""
    return Path(path).name.removesuffix(".gz")


def split_checksums(files: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The four IDX files, and the checksums if the list ends with a file of them."""
    if len(files) > len(NAMES):
        return list(files[:-1]), read_checksums(files[-1])
    return list(files), {}
