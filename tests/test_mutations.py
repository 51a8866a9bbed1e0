"""Seeded mistakes: each still applies to the present code, and results are compared rightly."""

import json
from pathlib import Path

import pytest
import yaml

from ntkflow.errors import ConfigurationError
from ntkstudy.claims.mutations import (
    MEASURED,
    MISTAKES,
    Mistake,
    compare,
    read_mistakes,
)
from ntkstudy.plan.digest import code_digest

ROOT = Path(__file__).parents[1]
ALL = read_mistakes(ROOT / MISTAKES)
CLAIMS = {
    claim["id"]: claim
    for file in (ROOT / "config/claims").glob("*.yaml")
    for claim in yaml.safe_load(file.read_text(encoding="utf-8"))["claims"]
}


@pytest.mark.parametrize("mistake", ALL, ids=lambda mistake: mistake.name)
def test_every_mistake_applies_and_is_python(tmp_path, mistake):
    copy = tmp_path / mistake.file
    copy.parent.mkdir(parents=True)
    before = (ROOT / mistake.file).read_text(encoding="utf-8")
    copy.write_text(before, encoding="utf-8")
    mistake.apply(tmp_path)
    after = copy.read_text(encoding="utf-8")
    assert after != before
    compile(after, mistake.file, "exec")
    with pytest.raises(ConfigurationError, match=f"{mistake.name}: old: stands 0 times in "):
        Mistake(**(vars(mistake) | {"old": "no such line"})).apply(tmp_path)


@pytest.mark.parametrize("mistake", ALL, ids=lambda mistake: mistake.name)
def test_claims_that_must_notice_have_a_reduced_form_and_are_run(mistake):
    for name in mistake.noticed_by:
        assert CLAIMS[name]["experiment"] in mistake.experiments
        assert "reduced" in CLAIMS[name]


def judged(**outcomes):
    return [{"id": name, "outcome": outcome} for name, outcome in outcomes.items()]


MISTAKE = Mistake("m", "A mistake.", "file", "old", "new", ["e"], ["a", "b"])


def test_a_mistake_is_caught_if_every_named_claim_turns():
    clean = judged(a="reproduced", b="corrected", c="reproduced")
    found = compare(MISTAKE, clean, judged(a="contradicted", b="inconclusive", c="reproduced"))
    assert found["caught"]
    assert found["claims"][1] == {"id": "b", "clean": "corrected", "mutated": "inconclusive"}
    assert not compare(MISTAKE, clean, judged(a="contradicted", b="corrected"))["caught"]


def test_a_run_that_failed_has_caught_nothing():
    found = compare(MISTAKE, judged(a="reproduced", b="reproduced"), [])
    assert not found["caught"]
    assert found["claims"][0]["mutated"] == "run failed"


@pytest.mark.parametrize("outcome", ["not run", "inconclusive"])
def test_a_claim_that_is_not_judged_cannot_notice(outcome):
    with pytest.raises(ConfigurationError, match=f"m: noticed_by: b is {outcome}"):
        compare(MISTAKE, judged(a="reproduced", b=outcome), judged(a="reproduced"))


def test_an_entry_with_an_unknown_key_is_refused(tmp_path):
    file = tmp_path / "mistakes.yaml"
    file.write_text("m: { mistake: A, fil: b }\n")
    with pytest.raises(ConfigurationError, match="fil: unknown key"):
        read_mistakes(file)


def test_the_result_holds_for_the_code_that_it_was_measured_in(tmp_path):
    (tmp_path / "scripts/ntkflow").mkdir(parents=True)
    file = tmp_path / "scripts/ntkflow/a.py"
    file.write_text("a = 1\n")
    digest = code_digest(tmp_path)
    (tmp_path / "README.md").write_text("beside the code\n")
    assert code_digest(tmp_path) == digest
    file.write_text("a = 2\n")
    assert code_digest(tmp_path) != digest


def test_the_committed_result_names_mistakes():
    measured = json.loads((ROOT / MEASURED).read_text(encoding="utf-8"))
    assert [row["name"] for row in measured["mistakes"]] == [each.name for each in ALL]
    assert all(row["caught"] for row in measured["mistakes"])
