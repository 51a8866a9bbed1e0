"""A criterion is added in one place: its options, its schema and its judgement."""

import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import pytest
from judging_tables import MEAN_LAW, WIDTHS, judge

from ntkflow.errors import ConfigurationError
from ntkstudy.claims import judge_claim
from ntkstudy.claims.document import claims_schema
from ntkstudy.claims.registry import CRITERIA, Criterion, Outcome, criterion, criterion_schema
from ntkstudy.options import Rule
from ntkstudy.plan.configuration import validate

ROOT = Path(__file__).parents[1]
CRITERION = {
    "kind": "halves", "description": "d", "table": "t", "column": "theta", "along": "width",
    "factor": 4,
}  # fmt: skip
CLAIM = {
    "id": "ours.toy", "section": "", "experiment": "e", "statement": "", "published": "",
    "read_in": ["none"], "explanation": "", "criteria": {"observation": [CRITERION]},
}  # fmt: skip


@pytest.fixture
def halves():
    """A criterion from outside the package: every mean is the one before over a factor."""

    @dataclass(frozen=True, kw_only=True)
    class Halves(Criterion):
        """A geometric sequence."""

        along: Annotated[str, Rule("axis")]
        factor: Annotated[float, Rule("ratio of neighbours", exclusiveMinimum=1)]

    @criterion("halves", options=Halves, allowed="falls by {factor:g}", trend=True)
    def judge_halves(options, sample):
        """The mean falls by the factor from each point to the next."""
        means = [float(values.mean()) for values in sample.values]
        worst = max(abs(a / b - options.factor) for a, b in pairwise(means))
        return Outcome(worst, None, "holds" if worst < 0.1 else "fails")

    yield
    CRITERIA.forget(__name__)


def file_of(claim) -> dict:
    return {"title": "", "description": "", "claims": [claim]}


def test_a_criterion_from_outside_is_validated_and_judged(halves):
    schema = claims_schema(ROOT / "config" / "claims_schema.yaml")
    validate(file_of(CLAIM), schema, source="a.yaml")
    judged = judge_claim(CLAIM | {"source": "ours"}, {"t": MEAN_LAW})
    assert judged["verdict"] == "reproduced"
    assert judged["criteria"][0]["allowed"] == "falls by 4"
    narrow = MEAN_LAW[MEAN_LAW["width"] == WIDTHS[0]]
    assert judge(narrow, **CRITERION).note == "needs two values of width, this scale has 100"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"factor": 1}, "factor: 1 is not allowed; allowed: number > 1"),
        ({"factr": 2}, "factr: unknown key; allowed: along, column, control, counts"),
        ({"statistic": "std"}, "statistic: unknown key"),
    ],
)
def test_a_mistake_in_a_criterion_from_outside_is_found(halves, change, problem):
    schema = claims_schema(ROOT / "config" / "claims_schema.yaml")
    claim = CLAIM | {"criteria": {"observation": [CRITERION | change]}}
    with pytest.raises(ConfigurationError) as error:
        validate(file_of(claim), schema, source="a.yaml")
    where = "a.yaml: claims[0].criteria.observation[0]."
    assert str(error.value).startswith(where + problem)


def test_a_built_in_criterion_is_not_replaced():
    with pytest.raises(ConfigurationError, match=r"'within' is defined in ntkstudy.*; allowed: "):
        criterion("within", options=Criterion, allowed="anything")(lambda options, sample: None)
    assert CRITERIA["within"].module == "ntkstudy.claims.criteria"


def test_without_it_the_kind_is_unknown():
    schema = claims_schema(ROOT / "config" / "claims_schema.yaml")
    with pytest.raises(ConfigurationError, match="'halves' is unknown; allowed: within, matches"):
        validate(file_of(CLAIM), schema, source="a.yaml")


def test_every_option_is_described():
    branches = criterion_schema()["allOf"]
    assert len(branches) == len(CRITERIA)
    for branch in branches:
        assert all(rule.get("description") for rule in branch["then"]["properties"].values())


def test_the_registry_needs_no_torch():
    code = "import sys, ntkstudy.claims.document; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "scripts")
    assert done.returncode == 0
