"""docs/own_claim.md: a claim of one's own gets its verdict, its control and its card."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from report_model import build_model
from workflow import copy_project, execute, snakemake

from ntkstudy.claims.changes import OF_KINDS
from ntkstudy.claims.controls import FAILS, with_controls
from ntkstudy.claims.document import claims_schema, read_claims
from ntkstudy.claims.reduced import judge_by_forms
from ntkstudy.plan.loading import load_plan
from ntkstudy.report.page import render

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "own_claim.md").read_text(encoding="utf-8")
EXPERIMENT, CLAIM, *_ = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def with_own_claim(folder):
    """The project's file of own claims with that of the page at its end."""
    file = folder / "ours.yaml"
    text = (ROOT / "config" / "claims" / "ours.yaml").read_text(encoding="utf-8")
    file.write_text(f"{text.rstrip()}\n\n{CLAIM}", encoding="utf-8")
    return file


@pytest.fixture
def claim(tmp_path):
    scale = tmp_path / "mine.yaml"
    scale.write_text(EXPERIMENT, encoding="utf-8")
    plan = load_plan([ROOT / "config" / "config.yaml", scale], ROOT / "config" / "schema.yaml")
    schema = claims_schema(ROOT / "config" / "claims_schema.yaml")
    found = read_claims([with_own_claim(tmp_path)], schema, list(plan.config["experiments"]))
    own = found["claims"][-1]
    assert own["criteria"]["observation"][0]["table"] in plan.table_names("shallow_profile")
    return own


def spread_like(power):
    """Kernel entries whose spread is a power of the width."""
    rng = np.random.default_rng(4)
    return pd.concat(
        pd.DataFrame({"width": width, "seed": range(40), "gamma": 0.0})
        .assign(theta=1 + 0.5 * width**power * rng.standard_normal(40))
        for width in (50, 200, 800)
    )  # fmt: skip


def test_the_claim_takes_ten_lines():
    assert len(CLAIM.strip().splitlines()) <= 10
    assert yaml.safe_load(EXPERIMENT)["only"] == ["shallow_profile"]


@pytest.mark.parametrize(("power", "verdict"), [(-0.5, "reproduced"), (0.5, "contradicted")])
def test_it_gets_verdict_control_and_card(claim, power, verdict):
    tables = {"initialization_profile": spread_like(power)}
    judged = with_controls(claim, judge_by_forms(claim, tables), tables)
    assert judged["verdict"] == verdict
    assert judged["counts_as"] == "ours"
    assert judged["control"]["outcome"] == FAILS
    [criterion] = judged["criteria"]
    assert criterion["control"]["change"] == "axis reversed"
    assert criterion["low"] < criterion["value"] < criterion["high"]
    criteria = [each | {"sha256": "0" * 64} for each in judged["criteria"]]
    judged = judged | {"criteria": criteria}
    model = build_model() | {"claims": [judged | {"scale": []}], "findings": [judged["id"]]}
    html = render(model, ROOT / "report" / "template")
    card = html.split('id="claim-ours.shallow-spread"')[1].split("</article>")[0]
    assert f"{verdict}</span>" in card
    assert "Control: fails its control, as it should" in card
    assert "control: axis reversed, caught" in card


def test_every_kind_in_the_table_of_controls_is_one():
    rows = re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)} - {"relative_to"}
    assert named == set(OF_KINDS)


@pytest.mark.slow
def test_the_page_works_from_a_fresh_copy(tmp_path):
    project = copy_project(tmp_path)
    (project / "config" / "mine.yaml").write_text(EXPERIMENT, encoding="utf-8")
    with_own_claim(project / "config" / "claims")
    done = snakemake(project, config="config/mine.yaml")
    assert done.status == 0, done.output
    judged = json.loads((project / "results" / "mine" / "claims.json").read_text())["claims"]
    [own] = [one for one in judged if one["id"] == "ours.shallow-spread"]
    assert (own["verdict"], own["control"]["outcome"]) == ("reproduced", FAILS)
    html = (project / "results" / "mine" / "report" / "index.html").read_text(encoding="utf-8")
    assert 'id="claim-ours.shallow-spread"' in html
    same = execute(
        project, "make", "compare", f"PYTHON={sys.executable}", "A=results/mine", "B=results/mine"
    )
    assert same.status == 0, same.output
