"""Claims are judged a second time, on tables that must change the verdict."""

import numpy as np
import pandas as pd
import pytest
from judging_tables import MEAN_LAW, POWER_LAW, noise, table
from made_up import criteria_of, make_tables
from test_claims import CLAIMS, FILES, SCHEMA

from ntkflow.errors import ConfigurationError
from ntkstudy.claims import judge_claim
from ntkstudy.claims.changes import NAMED, OF_KINDS, changed_by
from ntkstudy.claims.controls import CANNOT_FAIL, CAUGHT, FAILS, SURVIVED, control_of, with_controls
from ntkstudy.claims.mending import WANTED, mend
from ntkstudy.claims.registry import CHANGES, CRITERIA, Criterion, Outcome, criterion
from ntkstudy.plan.configuration import validate


def entry(**changes):
    return {
        "kind": "within", "description": "theta", "table": "t", "column": "theta", "where": {},
    } | changes  # fmt: skip


def claim_of(*observation, **roles):
    texts = dict.fromkeys(("section", "statement", "published", "explanation"), "text")
    criteria = {"observation": list(observation)} | roles
    return texts | {"id": "ours.x", "source": "ours", "experiment": "e", "criteria": criteria}


def controlled(claim, data):
    return with_controls(claim, judge_claim(claim, {"t": data}), {"t": data})


def asked(claim):
    """Criteria that decide whether a claim is reproduced."""
    return [
        one for role in ("observation", "explanation") for one in claim["criteria"].get(role, [])
    ]


def deciding_part(claim):
    """A claim without the numbers that are shown beside it, and without what is written of them."""
    criteria = {role: found for role, found in claim["criteria"].items() if role != "excess"}
    return {key: claim[key] for key in claim if key != "horizon"} | {
        "criteria": criteria,
        "explanation": "",
    }


REDUCED = [
    claim | claim["reduced"] | {"id": f"{claim['id']}, reduced"}
    for claim in CLAIMS
    if "criteria" in claim.get("reduced", {})
]


@pytest.mark.parametrize("claim", [*CLAIMS, *REDUCED], ids=lambda claim: claim["id"])
def test_every_claim_can_be_reproduced_and_fails_its_control(claim):
    """On made-up tables. What cannot fail says why; a trivial claim may, and no other."""
    claim = deciding_part(claim)
    tables = mend(asked(claim), claim["requires"], make_tables(claim))
    assert tables is not None, "no tables were found under which it would be reproduced"
    judged = judge_claim(claim, tables)
    assert judged["verdict"] == "reproduced"
    found = with_controls(claim, judged, tables)
    outcomes = {
        one["description"]: one["control"]
        for one in found["criteria"]
        if one["control"]["outcome"] not in (CAUGHT, CANNOT_FAIL)
    }
    assert outcomes == {}
    assert not found["control"]["defect"]
    if claim["counts_as"] != "trivial":
        assert found["control"]["outcome"] == FAILS, found["control"]["reason"]


def test_only_these_criteria_cannot_fail():
    excused = [
        claim["id"]
        for claim in CLAIMS
        for one in criteria_of(claim)
        if "cannot_fail" in (one["control"] or {})
    ]
    assert excused == ["slides.distance"]


@pytest.mark.parametrize(
    ("data", "criterion", "change"),
    [
        (POWER_LAW, {"kind": "slope", "statistic": "std", "range": [-0.8, -0.2]}, "axis reversed"),
        (table(noise(1.0, 0.1)), {"kind": "slope", "range": [-0.15, 0.15]}, "column times its"),
        (MEAN_LAW, {"kind": "decreasing"}, "axis reversed"),
        (table(noise(1.0, 0.1)), {"kind": "within", "range": [0.9, 1.1]}, "column doubled, and"),
        (table(noise(0.5, 0.1)), {"kind": "signed"}, "sign changed in every second draw"),
        (
            table(lambda r, w, s: noise(w / 100, 0.1)(r, w, s)),
            {"kind": "linear", "bound": 0.99},
            "column times its axis",
        ),
        (
            table(lambda r, w, s: noise(1.0 - 0.5 * (w == 400), 0.1)(r, w, s)),
            {"kind": "dip", "at": 400.0, "standard_errors": 2.0},
            "points moved on by one place",
        ),
    ],
)
def test_kinds_have_a_change_that_catches_them(data, criterion, change):
    found = control_of(entry(along="width", **criterion), {}, {"t": data})
    assert found.outcome == CAUGHT
    assert found.change.startswith(change)


@pytest.mark.parametrize(
    ("bounds", "outcome"),
    [([0.9, 1.1], CAUGHT), ([0.0, 1.1], SURVIVED), ([0.6, 1.5], SURVIVED), ([-1.0, 2.0], SURVIVED)],
)
def test_a_range_that_holds_a_number_and_its_double_needs_a_control_of_its_own(bounds, outcome):
    found = control_of(entry(where={"width": 100}, range=bounds), {}, {"t": table(noise(1, 0.1))})
    assert found.outcome == outcome


@pytest.mark.parametrize(
    ("control", "outcome", "change"),
    [
        ({"of": "the widest", "where": {"width": 1600}}, CAUGHT, "the widest"),
        ({"of": "the narrowest", "where": {"width": 100}}, SURVIVED, "the narrowest"),
        ({"of": "a null model", "value": 0.2}, CAUGHT, "a null model"),
        ({"of": "another column", "column": "other"}, CAUGHT, "another column"),
        ({"change": "sign"}, CAUGHT, "sign changed"),
        ({"change": "scaled"}, SURVIVED, "column doubled, and halved"),
        ({"cannot_fail": "it is an identity"}, CANNOT_FAIL, "none"),
    ],
)
def test_a_claim_names_what_must_not_pass(control, outcome, change):
    data = table(lambda r, w, s: noise(w / 100, 0.1)(r, w, s)).assign(other=9.0)
    criterion = entry(where={"width": 100}, range=[0.5, 3.0], control=control)
    found = control_of(criterion, {}, {"t": data})
    assert (found.outcome, found.change) == (outcome, change)


@pytest.mark.parametrize(
    ("control", "change"),
    [(None, "ones and zeros exchanged"), ({"of": "chance", "value": 0.5}, "chance")],
)
def test_a_share_of_ones_is_controlled_by_other_shares(control, change):
    data = table(lambda rng, width, seeds: np.arange(seeds) > 1).astype({"theta": float})
    criterion = entry(where={"width": 100}, statistic="share", range=[0.8, 1.0], control=control)
    found = control_of(criterion, {}, {"t": data})
    assert (found.outcome, found.status, found.change) == (CAUGHT, "fails", change)


def test_a_control_that_was_not_run_is_told():
    control = {"of": "wider ones", "where": {"width": 9000}}
    criterion = entry(where={"width": 100}, range=[0.0, 3.0], control=control)
    found = control_of(criterion, {}, {"t": table(noise(1, 0.1))})
    assert (found.outcome, found.note) == (
        "not judged",
        "no rows with {'width': 9000} in the table",
    )
    judged = controlled(claim_of(criterion), table(noise(1, 0.1)))
    assert judged["control"]["outcome"] == "not judged"


@pytest.mark.parametrize(
    ("mean", "verdict"), [(1.0, "reproduced"), (5.0, "contradicted"), (1.1, "inconclusive")]
)
def test_every_verdict_has_a_control(mean, verdict):
    """Tables against a claim are mended until it is reproduced on them, and only then changed."""
    claim = claim_of(entry(where={"width": 100}, range=[0.9, 1.1]))
    judged = controlled(claim, table(noise(mean, 0.1)))
    assert judged["verdict"] == verdict
    assert judged["control"] == {"outcome": FAILS, "status": "fails", "reason": "", "defect": False}
    assert judged["criteria"][0]["control"]["outcome"] == CAUGHT


def test_a_correction_is_controlled_too():
    wide = entry(where={"width": 100}, range=[0.0, 9.0])
    claim = claim_of(
        entry(where={"width": 100}, range=[0.9, 1.1]),
        explanation=[entry(where={"width": 100}, range=[2.0, 3.0])],
        correction=[wide],
    )
    judged = controlled(claim, table(noise(1, 0.1)))
    assert judged["verdict"] == "corrected"
    assert judged["control"]["outcome"] == CANNOT_FAIL
    assert judged["control"]["defect"]
    assert judged["criteria"][2]["control"]["outcome"] == SURVIVED


def test_criteria_that_exclude_each_other_are_never_reproduced():
    claim = claim_of(
        entry(where={"width": 100}, range=[0.9, 1.1]), entry(where={"width": 100}, range=[2.0, 3.0])
    )
    judged = controlled(claim, table(noise(1, 0.1)))
    assert judged["verdict"] == "contradicted"
    assert judged["control"]["outcome"] == CANNOT_FAIL
    assert judged["control"]["reason"].startswith("no tables are known")


def test_an_identity_says_why_it_cannot_fail():
    reason = {"cannot_fail": "it is an identity"}
    claim = claim_of(entry(where={"width": 100}, range=[0.0, 9.0], control=reason))
    judged = controlled(claim, table(noise(1, 0.1)))
    assert judged["control"]["outcome"] == CANNOT_FAIL
    assert judged["control"]["reason"] == "it is an identity"
    assert not judged["control"]["defect"]


def test_what_was_not_run_has_no_control():
    judged = controlled(claim_of(entry(where={"width": 3}, range=[0.9, 1.1])), table(noise(1, 0.1)))
    assert judged["control"]["outcome"] == "not judged"
    assert judged["criteria"][0]["control"] is None


def test_mending_leaves_what_it_does_not_need():
    data = table(noise(5.0, 0.1)).assign(other=3.0)
    criterion = entry(where={"width": 100}, range=[0.9, 1.1])
    mended = mend([criterion], {}, {"t": data})["t"]
    narrow = mended["width"] == 100
    assert mended.loc[narrow, "theta"].mean() == pytest.approx(1.0)
    assert mended.loc[~narrow].equals(data.loc[~narrow])
    assert data.loc[data["width"] == 100, "theta"].mean() == pytest.approx(5.0)


def test_ratios_are_mended_by_what_is_divided():
    data = table(noise(5.0, 0.1))
    data = pd.concat([data.assign(step=1), data.assign(step=0, theta=2.0)], ignore_index=True)
    criterion = entry(where={"width": 100, "step": 1}, relative_to={"step": 0}, range=[9.0, 11.0])
    mended = mend([criterion], {}, {"t": data})["t"]
    rows = mended[(mended["width"] == 100) & (mended["step"] == 1)]
    assert rows["theta"].mean() == pytest.approx(20.0)
    assert mended.loc[mended["step"] == 0, "theta"].eq(2.0).all()


@pytest.fixture
def outside():
    """A kind from outside the package, by its own change."""

    @criterion("positive", options=Criterion, allowed="above 0")
    def positive(options, sample):
        """All values are positive."""
        least = float(min(values.min() for values in sample.values))
        return Outcome(least, None, "holds" if least > 0 else "fails")

    yield entry(kind="positive", where={"width": 100})
    CRITERIA.forget(__name__)
    OF_KINDS.pop("positive", None)


def test_a_kind_from_outside_brings_its_change(outside):
    tables = {"t": table(noise(1, 0.1))}
    assert control_of(outside, {}, tables).outcome == SURVIVED
    changed_by("positive")(lambda options, sample: NAMED["sign"](sample))
    assert control_of(outside, {}, tables).outcome == CAUGHT


def test_a_kind_from_outside_that_fails_is_not_mended(outside):
    judged = controlled(claim_of(outside), table(noise(-1, 0.1)))
    assert judged["verdict"] == "contradicted"
    assert judged["control"]["reason"].startswith("no tables are known")


@pytest.mark.parametrize("name", ["arch.limit", "kernel-report.limit-is-mean"])
@pytest.mark.parametrize(("single", "outcome"), [(0.02, SURVIVED), (0.05, CAUGHT)])
def test_a_single_network_is_held_to_the_same_distance_as_the_mean(name, single, outcome):
    """The mean may be 3 % away: a network nearer than that passes, and the control would say so."""
    claim = deciding_part(next(claim for claim in CLAIMS if claim["id"] == name))
    tables = mend(asked(claim), claim["requires"], make_tables(claim))
    for one in asked(claim):
        data = {table: rows.assign(sample_square=single**2) for table, rows in tables.items()}
        assert control_of(one, claim["requires"], data).outcome == outcome


def test_every_kind_can_be_mended_and_changes_have_the_names_of_the_schema():
    assert tuple(NAMED) == CHANGES
    assert set(CRITERIA) - {"measured"} == set(WANTED) == set(OF_KINDS)


@pytest.mark.parametrize(
    ("control", "problem"),
    [
        ({"change": "shuffled"}, "control.change: 'shuffled' is unknown; allowed: sign, sides"),
        ({"valeu": 3.0, "of": "x"}, "control.valeu: unknown key; allowed: cannot_fail, change"),
        ({}, "control: {} is empty; allowed: at least 1"),
        ({"value": 3.0}, "control: {'value': 3.0}: 'of' is a dependency of 'value'"),
    ],
)
def test_a_mistake_in_a_control_is_told(control, problem):
    criterion = entry(range=[0.0, 1.0], control=control)
    claim = {
        "id": "a.b",
        "experiment": "e",
        "statement": "s",
        "criteria": {"observation": [criterion]},
    }
    with pytest.raises(ConfigurationError) as error:
        validate({"title": "t", "claims": [claim]}, SCHEMA, source="a.yaml")
    assert f"claims[0].criteria.observation[0].{problem}" in str(error.value)


def test_every_source_is_controlled():
    assert {claim["source"] for claim in CLAIMS} == set(FILES)
    assert {claim["counts_as"] for claim in CLAIMS} == {"source", "ours", "trivial"}


def test_values_of_a_null_model_stand_at_every_point():
    found = control_of(
        entry(kind="below", along="width", bound=2.0, control={"of": "null", "value": 2.5}),
        {},
        {"t": table(noise(1, 0.1))},
    )
    assert (found.status, found.outcome) == ("fails", CAUGHT)
