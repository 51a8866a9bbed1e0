"""Reduced forms of claims: judged where the full form was not run, and counted apart."""

import pytest
from judging_tables import noise, table

from ntkstudy.claims.reduced import judge_by_forms

TABLES = {"t": table(noise(1, 0.1), seeds=8)}
ENTRY = {
    "kind": "within", "description": "theta", "table": "t", "column": "theta",
    "where": {"width": 100},
}  # fmt: skip
GOOD, BAD, OPEN = [0.5, 1.5], [1.5, 2.0], [1.0, 2.0]


def claim(allowed, **roles):
    roles = {role: [ENTRY | {"range": each}] for role, each in roles.items()}
    return {
        "id": "ours.x", "source": "ours", "section": "", "experiment": "e", "statement": "",
        "published": "", "explanation": "", "requires": {"seeds": 100},
        "criteria": {"observation": [ENTRY | {"range": GOOD}]},
        "reduced": {
            "requires": {"seeds": 5},
            "criteria": {"observation": [ENTRY | {"range": allowed}], **roles},
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("reduced", "verdict", "outcome"),
    [
        (claim(GOOD), "indicated", "reproduced"),
        (claim(BAD), "not indicated", "contradicted"),
        (claim(GOOD, explanation=BAD, correction=GOOD), "not indicated", "corrected"),
        (claim(OPEN), "not run", "inconclusive"),
    ],
)
def test_a_reduced_form_indicates_and_never_reproduces(reduced, verdict, outcome):
    found = judge_by_forms(reduced, TABLES)
    assert (found["verdict"], found["outcome"], found["form"]) == (verdict, outcome, "reduced")
    assert found["reason"].startswith("in a reduced form ")
    assert "the full one needs 100 seeds, this scale has 8" in found["reason"]
    assert found["criteria"][0]["n"] == 8


def test_the_full_form_comes_first():
    found = judge_by_forms(claim(BAD) | {"requires": {"seeds": 8}}, TABLES)
    assert (found["verdict"], found["outcome"], found["form"]) == (
        *("reproduced", "reproduced"),
        "full",
    )


def test_without_tables_neither_form_is_judged():
    found = judge_by_forms(claim(GOOD), {})
    assert (found["verdict"], found["form"]) == ("not run", "full")
    assert found["reason"] == "table t was not made at this scale"


def test_criteria_are_the_claims_own_where_none_are_given():
    own = claim(BAD)
    del own["reduced"]["criteria"]
    assert judge_by_forms(own, TABLES)["verdict"] == "indicated"
