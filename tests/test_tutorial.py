"""docs/tutorial.md: every file and command of it, in a fresh copy of the project; docs/files.md."""

import json
import os
import re
import sys
from pathlib import Path

import pytest
import yaml
from workflow import copy_project, execute

from ntkstudy.claims.document import claims_schema, read_claims
from ntkstudy.plan.loading import load_plan

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
EXPERIMENT, CLAIM = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
FILES = (ROOT / "docs" / "files.md").read_text(encoding="utf-8")
READ = [("python", text) for text in re.findall(r"```python\n(.*?)```", FILES, re.DOTALL)]
STEPS = re.findall(r"```(yaml|console|python)\n(.*?)```", PAGE, re.DOTALL)


def with_claim(text):
    return f"{text.rstrip()}\n\n{CLAIM}"


def test_experiment_and_claim_of_the_page_are_valid(tmp_path):
    scale, claims = tmp_path / "mine.yaml", tmp_path / "ours.yaml"
    scale.write_text(EXPERIMENT, encoding="utf-8")
    ours = (ROOT / "config" / "claims" / "ours.yaml").read_text(encoding="utf-8")
    claims.write_text(with_claim(ours), encoding="utf-8")
    plan = load_plan([ROOT / "config" / "config.yaml", scale], ROOT / "config" / "schema.yaml")
    schema = claims_schema(ROOT / "config" / "claims_schema.yaml")
    own = read_claims([claims], schema, list(plan.config["experiments"]))["claims"][-1]
    (criterion,) = own["criteria"]["observation"]
    assert criterion["table"] in plan.table_names("weight_movement")
    assert len(plan.cells("weight_movement")) == 3


@pytest.mark.slow
def test_every_command_of_the_page_runs(tmp_path):
    """In the page's order; `make` takes this environment in place of installing one."""
    project = copy_project(tmp_path / "project")
    binaries = Path(sys.executable).parent
    known = os.environ | {"MAKEFLAGS": f"BIN={binaries} RUNTIME= PYTHON={sys.executable}"}
    said = []
    for kind, text in [*STEPS, *READ]:
        if kind == "yaml" and yaml.safe_load(text) == yaml.safe_load(EXPERIMENT):
            (project / "config" / "mine.yaml").write_text(text, encoding="utf-8")
        elif kind == "yaml":
            file = project / "config" / "claims" / "ours.yaml"
            file.write_text(with_claim(file.read_text(encoding="utf-8")), encoding="utf-8")
        else:
            call = ("bash", "-e") if kind == "console" else (sys.executable, "-")
            done = execute(project, *call, text=text, env=known)
            assert done.status == 0, done.output
            said.append(done.output)
    first, again, numbers, judged, _, array, table = said
    assert "Training weight_movement, width~512" in first
    assert "Nothing to be done" in again
    assert re.search(r"^512\s+0\.\d+", numbers, re.MULTILINE)
    assert "Training" not in judged
    assert array.startswith("(21, 10) ['step', 'seed']")
    assert re.search(r"^32\s+0 +\d", table, re.MULTILINE)
    claims = json.loads((project / "results" / "mine" / "claims.json").read_text())["claims"]
    (own,) = [one for one in claims if one["id"] == "ours.movement-falls"]
    assert own["verdict"] == "reproduced"
    assert own["control"]["outcome"] == "fails its control, as it should"
    report = (project / "results" / "mine" / "report" / "index.html").read_text(encoding="utf-8")
    assert "ours.movement-falls" in report
