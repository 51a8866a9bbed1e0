"""Tables on disk: those collected from measurements are one folder, with a list of what it holds.

The list, contents.json, has a checksum per table: it differs when a table does, and stands for the
folder where a job waits for tables. Tables made of tables lie outside, each for itself.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pandas as pd

from ntkflow.errors import StorageError

from .seal import ADVICE
from .storage import replacing
from .tables import read_table

CONTENTS = "contents.json"


def write_contents(path: str | Path, names: Iterable[str]) -> None:
    """List the tables of a folder with the checksums of their files, which lie beside the list."""
    folder = Path(path).parent
    files = {name: (folder / f"{name}.csv").read_bytes() for name in names}
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(digests, indent=1))


def read_contents(path: str | Path) -> dict[str, str]:
    """Tables of a folder by name, with the SHA-256 of their files.

    Raises:
        StorageError: if the list is damaged.
    """
    try:
        return dict(json.loads(Path(path).read_text(encoding="utf-8")))
    except ValueError:
        raise StorageError(f"{path}: damaged: is no list of tables ({ADVICE})") from None


class Tables(Mapping[str, pd.DataFrame]):
    """Tables of one experiment by name, each read when it is first asked for.

    Args:
        files: a contents.json for all tables of its folder, CSV files for themselves; one or more.

    Raises:
        StorageError: when a table is asked for whose file is missing or damaged; if a list is.
    """

    def __init__(self, files: str | list[str]):
        self._paths: dict[str, Path] = {}
        self._read: dict[str, pd.DataFrame] = {}
        for path in map(Path, [files] if isinstance(files, str) else files):
            names = read_contents(path) if path.name == CONTENTS else [path.stem]
            self._paths |= {name: path.with_name(f"{name}.csv") for name in names}

    def __getitem__(self, name: str) -> pd.DataFrame:
        if name not in self._read:
            self._read[name] = read_table(self._existing(name))
        return self._read[name]

    def sha256(self, name: str) -> str:
        """Checksum of a table's file.

        Raises:
            StorageError: if the file is missing.
        """
        return hashlib.sha256(self._existing(name).read_bytes()).hexdigest()

    def _existing(self, name: str) -> Path:
        path = self._paths[name]
        if not path.exists():
            raise StorageError(f"{path}: is missing ({ADVICE})")
        return path

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


def tables_by_experiment(files: str | list[str]) -> dict[str, Tables]:
    """Tables of several experiments, from files <results>/<experiment>/<folder>/<name>."""
    grouped: dict[str, list[str]] = {}
    for file in [files] if isinstance(files, str) else files:
        grouped.setdefault(Path(file).parts[-3], []).append(file)
    return {experiment: Tables(group) for experiment, group in grouped.items()}
