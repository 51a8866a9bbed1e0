"""One plain environment for each file of envs/, of exactly its pins and what they need."""

import ast
import json
import os
import subprocess
import venv
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
import yaml
from requirements import closure
from test_imports import entries, environments
from workflow import PROJECT

from ntkstudy.plan.imports import import_closure

pytestmark = pytest.mark.slow

IMPORT = """
import importlib, json, sys
sys.path.insert(0, "scripts")
for name in json.loads(sys.stdin.read()):
    importlib.import_module(name)
print(sys.prefix)
"""


def build_environment(folder: Path, pins: dict[str, str]) -> Path:
    """A virtual environment of distributions that are installed here; its Python.

    Each is linked in, none else is: what pip would install, without a download.
    """
    venv.create(folder, with_pip=False)
    file = folder / "requirements.txt"
    file.write_text("".join(f"{name}=={version}\n" for name, version in pins.items()))
    (packages,) = folder.glob("lib/python*/site-packages")
    for name in closure(file):
        try:
            found = distribution(name)
        except PackageNotFoundError:  # torch's packages for graphics cards
            continue
        assert found.version.split("+")[0] == pins.get(name, found.version).split("+")[0]
        for top in {part.parts[0] for part in found.files if part.parts[0] != ".."}:
            if not (packages / top).exists() and top != "__pycache__":
                (packages / top).symlink_to(found.locate_file(top))
    return folder / "bin" / "python"


def imported(file: str, inside: bool) -> set[str]:
    """Modules that import statements of a file name, those inside of functions if asked for."""
    package = Path(file).relative_to("scripts").parts[:-1]
    tree = ast.parse(Path(file).read_text())
    names = set()
    for node in ast.walk(tree) if inside else tree.body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = package[: len(package) - node.level + 1] if node.level else ()
            names.add(".".join([*parts, *([node.module] if node.module else [])]))
    return names


@pytest.mark.parametrize("name", ["analysis", "report", "torch"])
def test_a_plain_environment_imports_every_script(name, tmp_path, monkeypatch):
    monkeypatch.chdir(PROJECT)
    listed = yaml.safe_load((PROJECT / f"envs/{name}.yaml").read_text())["dependencies"][-1]["pip"]
    python = build_environment(tmp_path / name, dict(line.split("==") for line in listed))
    scripts = sorted(environments()[name])
    named = {str(path) for script in scripts for path in entries(script)}
    starts = {f"scripts/{script}.py" for script in scripts} | named
    files = {file for start in starts for file in import_closure(start)}
    paths = (start.removeprefix("scripts/").removesuffix(".py") for start in starts)
    modules = {path.replace("/", ".") for path in paths}
    # Modules of the registry import inside functions, which their jobs call.
    modules |= {module for file in files for module in imported(file, inside=file in named)}
    plain = {key: os.environ[key] for key in os.environ if not key.startswith("PYTHON")}
    done = subprocess.run(
        [python, "-c", IMPORT],
        input=json.dumps(sorted(modules)),
        env=plain,
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / name)
    absent = subprocess.run([python, "-c", "import pytest"], env=plain, capture_output=True)
    assert absent.returncode != 0
