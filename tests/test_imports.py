import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ntkstudy.plan.imports import import_closure

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "scripts"
RULE_FILES = sorted((ROOT / "rules").glob("*.smk"))
RULE_TEXTS = "".join(file.read_text() for file in RULE_FILES)
RULES = sorted(re.findall(r'"\.\./scripts/(\w+)\.py"', RULE_TEXTS))
ANIMATIONS = sorted(f"animations/{path.stem}" for path in (SCRIPTS / "animations").glob("*.py"))
FIGURES = sorted(f"figures/{path.stem}" for path in (SCRIPTS / "figures").glob("*.py"))
PACKAGES = {
    "PIL": "pillow",
    "yaml": "pyyaml",
    "markupsafe": "jinja2",
}  # imported name to package that brings it

# One process for all scripts: project modules are forgotten between them, torch need not be.
LIST_MODULES = """
import importlib, json, sys

found = {}
for name in sys.argv[2:]:
    importlib.import_module(name)
    files = {key: getattr(module, "__file__", None) for key, module in sys.modules.items()}
    own = {key: file for key, file in files.items() if file and file.startswith(sys.argv[1])}
    found[name] = list(own.values())
    for key in own:
        del sys.modules[key]
print(json.dumps(found))
"""

# Imported inside a function.
LOADED_AT_NEED = "scripts/ntkflow/training/arc_loops.py"


@pytest.fixture(scope="module")
def really_imported() -> dict[str, list[str]]:
    """Files of the project that Python runs when it imports a script, by script."""
    names = [name.replace("/", ".") for name in RULES + FIGURES]
    call = [sys.executable, "-c", LIST_MODULES, str(SCRIPTS), *names]
    done = subprocess.run(call, capture_output=True, text=True, check=True, cwd=SCRIPTS)
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", RULES + FIGURES)
def test_closure_is_what_python_imports(name, really_imported, monkeypatch):
    monkeypatch.chdir(ROOT)
    files = {str(Path(file).relative_to(ROOT)) for file in really_imported[name.replace("/", ".")]}
    closure = set(import_closure(f"scripts/{name}.py")) - {LOADED_AT_NEED}
    assert closure == files - {"scripts/ntkflow/__init__.py"}


def test_what_is_loaded_at_need_belongs_to_the_code(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert LOADED_AT_NEED in import_closure("scripts/train_ensemble.py")


def test_every_rule_has_a_script_and_names_its_code():
    assert RULES
    for file in RULE_FILES:
        for rule in re.split(r"^ *rule\b.*:\n", file.read_text(), flags=re.M)[1:]:
            (name,) = re.findall(r'^ +"\.\./scripts/(\w+)\.py"$', rule, re.M)
            assert f'code_of("{name}")' in rule


def test_closure_follows_every_form_of_import(tmp_path):
    scripts = tmp_path / "scripts"
    files = {
        "run.py": "import a.b\nfrom a import c\nfrom a.d import name\nimport numpy\n",
        "a/__init__.py": "",
        "a/b.py": "def f():\n    from .e import g\n",
        "a/c.py": "from . import e\nfrom .p import q\n",
        "a/d.py": "name = 1\n",
        "a/e.py": "",
        "a/p/__init__.py": "from ..f import x\n",
        "a/p/q.py": "from ..b import f\nimport run\n",
        "a/f.py": "",
        "a/unused.py": "",
    }
    for name, text in files.items():
        (scripts / name).parent.mkdir(parents=True, exist_ok=True)
        (scripts / name).write_text(text)
    found = import_closure(scripts / "run.py")
    assert found == sorted(str(scripts / name) for name in files if name != "a/unused.py")


# Environments

PINS = dict(
    line.split("==")
    for line in (ROOT / "requirements.txt").read_text().splitlines()
    if "==" in line
)


def environments() -> dict[str, set[str]]:
    """Environment of each rule's script, by environment: the scripts that run in it."""
    found: dict[str, set[str]] = {}
    for file in RULE_FILES:
        text = file.read_text()
        pattern = r'envs/(\w+)\.yaml"(?:(?!^rule ).)*?\.\./scripts/(\w+)\.py'
        for env, script in re.findall(pattern, text, re.M | re.S):
            found.setdefault(env, set()).add(script)
    found["analysis"] |= {*FIGURES, *ANIMATIONS}  # drawn by draw_figure and draw_animation
    return found


def third_party(script: str) -> set[str]:
    """Packages of requirements.txt that a script's import closure imports.

    job.py imports torch only for scripts that take a device, and those import it themselves.
    """
    names: set[str] = set()
    for file in import_closure(f"scripts/{script}.py"):
        names |= set(re.findall(r"^(?:from|import) (\w+)", Path(file).read_text(), re.M))
    return {PACKAGES.get(name, name) for name in names} & set(PINS)


@pytest.mark.parametrize("name", ["torch", "analysis", "report"])
def test_environments_hold_what_their_scripts_import(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    environment = yaml.safe_load((ROOT / "envs" / f"{name}.yaml").read_text())
    python, pip, listed = environment["dependencies"]
    assert (python.split("=")[0], pip) == ("python", "pip")
    pins = dict(line.split("==") for line in listed["pip"])
    needed = set().union(*map(third_party, environments()[name]))
    assert pins == {package: PINS[package] for package in needed}


def test_every_script_has_one_environment():
    scripts = [script for env in environments().values() for script in env if "/" not in script]
    assert sorted(scripts) == RULES


TRAIN_AND_MEASURE = """
import sys

import torch

from ntkflow.lazy import kappa
from ntkflow.networks import draw_parameters, member
from ntkstudy.networks import build_network
from ntkflow.training import GradientDescent, Schedule, train_ensemble

network = dict(kind="mlp", depth=1, width=4, activation="relu", sigma_w=1.0, sigma_w_last=None)
network |= dict(sigma_b=0.1, bias="normal", parameterization=sys.argv[1])
network = build_network(network, 2, 1)
start = draw_parameters(network, [0])
x, y = torch.ones(3, 2), torch.ones(3, 1)
once = dict(optimizer=GradientDescent(0.1), schedule=Schedule(1))
train_ensemble(network, start, x, y, **once, engine="general")
kappa(network, x, y, parameters=member(start, 0))
print("torch._dynamo" in sys.modules)
"""


@pytest.mark.parametrize("parameterization", ["ntk", "standard"])
def test_training_and_kappa_do_not_load_torchs_compiler(parameterization):
    call = [sys.executable, "-c", TRAIN_AND_MEASURE, parameterization]
    done = subprocess.run(call, capture_output=True, text=True, check=True, cwd=SCRIPTS)
    assert done.stdout == "False\n"
