"""Which project files a script imports, read from its source."""

import ast
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from .parsed import KEPT

EXPORTS = Path(__file__).parents[2] / "ntkflow" / "__init__.py"


def import_closure(script: str | Path) -> list[str]:
    """The script and every project file that it imports, directly or through others, sorted.

    Modules are looked up in the script's top folder `scripts/`, packages included, then in the
    project's folder above it. `ntkflow/__init__.py` holds lazy exports only and is left out: a new
    export re-runs nothing. Of names that are taken from it, modules are those that define them.

    Args:
        script: a file of `scripts/` or of the project's folder.
    """
    script = Path(script)
    above = [folder for folder in script.parents if folder.name == "scripts"]
    roots = (above[0], above[0].parent) if above else (Path("scripts"), Path())
    found: set[Path] = set()
    todo = [script]
    while todo:
        path = todo.pop()
        if path not in found:
            found.add(path)
            root = next(root for root in roots if path.is_relative_to(root))
            todo += _imported(path, root, roots)
    return sorted(map(str, found))


def module_closure(name: str) -> list[str]:
    """As `import_closure` for a module, packages above it included; none for an installed one."""
    roots, parts = (Path("scripts"), Path()), name.split(".")
    files = [file for root in roots for file in _files(root, parts)]
    return sorted({found for file in files for found in import_closure(file)})


@cache
def _imported(path: Path, root: Path, roots: tuple[Path, ...]) -> tuple[Path, ...]:
    """Project files that one file names in its import statements."""
    named: list[list[str]] = []
    for dots, module, names in KEPT.read(path):
        base = _base(dots, module, path, root)
        # `from package import module`
        named += [base, *([*base, name] for name in names)]
        if base == ["ntkflow"]:
            named += _exports(names)
    files = (file for parts in named for at in roots for file in _files(at, parts))
    return tuple(file for file in files if file.parts[-2:] != ("ntkflow", "__init__.py"))


def _exports(names: Sequence[str]) -> list[list[str]]:
    """Modules of names that `ntkflow` itself hands out; all for `import ntkflow`, without names."""
    homes = _homes()
    wanted = [homes[name] for name in names if name in homes] if names else homes.values()
    return [["ntkflow", *home.split(".")] for home in dict.fromkeys(wanted)]


@cache
def _homes() -> dict[str, str]:
    """Where the library's public names are defined, read from its source."""
    tree = ast.parse(EXPORTS.read_text(encoding="utf-8"))
    (table,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_HOMES"
    )
    return ast.literal_eval(table)


def _base(dots: int, module: str, path: Path, root: Path) -> list[str]:
    """Dotted parts that an import starts from; leading dots count from its folder."""
    parts = module.split(".") if module else []
    if not dots:
        return parts
    package = path.relative_to(root).parent.parts
    return [*package[: len(package) - dots + 1], *parts]


def _files(root: Path, parts: list[str]) -> list[Path]:
    """Files that importing `a.b.c` runs: the module, and the `__init__.py` of packages above it."""
    files = [Path(*parts[:depth], "__init__.py") for depth in range(1, len(parts) + 1)]
    files.append(Path(*parts).with_suffix(".py"))
    return [root / file for file in files if (root / file).is_file()]
