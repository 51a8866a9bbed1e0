import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ntkstudy.plan.imports import import_closure
from ntkstudy.plan.loading import load_plan

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "scripts"
RULE_FILES = sorted((ROOT / "rules").glob("*.smk"))
RULE_TEXTS = "".join(file.read_text() for file in RULE_FILES)
# Scripts of jobs that load modules of the registry, and their stages.
JOBS = re.findall(r'job_code\("(\w+)", "(\w+)"\)', RULE_TEXTS)
RULES = sorted(re.findall(r'"\.\./scripts/(\w+)\.py"', RULE_TEXTS))
ANIMATIONS = sorted(f"animations/{path.stem}" for path in (SCRIPTS / "animations").glob("*.py"))
FIGURES = sorted(f"figures/{path.stem}" for path in (SCRIPTS / "figures").glob("*.py"))
PACKAGES = {
    "PIL": "pillow",
    "yaml": "pyyaml",
    "markupsafe": "jinja2",
}  # imported name to package that brings it

PLAN = """
import sys

sys.path.insert(0, "scripts")
from ntkstudy.plan.loading import load_plan

load_plan(["config/config.yaml", "config/quick.yaml"], "config/schema.yaml")
print([name for name in ("torch", "h5py", "numpy", "scipy", "pandas") if name in sys.modules])
"""

# One process for all scripts: project modules are forgotten between them, torch need not be.
LIST_MODULES = """
import ast, importlib, json, sys

def own():
    files = {key: getattr(module, "__file__", None) for key, module in sys.modules.items()}
    return {key: file for key, file in files.items() if file and file.startswith(sys.argv[1])}

found = []
for names in json.loads(sys.argv[2]):
    for name in names:
        importlib.import_module(name)
    done = set()
    while new := own().keys() - done:
        done |= new
        for module in [sys.modules[key] for key in new]:
            with open(module.__file__, encoding="utf-8") as file:
                tree = ast.parse(file.read())
            for node in ast.walk(tree):
                if isinstance(node, ast.Import | ast.ImportFrom) and module.__name__ != "ntkflow":
                    exec(ast.unparse(node), dict(module.__dict__))
    found.append(sorted(own().values()))
    for key in own():
        del sys.modules[key]
print(json.dumps(found))
"""


def really_imported(*jobs: list[str]) -> list[set[str]]:
    """Files of the project that Python runs for the modules of each job.

    Every import statement is run, those inside functions too.
    """
    call = [sys.executable, "-c", LIST_MODULES, str(SCRIPTS), json.dumps(jobs)]
    done = subprocess.run(call, capture_output=True, text=True, check=True, cwd=SCRIPTS)
    lists = json.loads(done.stdout)
    found = [{str(Path(file).relative_to(ROOT)) for file in files} for files in lists]
    return [files - {"scripts/ntkflow/__init__.py"} for files in found]


@pytest.fixture(scope="module")
def scripts_import() -> dict[str, set[str]]:
    names = RULES + FIGURES
    found = really_imported(*([name.replace("/", ".")] for name in names))
    return dict(zip(names, found, strict=True))


@pytest.mark.parametrize("name", RULES + FIGURES)
def test_closure_is_what_python_imports(name, scripts_import, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert set(import_closure(f"scripts/{name}.py")) == scripts_import[name]


@pytest.mark.slow
def test_the_code_of_a_job_is_what_it_imports(monkeypatch):
    monkeypatch.chdir(ROOT)
    plan = load_plan([ROOT / "config" / "config.yaml"], ROOT / "config" / "schema.yaml")
    code = {}
    for script, stage in JOBS:
        for name in plan.experiments:
            for cell in plan.cells(name, stage) if plan.has_stage(name, stage) else []:
                modules = plan.job_config(stage, name, cell.label)["modules"]
                files = import_closure(f"scripts/{script}.py") + plan.code(stage, name, cell.label)
                code[script, *modules] = set(files)
    assert {script for script, *_ in code} == {script for script, _ in JOBS}
    for names, files in zip(code, really_imported(*map(list, code)), strict=True):
        assert code[names] == files, names


def test_what_is_loaded_at_need_belongs_to_the_code(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert "scripts/ntkflow/training/arc_loops.py" in import_closure("scripts/train_ensemble.py")


def test_planning_loads_no_numerics():
    done = subprocess.run(
        [sys.executable, "-c", PLAN], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == "[]\n"


def test_every_rule_has_a_script_and_names_its_code():
    assert RULES
    for file in RULE_FILES:
        for rule in re.split(r"^ *rule\b.*:\n", file.read_text(), flags=re.M)[1:]:
            (name,) = re.findall(r'^ +"\.\./scripts/(\w+)\.py"$', rule, re.M)
            stage = f'job_code("{name}", "{dict(JOBS)[name]}")' if name in dict(JOBS) else ""
            assert (stage or f'code_of("{name}"') in rule


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


def entries(script: str) -> list[Path]:
    """All modules of the registry that jobs of a script may load."""
    kinds = ("tasks",) if script == "make_dataset" else ("networks", "measurements")
    return [
        path
        for kind in (kinds if script in dict(JOBS) else ())
        for path in Path("scripts/ntkstudy", kind).glob("*.py")
    ]


def third_party(script: str) -> set[str]:
    """Packages of requirements.txt that a script's import closure imports.

    Modules of the registry import inside functions, which their jobs call. job.py imports torch
    only for scripts that take a device, and those import it themselves.
    """
    modules = entries(script)
    files = [file for start in (f"scripts/{script}.py", *modules) for file in import_closure(start)]
    names: set[str] = set()
    for at, found in (("^", files), ("^ *", modules)):
        for file in found:
            pattern = rf"{at}(?:from|import) (\w+)"
            names |= set(re.findall(pattern, Path(file).read_text(), re.M))
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
from ntkstudy.registry import load
from ntkstudy.subjects.networks import build_network
from ntkflow.training import GradientDescent, Schedule, train_ensemble

load(["ntkstudy.networks.mlp"])
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


@pytest.mark.parametrize(
    ("line", "also"),
    [("from ntkflow import TrainingDynamics", False), ("import ntkflow", True)],
)
def test_names_that_the_library_hands_out_are_followed(tmp_path, monkeypatch, line, also):
    own = f"own_{also}.py"
    (tmp_path / own).write_text(f"{line}\n")
    (tmp_path / "scripts").symlink_to(SCRIPTS)
    monkeypatch.chdir(tmp_path)
    closure = import_closure(own)
    assert "scripts/ntkflow/dynamics/training_dynamics.py" in closure
    assert ("scripts/ntkflow/tracking/tracker.py" in closure) is also
