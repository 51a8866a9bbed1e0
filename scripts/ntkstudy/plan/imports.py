"""Which project files a script imports, read from its source."""

import ast
from functools import cache
from pathlib import Path


def import_closure(script: str | Path) -> list[str]:
    """The script and every project file that it imports, directly or through others, sorted.

    Modules are looked up beside the script's top folder (`scripts/`), packages included.
    `ntkflow/__init__.py` holds lazy exports only, which scripts do not use, and is left out: a new
    export re-runs nothing.
    """
    script = Path(script)
    root = next(folder for folder in script.parents if folder.name == "scripts")
    found: set[Path] = set()
    todo = [script]
    while todo:
        path = todo.pop()
        if path not in found:
            found.add(path)
            todo += [root / name for name in _imported(path, root)]
    return sorted(map(str, found))


@cache
def _imported(path: Path, root: Path) -> tuple[Path, ...]:
    """Project files that one file names in its import statements, relative to the root."""
    found: list[Path] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [file for alias in node.names for file in _files(root, alias.name.split("."))]
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, path, root)
            found += _files(root, base)
            for alias in node.names:  # `from package import module`
                found += _files(root, [*base, alias.name])
    return tuple(file for file in found if file != Path("ntkflow/__init__.py"))


def _base(node: ast.ImportFrom, path: Path, root: Path) -> list[str]:
    """Dotted parts that a `from ... import` starts from; leading dots count from its folder."""
    parts = node.module.split(".") if node.module else []
    if node.level == 0:
        return parts
    package = path.relative_to(root).parent.parts
    return [*package[: len(package) - node.level + 1], *parts]


def _files(root: Path, parts: list[str]) -> list[Path]:
    """Files that importing `a.b.c` runs: the module, and the `__init__.py` of packages above it."""
    files = [Path(*parts[:depth], "__init__.py") for depth in range(1, len(parts) + 1)]
    files.append(Path(*parts).with_suffix(".py"))
    return [file for file in files if (root / file).is_file()]
