"""Which distributions requirements.txt brings, and commands that see no others."""

import os
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# Python imports this module when it starts; HIDDEN is then in the environment.
HIDE = """\
import os, pkgutil, sys

hidden, listed = os.environ["HIDDEN"].split(","), pkgutil.iter_modules

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

def others(*arguments, **named):
    return (module for module in listed(*arguments, **named) if module.name not in hidden)

sys.meta_path.insert(0, Hidden())
pkgutil.iter_modules = others
"""


def closure(file: Path) -> set[str]:
    """Distributions that a requirements file names, and those that they need."""
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    found: set[tuple[str, str]] = set()  # with the extra that is asked for, "" for none
    todo = [named for line in lines for named in _named(Requirement(line))]
    while todo:
        name, extra = todo.pop()
        if (name, extra) not in found:
            found.add((name, extra))
            todo += _needed(name, extra)
    return {name for name, _ in found}


def _named(requirement: Requirement) -> list[tuple[str, str]]:
    name = canonicalize_name(requirement.name)
    return [(name, extra) for extra in ("", *requirement.extras)]


def _needed(name: str, extra: str) -> list[tuple[str, str]]:
    try:
        needed = [Requirement(line) for line in requires(name) or []]
    except PackageNotFoundError:  # torch's packages for graphics cards
        return []
    applies = [
        other for other in needed if not other.marker or other.marker.evaluate({"extra": extra})
    ]
    return [named for other in applies for named in _named(other)]


def seeing_only(distributions: Iterable[str], folder: Path) -> dict[str, str]:
    """Environment in which Python imports no module of other installed distributions."""
    (folder / "sitecustomize.py").write_text(HIDE)
    kept = set(distributions)
    hidden = [
        module
        for module, owners in packages_distributions().items()
        if not kept & {canonicalize_name(owner) for owner in owners}
    ]
    return os.environ | {"PYTHONPATH": str(folder), "HIDDEN": ",".join(hidden)}
