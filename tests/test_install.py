"""`pip install .` gives the library under the name ntkflow, and nothing else."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import ntkflow

PROJECT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("install")
    project = folder / "project"
    shutil.copytree(PROJECT / "scripts" / "ntkflow", project / "scripts" / "ntkflow")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(PROJECT / name, project / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-build-isolation", "--wheel-dir", folder, project]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("ntkflow-*.whl"))


def test_wheel_holds_the_library_alone(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert f"ntkflow-{ntkflow.__version__}-" in wheel.name
    assert {name.split("/")[0].split("-")[0] for name in names} == {"ntkflow"}
    assert "ntkflow/empirical/kernel.py" in names


def test_installed_library_computes_a_kernel(wheel):
    # Imported straight from the wheel, with this environment's torch and none of the project.
    code = (
        f"import sys; sys.path.insert(0, {str(wheel)!r}); import ntkflow, torch; "
        "x = torch.eye(2); print(ntkflow.empirical_ntk(torch.nn.Linear(2, 1), x).values.tolist())"
    )
    run = [sys.executable, "-I", "-c", code]
    printed = subprocess.run(run, check=True, capture_output=True, text=True).stdout
    assert printed.strip() == "[[[[2.0, 1.0], [1.0, 2.0]]]]"
