"""What files import, kept by their content from one run to the next.

To parse 200 files takes half a second, a fifth of a run with nothing to do.
"""

import ast
import atexit
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

Statement = list  # of an import: leading dots, module or "", names
NAME = "ntkflow-imports-1.json"


def import_statements(text: str) -> list[Statement]:
    """Import statements of a source at any depth.

    Returns:
        For `from ..a import b, c` the list [2, "a", ["b", "c"]], for `import a.b` [0, "a.b", []].

    Examples:
        >>> from ntkstudy.plan.parsed import import_statements
        >>> import_statements("import a.b")
        [[0, 'a.b', []]]
    """
    found: list[Statement] = []
    for node in _statements(ast.parse(text).body):
        if isinstance(node, ast.Import):
            found += [[0, alias.name, []] for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names]
            found.append([node.level, node.module or "", names])
    return found


def _statements(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Statements at any depth; their expressions, which are most of a file, hold no imports."""
    for node in body:
        yield node
        for part in ("body", "handlers", "orelse", "finalbody", "cases"):
            yield from _statements(getattr(node, part, ()))


class Kept:
    """Import statements by the checksum of their file, kept in a folder if there is one."""

    def __init__(self):
        self._file: Path | None = None
        self._before: dict[str, list[Statement]] = {}
        self._now: dict[str, list[Statement]] = {}

    def use(self, folder: str | Path) -> None:
        """Read what an earlier process has kept in a folder, and write there when this one ends.

        Args:
            folder: as Snakemake's own; nothing is kept before it is there.
        """
        self._file = Path(folder).absolute() / NAME
        with suppress(OSError, ValueError):
            kept = json.loads(self._file.read_text(encoding="utf-8"))
            self._before = kept if isinstance(kept, dict) else {}
        atexit.register(self.write)

    def read(self, path: Path) -> list[Statement]:
        """Import statements of a file."""
        content = path.read_bytes()
        key = hashlib.sha256(content).hexdigest()
        if key not in self._now:
            known = self._before.get(key)
            self._now[key] = import_statements(content.decode()) if known is None else known
        return self._now[key]

    def write(self) -> None:
        """Keep what was read; what was not, is forgotten."""
        if self._now.keys() <= self._before.keys() or not (
            self._file and self._file.parent.is_dir()
        ):
            return
        temporary = self._file.with_suffix(f".{os.getpid()}")
        with suppress(OSError):  # as in a folder of others: it is parsed again
            temporary.write_text(json.dumps(self._now), encoding="utf-8")
            temporary.replace(self._file)


KEPT = Kept()
