"""Which module may import which: read from the source, imports for types and at need included."""

import ast
import graphlib
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "scripts"
# Kernels in files.
FILES = [f"ntkflow.empirical.{name}" for name in ("stored", "tile_files", "tiles")]
STUDY_ONLY = {"yaml", "pandas", "matplotlib", "jinja2", "jsonschema", "snakemake", "PIL"}


def modules(folder: Path) -> dict[str, Path]:
    """Files of the two packages below a folder, by the name that they are imported by."""
    found = {}
    for package in ("ntkflow", "ntkstudy"):
        for file in (folder / package).rglob("*.py"):
            parts = file.relative_to(folder).with_suffix("").parts
            found[".".join(parts[:-1] if file.stem == "__init__" else parts)] = file
    return found


def imported_names(module: str, file: Path) -> set[str]:
    """Full dotted names in a file's import statements; `from a import b` gives `a.b`."""
    package = module.split(".") if file.stem == "__init__" else module.split(".")[:-1]
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            parts = [*base, *(node.module.split(".") if node.module else [])]
            names |= {".".join([*parts, alias.name]) for alias in node.names}
    return names


def run_by(name: str, importer: str, known: set[str]) -> set[str]:
    """Modules that importing a name runs: its home, and packages above that lack the importer."""
    parts = name.split(".")
    prefixes = [".".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
    ran = [prefix for prefix in prefixes if prefix in known]
    return {each for each in ran[:-1] if not f"{importer}.".startswith(f"{each}.")} | set(ran[-1:])


def arrows(folder: Path) -> dict[str, set[str]]:
    """For every module of the two packages the modules that its imports run."""
    files = modules(folder)
    return {
        module: {
            each
            for name in imported_names(module, file)
            for each in run_by(name, module, set(files))
        }
        for module, file in files.items()
    }


def third_party(package: str) -> dict[str, set[str]]:
    """Packages of others that each module of a package imports."""
    own = {"ntkflow", "ntkstudy", *sys.stdlib_module_names}
    return {
        module: {name.split(".")[0] for name in imported_names(module, file)} - own
        for module, file in modules(SCRIPTS).items()
        if module.split(".")[0] == package
    }


def find_cycle(graph: dict[str, set[str]]) -> list[str]:
    """Modules along one cycle, or nothing."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def test_the_library_never_imports_the_study():
    for module, targets in arrows(SCRIPTS).items():
        if module.split(".")[0] == "ntkflow":
            assert {target.split(".")[0] for target in targets} <= {"ntkflow"}, module


def test_the_study_imports_the_library():
    targets = {
        target
        for module, targets in arrows(SCRIPTS).items()
        if module.startswith("ntkstudy.")
        for target in targets
    }
    assert {"ntkflow.errors", "ntkflow.limits", "ntkflow.training"} <= targets


def test_no_cycles():
    assert find_cycle(arrows(SCRIPTS)) == []


def test_the_library_needs_nothing_of_the_study():
    imports = third_party("ntkflow")
    assert not STUDY_ONLY & set().union(*imports.values())
    assert sorted(module for module, names in imports.items() if "h5py" in names) == FILES


def test_dependencies_are_what_the_library_imports():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = [re.match(r"[\w-]+", each).group() for each in project["dependencies"]]
    assert sorted(declared) == sorted(set().union(*third_party("ntkflow").values()))


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("files", "cycle"),
    [
        (
            {
                "ntkflow/a.py": "from typing import TYPE_CHECKING\n"
                "if TYPE_CHECKING:\n    from .b import B\n",
                "ntkflow/b.py": "def f():\n    from ntkflow import a\n",
            },
            {"ntkflow.a", "ntkflow.b"},
        ),
        (
            {
                "ntkflow/p/__init__.py": "from .q import f\n",
                "ntkflow/p/q.py": "from ..c import g\n",
                "ntkflow/c.py": "import ntkflow.p.r\n",  # runs p/__init__ too
                "ntkflow/p/r.py": "",
            },
            {"ntkflow.p", "ntkflow.p.q", "ntkflow.c"},
        ),
        ({"ntkflow/p/__init__.py": "from .q import f\n", "ntkflow/p/q.py": ""}, set()),
        (
            {
                "ntkflow/p/__init__.py": "from .q import f\n",
                "ntkflow/p/q.py": "from . import g\n",
            },
            {"ntkflow.p", "ntkflow.p.q"},
        ),
        (
            {
                "ntkflow/p/__init__.py": "from .q import f\n",
                "ntkflow/p/q.py": "from . import r\n",
                "ntkflow/p/r.py": "",
            },
            set(),
        ),
    ],
)
def test_cycles_are_found(files, cycle, tmp_path):
    package = {"ntkflow/__init__.py": "", "ntkflow/p/__init__.py": ""}
    found = find_cycle(arrows(write(tmp_path, package | files)))
    assert set(found) == cycle
