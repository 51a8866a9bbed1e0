"""Checksums of files, kept in the files: a last line over everything before it.

HDF5 does not look beyond its own end of a file, and readers of CSV take the line for a comment, so
that sealed files are read like others. Without it a changed byte would be a wrong number.
"""

import hashlib
import os
from functools import lru_cache
from pathlib import Path

from ntkflow.errors import StorageError

# What to do about a file that is not what was written.
ADVICE = "`make mend`, with its SCALE, makes it anew, and nothing else"

_BEGIN, _END = b"# sha256 of all above: ", b"\n"
_LENGTH = len(_BEGIN) + 64 + len(_END)
_BLOCK = 1 << 20


def seal(path: str | Path) -> None:
    """Add the line to a file that is complete."""
    digest = _digest(Path(path), os.path.getsize(path))
    with open(path, "ab") as file:
        file.write(_BEGIN + digest.encode() + _END)


def check_seal(path: str | Path, kind: str) -> int:
    """Refuse a file that is not what was written; one that has not changed since is read once.

    Args:
        path: the file.
        kind: what is expected there, for errors.

    Returns:
        Bytes of the file without the line.

    Raises:
        StorageError: if it is missing, cannot be read, ends without its line or differs from it.
    """
    expected = f"expected a {kind!r} file"
    try:
        found = os.stat(path)
        with open(path, "rb") as file:
            file.seek(max(0, found.st_size - _LENGTH))
            line = file.read()
    except FileNotFoundError:
        raise StorageError(f"{path}: does not exist; {expected}") from None
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
        raise StorageError(f"{path}: {problem}; allowed: a readable file") from None
    if not (line.startswith(_BEGIN) and line.endswith(_END) and len(line) == _LENGTH):
        raise StorageError(f"{path}: truncated or another file; {expected} ({ADVICE})")
    size = found.st_size - _LENGTH
    digest = _known_digest(Path(path), size, found.st_mtime_ns, found.st_ino)
    written = line[len(_BEGIN) : -len(_END)].decode(errors="replace")
    if digest != written:
        raise StorageError(
            f"{path}: damaged: its SHA-256 is {digest[:12]}..., not {written[:12]}... as when it "
            f"was written; {expected} ({ADVICE})"
        )
    return size


@lru_cache(maxsize=4096)
def _known_digest(path: Path, size: int, modified: int, inode: int) -> str:
    """The same, computed again only where the file has changed."""
    return _digest(path, size)


def _digest(path: Path, size: int) -> str:
    """SHA-256 of the first bytes of a file."""
    total = hashlib.sha256()
    with open(path, "rb") as file:
        while size > 0 and (block := file.read(min(_BLOCK, size))):
            total.update(block)
            size -= len(block)
    return total.hexdigest()
