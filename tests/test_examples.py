"""Examples of docstrings and of pages run, with the imports that their readers have."""

import doctest
import importlib
import inspect
import math
import pkgutil
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from public_names import RESULTS

import ntkflow
from ntkflow.limits.activations import ACTIVATIONS
from ntkflow.limits.hermite import HermiteDual
from ntkstudy.plan.loading import load_plan
from ntkstudy.plan.schema import configuration_schema
from ntkstudy.registry import MEASUREMENTS, discover

ROOT = Path(__file__).parents[1]
EXPERIMENTS = ROOT / "docs" / "experiments.md"
PAGES = ["README.md", *(f"docs/{name}.md" for name in ("index", "guide", "conventions", "limits"))]
NAMES = {"math": math, "np": np, "torch": torch, "ntkflow": ntkflow}
MODULES = sorted(
    module.name for module in pkgutil.walk_packages(ntkflow.__path__, prefix="ntkflow.")
)


def blocks(page, language):
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner(optionflags=doctest.FAIL_FAST)
    for example in doctest.DocTestFinder().find(module, globs=dict(NAMES)):
        runner.run(example)
    assert runner.failures == 0
    text = Path(module.__file__).read_text(encoding="utf-8")
    assert (runner.tries > 0) == bool(re.search(r"^\s*>>> ", text, re.M))


@pytest.mark.parametrize("name", ntkflow.__all__)
def test_public_names_have_an_example(name):
    assert ">>> " in getattr(ntkflow, name).__doc__
    if name not in RESULTS:  # which functions return
        assert f"ntkflow.{name}(" in getattr(ntkflow, name).__doc__


@pytest.mark.parametrize("page", PAGES)
def test_examples_of_a_page_run(page):
    torch.manual_seed(0)
    names = {}
    for block in blocks(ROOT / page, "python"):
        exec(compile(block, page, "exec"), names)
    assert "ntkflow" in names


def test_calls_beside_those_of_neural_tangents_are_ours():
    page = (ROOT / "docs" / "neural_tangents.md").read_text(encoding="utf-8")
    ours = [row.split("|")[2] for row in page.splitlines() if row.startswith("|")]
    calls = [
        call
        for code in re.findall(r"`([^`]+)`", "\n".join(ours))
        for call in re.findall(r"(?<![\w.])(?:ntkflow\.)?(\w+)\(([^()]*)", code)
        if call[0] not in ("f", "r")
    ]
    assert len(calls) > 15
    for name, arguments in calls:
        known = inspect.signature(getattr(ntkflow, name)).parameters
        given = set(re.findall(r"(\w+)=", arguments))
        assert given <= known.keys() or any(one.kind is one.VAR_KEYWORD for one in known.values())


def plan_of(block, tmp_path):
    file = tmp_path / "block.yaml"
    file.write_text(block, encoding="utf-8")
    return load_plan([ROOT / "config" / "config.yaml", file], ROOT / "config" / "schema.yaml")


def test_experiment_of_the_page_is_valid_and_makes_its_figures(tmp_path):
    block = blocks(EXPERIMENTS, "yaml")[0]
    plan = plan_of(block, tmp_path)
    (name,) = yaml.safe_load(block)["experiments"]
    tables = plan.tables(name)
    assert {"trained_profile", "limit_profile", "initialization_profile"} <= tables.keys()
    assert len(plan.cells(name)) == 2


def test_data_network_and_measurement_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    rows = np.random.default_rng(0).standard_normal((12, 4))
    labels = np.arange(12) % 3
    tests = {"test_inputs": rows[:5], "test_targets": labels[:5]}
    np.savez("my_data.npz", inputs=rows, targets=labels, **tests)
    Path("my_measurements.py").write_text(blocks(EXPERIMENTS, "python")[0], encoding="utf-8")
    config = yaml.safe_load(blocks(EXPERIMENTS, "yaml")[1]) | {"extensions": ["my_measurements"]}
    config["experiments"]["my_network"]["measurements"].append(
        {"kind": "size", "when": ["trained"]}
    )
    try:
        plan = plan_of(yaml.safe_dump(config), tmp_path)
        tables = {"training_kernel", "trained_classification", "trained_size"}
        assert tables <= plan.tables("my_network").keys()
        labels = [cell.label for cell in plan.cells("my_network")]
        assert labels == ["width~64", "width~256"]
        job = plan.job_config("ntk", "my_network", "width~64", "0-4")
        assert "my_measurements" in job["modules"]
        assert "my_measurements.py" in plan.code("ntk", "my_network", "width~64")
    finally:
        MEASUREMENTS.forget("my_measurements")


def test_tables_of_the_configuration_are_those_of_the_registry(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    write_docs = importlib.import_module("write_docs")
    discover()
    schema = configuration_schema(ROOT / "config" / "schema.yaml")
    page = (ROOT / write_docs.PAGE).read_text(encoding="utf-8")
    assert write_docs.rewrite(page, schema) == page
    check_columns(write_docs.tables(schema))


def check_columns(tables):
    for text in tables.values():
        # \\| is text in Markdown
        columns = {len(re.findall(r"(?<!\\)\|", row)) for row in text.splitlines()}
        assert len(columns) == 1


@pytest.fixture
def limit_docs(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return importlib.import_module("write_limit_docs")


def test_tables_of_the_limits_are_those_of_the_code(limit_docs):
    page = (ROOT / limit_docs.PAGE).read_text(encoding="utf-8")
    assert limit_docs.rewrite(page) == page
    check_columns(limit_docs.tables())


def test_a_new_activation_has_a_row_by_itself(limit_docs, monkeypatch):
    monkeypatch.setitem(ACTIVATIONS, torch.cosh, HermiteDual)
    (row,) = (row for row in limit_docs.tables()["activations"].splitlines() if "cosh" in row)
    assert row.startswith("| `torch.cosh` |  | Hermite series |")


@pytest.mark.slow
def test_transformers_approach_their_limit(tmp_path, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.syspath_prepend(ROOT / "examples")
    example = importlib.import_module("transformer_limit")
    found = example.measure(widths=(16, 64), seeds=20)
    assert found[1].single < 0.8 * found[0].single
    assert found[0].mean()[0] < found[0].single
    page = (ROOT / "docs" / "limits.md").read_text(encoding="utf-8")
    assert example.table(found).splitlines()[0] in page
    example.draw(found, str(tmp_path / "figure.png"))
    assert (tmp_path / "figure.png").stat().st_size > 10_000
