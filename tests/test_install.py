"""`pip install .` gives the library under the name ntkflow, and nothing else."""

import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

import ntkflow

PROJECT = Path(__file__).parents[1]
LIBRARY = PROJECT / "scripts" / "ntkflow"
PARTS = ("pyproject.toml", "MANIFEST.in", "README.md", "CHANGELOG.md", "CITATION.cff", "LICENSE")
MODULES = {str(path.relative_to(LIBRARY.parent)) for path in LIBRARY.rglob("*.py")}
BUILD = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"

# What a user does first, in an environment of the wheel and its dependencies alone.
USE = """
import importlib, importlib.resources, importlib.util, pkgutil, sys

import ntkflow

assert ntkflow.__file__.startswith(sys.prefix)
for module in pkgutil.walk_packages(ntkflow.__path__, prefix="ntkflow."):
    importlib.import_module(module.name)
    print("imported", module.name)
assert importlib.util.find_spec("ntkstudy") is None
assert importlib.resources.files(ntkflow).joinpath("py.typed").is_file()
known = {}
for example in sys.argv[1:]:
    exec(compile(example, "README.md", "exec"), known)
"""


def run(*command) -> str:
    """Standard output; what went wrong if the command fails."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory) -> Path:
    """Built from a copy of the project that also has the study and tests; no warning is given."""
    project = tmp_path_factory.mktemp("project")
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("scripts", "tests"):
        shutil.copytree(PROJECT / name, project / name, ignore=ignore)
    for name in PARTS:
        shutil.copy2(PROJECT / name, project / name)
    subprocess.run([sys.executable, "-W", "error", "-c", BUILD, "dist"], check=True, cwd=project)
    return next(project.glob("dist/ntkflow-*.tar.gz"))


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation"]
    run(sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", folder, sdist)
    return next(folder.glob("ntkflow-*.whl"))


def test_sdist_holds_the_library_and_its_papers(sdist):
    with tarfile.open(sdist) as archive:
        names = {entry.name.split("/", 1)[1] for entry in archive if entry.isfile()}
    sources = {f"scripts/{name}" for name in [*MODULES, "ntkflow/py.typed"]}
    assert {name for name in names if ".egg-info/" not in name} == (
        sources | {*PARTS, "PKG-INFO", "setup.cfg"}
    )


def test_wheel_holds_the_library_alone(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert f"ntkflow-{ntkflow.__version__}-" in wheel.name
    assert {name for name in names if ".dist-info/" not in name} == {*MODULES, "ntkflow/py.typed"}


def test_installed_library_computes_a_kernel(wheel):
    # Imported straight from the wheel, with this environment's torch and none of the project.
    code = (
        f"import sys; sys.path.insert(0, {str(wheel)!r}); import ntkflow, torch; "
        "x = torch.eye(2); print(ntkflow.empirical_ntk(torch.nn.Linear(2, 1), x).values.tolist())"
    )
    assert run(sys.executable, "-I", "-c", code).strip() == "[[[[2.0, 1.0], [1.0, 2.0]]]]"


@pytest.mark.slow
def test_installed_library_needs_what_it_declares_and_no_more(wheel, tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    pins = PROJECT / "requirements.txt"  # else pip brings the newest torch, of several GB
    run(python, "-m", "pip", "install", "--disable-pip-version-check", "-c", pins, wheel)
    run(python, "-m", "pip", "check")
    pages = [PROJECT / "README.md", PROJECT / "docs" / "index.md", PROJECT / "docs" / "guide.md"]
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(examples) > len(pages)
    said = run(python, "-I", "-W", "error", "-c", USE, *examples)
    imported = re.findall(r"^imported (\S+)$", said, re.MULTILINE)
    names = {re.sub(r"(/__init__)?\.py$", "", name).replace("/", ".") for name in MODULES}
    assert {"ntkflow", *imported} == names


def test_papers_name_this_version():
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text(encoding="utf-8"))
    changes = (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert citation["version"] == ntkflow.__version__
    assert re.findall(r"^## ([0-9]\S*)", changes, re.MULTILINE)[0] == ntkflow.__version__
