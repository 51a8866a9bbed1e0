"""Examples of docstrings and of the README run, with the imports that their readers have."""

import doctest
import importlib
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
from ntkstudy.plan.loading import load_plan

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
NAMES = {"math": math, "np": np, "torch": torch, "ntkflow": ntkflow}
MODULES = sorted(
    module.name for module in pkgutil.walk_packages(ntkflow.__path__, prefix="ntkflow.")
)


def readme_block(language):
    (block,) = re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)
    return block


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner(optionflags=doctest.FAIL_FAST)
    for example in doctest.DocTestFinder().find(module, globs=dict(NAMES)):
        runner.run(example)
    assert runner.failures == 0


@pytest.mark.parametrize("name", sorted(set(ntkflow.__all__) - RESULTS))
def test_public_names_have_an_example(name):
    assert f"ntkflow.{name}(" in getattr(ntkflow, name).__doc__


def test_readme_library_example():
    torch.manual_seed(0)
    exec(compile(readme_block("python"), "README.md", "exec"), {})


def test_readme_experiment_is_valid_and_makes_its_figures(tmp_path):
    block = tmp_path / "block.yaml"
    block.write_text(readme_block("yaml"), encoding="utf-8")
    config = ROOT / "config"
    plan = load_plan([config / "config.yaml", block], config / "schema.yaml")
    (name,) = yaml.safe_load(block.read_text())["experiments"]
    tables = plan.tables(name)
    assert {"trained_profile", "limit_profile", "initialization_profile"} <= tables.keys()
    assert len(plan.cells(name)) == 2


def test_readme_parameter_table_is_that_of_the_schema(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    write_docs = importlib.import_module("write_docs")
    schema = write_docs.read_schema(ROOT / "config" / "schema.yaml")
    assert write_docs.rewrite(README, schema) == README
    rows = write_docs.table(schema).splitlines()
    columns = {len(re.findall(r"(?<!\\)\|", row)) - 1 for row in rows}  # \| is text in Markdown
    assert columns == {4}
