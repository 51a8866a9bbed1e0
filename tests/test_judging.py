import json

import numpy as np
import pandas as pd
import pytest
from judging_tables import ASYMPTOTE, MEAN_LAW, POWER_LAW, WIDTHS, judge, noise, table

from ntkflow.errors import ConfigurationError
from ntkstudy.claims import Judgement, decide, judge_claim


@pytest.mark.parametrize(
    ("data", "criterion", "status"),
    [
        (table(noise(1.0, 0.1)), {"kind": "within", "range": [0.9, 1.1]}, "holds"),
        (table(noise(1.0, 0.1)), {"kind": "within", "range": [1.2, 2.0]}, "fails"),
        (table(noise(1.0, 0.1)), {"kind": "within", "range": [1.0, 2.0]}, "straddles"),
    ],
)
def test_criteria_at_one_point(data, criterion, status):
    found = judge(data, where={"width": 100}, **criterion)
    assert found.status == status
    assert found.low < found.value < found.high
    assert (found.n, found.counts, found.level) == (40, "networks", 0.95)
    assert found.method == "Student's t"


@pytest.mark.parametrize(
    ("data", "criterion", "status"),
    [
        (POWER_LAW, {"kind": "slope", "statistic": "std", "range": [-0.8, -0.2]}, "holds"),
        (POWER_LAW, {"kind": "slope", "statistic": "std", "range": [0.2, 0.8]}, "fails"),
        (POWER_LAW, {"kind": "slope", "statistic": "std", "range": [-0.5, 0.0]}, "straddles"),
        (MEAN_LAW, {"kind": "slope", "range": [-1.01, -0.99]}, "holds"),
        (MEAN_LAW, {"kind": "slope", "statistic": "median", "range": [-0.5, 0.0]}, "fails"),
        (MEAN_LAW, {"kind": "slope", "range": [-1.0, 0.0]}, "straddles"),
        (MEAN_LAW, {"kind": "above", "bound": 0.0015}, "holds"),
        (MEAN_LAW, {"kind": "above", "bound": 0.01}, "fails"),
        (table(noise(0, 1)), {"kind": "above", "bound": 0.0}, "straddles"),
        (MEAN_LAW, {"kind": "below", "bound": 0.04}, "holds"),
        (MEAN_LAW, {"kind": "below", "bound": 0.01}, "fails"),
        (table(noise(0, 1)), {"kind": "below", "bound": 0.0}, "straddles"),
        (MEAN_LAW, {"kind": "within", "range": [0.0, 0.04]}, "holds"),
        (MEAN_LAW, {"kind": "within", "range": [0.0, 0.02]}, "fails"),
        (ASYMPTOTE, {"kind": "intercept", "power": -0.5, "range": [0.49, 0.51]}, "holds"),
        (ASYMPTOTE, {"kind": "intercept", "power": -0.5, "range": [0.6, 0.7]}, "fails"),
        (ASYMPTOTE, {"kind": "intercept", "power": -0.5, "range": [0.5, 0.7]}, "straddles"),
        (MEAN_LAW, {"kind": "decreasing"}, "holds"),
        (table(lambda rng, w, n: w + rng.random(n)), {"kind": "decreasing"}, "fails"),
        (table(noise(0, 1)), {"kind": "decreasing"}, "straddles"),
    ],
)
def test_criteria_along_an_axis(data, criterion, status):
    found = judge(data, along="width", **criterion)
    assert found.status == status
    assert found.low <= found.value <= found.high


@pytest.mark.parametrize(
    ("expected", "status"),
    [
        ([[1600, 3 / 1600], [100, 0.03]], "holds"),
        ([[1600, 3 / 1600], [100, 0.04]], "fails"),
        ([[100, 0.031]], "straddles"),
        ([[100, 0.03], [200, 0.015]], "absent"),
    ],
)
def test_published_values_at_several_points(expected, status):
    law = table(lambda rng, width, seeds: noise(3 / width, 1e-3)(rng, width, seeds))
    found = judge(law, kind="matches", along="width", expected=expected, tolerance=1e-3)
    assert found.status == status
    if status == "absent":
        assert found.note == "needs width 200, not run here"
    if status == "fails":
        assert found.value == pytest.approx(-0.01)


def test_slope_of_a_quantity_that_is_not_positive_fails():
    found = judge(table(noise(-1, 0.1)), kind="slope", along="width", range=[-1.0, 1.0])
    assert (found.status, found.value) == ("fails", None)


def test_open_interval_is_no_json_infinity():
    data = table(noise(1, 0.1), seeds=2)
    found = judge(data, kind="slope", along="width", statistic="std", range=[-1.0, 1.0])
    assert (found.status, found.low, found.high) == ("straddles", None, None)


def test_two_seeds_decide_nothing():
    data = table(noise(1.0, 1e-6), seeds=2)
    found = judge(data, kind="above", along="width", bound=0.0)
    assert (found.status, found.low, found.high) == ("straddles", None, None)
    assert found.note == "an interval needs 3 networks, there are 2"


@pytest.mark.parametrize("kind", ["above", "decreasing", "agrees", "slope", "rank", "linear"])
def test_fewer_seeds_only_make_a_claim_inconclusive(kind):
    data = table(lambda rng, width, n: noise(3 / width, 1e-4)(rng, width, n))
    data = data.assign(known=3 / data["width"])
    criterion = {
        "above": {"bound": 1e-3}, "decreasing": {}, "slope": {"range": [-1.3, -0.7]},
        "agrees": {"expected": "known", "bound": 0.1}, "linear": {"bound": 0.5},
        "rank": {"expected": "known", "range": [0.9, 1.0]},
    }[kind] | {"kind": kind, "along": "width"}  # fmt: skip
    assert judge(data, **criterion).status == "holds"
    for seeds in (2, 3, 4):
        assert judge(data[data["seed"] < seeds], **criterion).status != "fails"
    assert judge(data[data["seed"] < 2], **criterion).status == "straddles"


def test_diverged_seeds_are_left_out_and_counted():
    data = table(noise(1.0, 0.1), seeds=10)
    data.loc[data["seed"] < 3, "theta"] = [np.nan, np.inf, np.nan] * 3
    found = judge(data, kind="within", where={"width": 100}, range=[0.5, 1.5])
    assert (found.status, found.n) == ("holds", 7)
    assert found.note.endswith("did not get there): 3")


def test_a_point_where_every_seed_diverged_is_not_overlooked():
    data = table(noise(1.0, 0.1))
    data.loc[data["width"] == 400, "theta"] = np.nan
    found = judge(data, kind="above", along="width", bound=0.0)
    left_out = "values left out (diverged, or did not get there): 40"
    assert found.status == "absent"
    assert found.note == f"needs 2 seeds, this scale has 0 ({left_out})"


def test_points_beyond_the_required_ones_may_have_fewer_seeds():
    data = table(noise(1.0, 0.01))
    data = data[(data["width"] < 1600) | (data["seed"] < 3)]
    wanted = {"kind": "above", "along": "width", "bound": 0.5}
    assert judge(data, {"seeds": 40, "width": [100, 400]}, **wanted).status == "holds"
    assert judge(data, {"seeds": 40, "width": [1600]}, **wanted).status == "absent"
    assert judge(data, {"seeds": 40}, **wanted).status == "absent"
    assert judge(data[data["seed"] < 1], {"width": [100]}, **wanted).status == "absent"


def test_the_interval_shown_is_the_one_that_decides():
    spread = {100: 0.001, 400: 1.0, 1600: 0.001}
    data = table(lambda rng, width, n: noise(1 + width / 1e4, spread[width])(rng, width, n))
    found = judge(data, kind="above", along="width", bound=1.0)
    assert (found.status, found.value) == ("straddles", pytest.approx(1.04))
    assert found.low < 1.0 < found.high


def test_relative_to_divides_seed_by_seed():
    first = table(noise(5.0, 1.0)).assign(step=0)
    second = first.assign(step=200, theta=2 * first["theta"])
    data = pd.concat([first, second.sample(frac=1, random_state=0)])
    found = judge(
        data, kind="above", along="width", bound=1.9,
        where={"step": "max"}, relative_to={"step": 0},
    )  # fmt: skip
    assert found.status == "holds"
    assert found.value == pytest.approx(2)


def test_relative_to_takes_the_seeds_that_both_have():
    data = table(noise(5.0, 1.0), seeds=10)
    data = data[(data["width"] > 100) | (data["seed"] < 3)]
    found = judge(
        data, kind="within", where={"width": 400}, relative_to={"width": 100}, range=[0.0, 9.0]
    )
    assert (found.n, found.note) == (3, "")


@pytest.mark.parametrize(
    ("requires", "criterion", "reason"),
    [
        ({"seeds": 100}, {}, "needs 100 seeds, this scale has 40"),
        ({"width": [100, 2048, 10000]}, {}, "needs width 2048, 10000, not run here"),
        ({"depth": [3]}, {}, "needs depth 3, not run here"),
        ({}, {"where": {"width": 3}}, "no rows with {'width': 3} in the table"),
        ({}, {"where": {"depth": "max"}}, "needs the axis depth, which is not swept or measured"),
        ({}, {"table": "u"}, "table u was not made at this scale"),
        ({}, {"kind": "decreasing", "along": "width", "narrow": True}, "needs two values of width"),
    ],
)
def test_what_was_not_run_is_absent_with_the_reason(requires, criterion, reason):
    widths = WIDTHS[:1] if criterion.pop("narrow", False) else WIDTHS
    criterion = {"kind": "above", "along": "width", "bound": 0.0} | criterion
    found = judge(table(noise(1, 0.1), widths=widths), requires, **criterion)
    assert found.status == "absent"
    assert found.note.startswith(reason)


def test_values_match_as_the_table_writes_them(tmp_path):
    gamma = np.array([-np.pi, -np.pi / 2, 0.0, np.pi / 3])
    rows = [(g, ridge, s, s) for g in gamma for ridge in (0, 1e-9) for s in range(3)]
    data = pd.DataFrame(rows, columns=["gamma", "ridge", "seed", "theta"])
    data.to_csv(tmp_path / "t.csv", index=False, float_format="%.9g")
    data = pd.read_csv(tmp_path / "t.csv")
    for angle in (*gamma, "min", "max", -3.14159, 0, 1.0472):
        found = judge(data, kind="within", where={"gamma": angle, "ridge": 0})
        assert found.n == 3
    absent = {"gamma": 1.05, "ridge": 0}
    assert judge(data, kind="within", where=absent, range=[-9.0, 9.0]).status == "absent"


def test_whole_numbers_and_names_match_exactly():
    data = pd.DataFrame({"step": [100000, 100001] * 2, "seed": [0, 0, 1, 1], "theta": 1.0})
    data["activation"] = "relu"
    where = {"step": 100000, "activation": "relu"}
    assert judge(data, kind="within", where=where, range=[0.0, 2.0]).n == 2
    absent = where | {"activation": "erf"}
    assert judge(data, kind="within", where=absent, range=[0.0, 2.0]).status == "absent"


@pytest.mark.parametrize(
    ("criterion", "problem"),
    [
        ({"column": "teta"}, "column: 'teta' is not in the table; allowed: width, seed, theta"),
        ({"where": {}}, "where: {} leaves several rows per seed; allowed: a `where` that leaves"),
    ],
)
def test_mistakes_in_a_claim_are_errors(criterion, problem):
    claim = build_claim(
        {"kind": "within", "range": [0.0, 2.0], "where": {"width": 100}} | criterion
    )
    with pytest.raises(ConfigurationError, match=f"^ours.test: {problem}"):
        judge_claim(claim, {"t": table(noise(1, 0.1))})


def build_claim(*observation, **roles):
    texts = dict.fromkeys(("section", "statement", "published", "explanation"), "text")
    criteria = {
        role: [{"description": "theta", "table": "t", "column": "theta"} | one for one in entries]
        for role, entries in ({"observation": observation} | roles).items()
    }
    return texts | {"id": "ours.test", "source": "ours", "experiment": "e", "criteria": criteria}


GOOD, BAD, OPEN = ([0.9, 1.1], [2.0, 3.0], [1.0, 2.0])


@pytest.mark.parametrize(
    ("observation", "explanation", "correction", "verdict"),
    [
        (GOOD, None, None, "reproduced"),
        (GOOD, GOOD, None, "reproduced"),
        (GOOD, GOOD, BAD, "reproduced"),
        (BAD, GOOD, GOOD, "contradicted"),
        (GOOD, BAD, None, "contradicted"),
        (GOOD, BAD, BAD, "contradicted"),
        (GOOD, BAD, GOOD, "corrected"),
        (GOOD, BAD, OPEN, "inconclusive"),
        (OPEN, GOOD, None, "inconclusive"),
        (GOOD, OPEN, GOOD, "inconclusive"),
    ],
)
def test_verdicts_follow_from_the_roles(observation, explanation, correction, verdict):
    def entry(allowed):
        return {"kind": "within", "where": {"width": 100}, "range": allowed}

    roles = {"explanation": explanation, "correction": correction}
    roles = {role: [entry(allowed)] for role, allowed in roles.items() if allowed}
    judged = judge_claim(build_claim(entry(observation), **roles), {"t": table(noise(1, 0.1))})
    assert judged["verdict"] == verdict
    assert [one["role"] for one in judged["criteria"]] == ["observation", *roles]
    assert "NaN" not in json.dumps(judged)


def test_one_absent_criterion_makes_a_claim_not_run():
    ready = {"kind": "within", "where": {"width": 100}, "range": GOOD}
    claim = build_claim(ready, explanation=[ready | {"where": {"width": 3}}])
    judged = judge_claim(claim, {"t": table(noise(1, 0.1))})
    assert judged["verdict"] == "not run"
    assert judged["reason"] == "no rows with {'width': 3} in the table"
    assert judge_claim(claim, {})["verdict"] == "not run"


def test_reasons_are_given():
    def one(status):
        return Judgement("observation", "within", "d", "t", "1", "", status)

    assert decide([one("holds"), one("fails")]) == (
        "contradicted",
        "the observation does not appear",
    )
    assert decide([one("holds"), one("straddles")])[1] == "an interval straddles its bound"


def test_table_without_seeds_is_exact():
    modes = pd.DataFrame({"mode": range(1, 33), "theta": [k**-2.0 for k in range(1, 33)]})
    where = {"mode": [8, 32]}
    found = judge(modes, kind="slope", along="mode", where=where, range=[-2.01, -1.99])
    assert found.status == "holds"
    assert found.n is None
    assert found.low == pytest.approx(-2) == found.high
    assert (found.method, found.level, found.intervals) == ("exact", None, 0)
    modes.loc[modes["mode"] < 8, "theta"] = 5.0  # outside `where`
    assert judge(modes, kind="slope", along="mode", where=where, range=[-2.01, -1.99]) == found
