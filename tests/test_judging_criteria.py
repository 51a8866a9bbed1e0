"""Criteria over two axes, trends, draws and values without spread."""

import numpy as np
import pandas as pd
import pytest
from judging_tables import MEAN_LAW, POWER_LAW, judge, noise, table
from scipy import stats

from ntkflow.errors import ConfigurationError
from ntkstudy.claims import judge_claim, judge_criterion


@pytest.mark.parametrize(
    ("known", "value", "status"),
    [([1, 2, 3, 4], 1.0, "holds"), ([4, 3, 2, 1], -1.0, "fails"), ([1, 4, 2, 3], 0.4, "fails")],
)
def test_rank_correlation_over_points_of_two_axes(known, value, status):
    cells = [(depth, width) for depth in (1, 2) for width in (8, 16)]
    rng = np.random.default_rng(1)
    data = pd.concat(
        pd.DataFrame({"depth": depth, "width": width, "seed": range(8), "known": one,
                      "theta": 10.0**place + rng.normal(0, 1e-3, 8)})
        for place, ((depth, width), one) in enumerate(zip(cells, known, strict=True))
    )  # fmt: skip
    criterion = {"kind": "rank", "along": ["depth", "width"], "expected": "known"}
    found = judge(data, range=[0.9, 1.0], **criterion)
    assert (found.value, found.status) == (pytest.approx(value), status)
    assert found.low == pytest.approx(value) == found.high
    assert found.allowed == "0.9 to 1"


def test_statistic_agrees_with_a_column_at_every_point_of_two_axes():
    rng = np.random.default_rng(1)
    cells = [(depth, width) for depth in (2, 4) for width in (8, 16)]
    data = pd.concat(
        pd.DataFrame(
            {"depth": depth, "width": width, "seed": range(500), "expected": (depth / width) ** 2}
            | {"theta": np.exp(rng.normal(0, depth / width, 500))}
        )
        for depth, width in cells
    )
    criterion = {"kind": "agrees", "along": ["depth", "width"], "bound": 0.5}
    criterion |= {"statistic": "dispersion", "expected": "expected"}  # of a log-normal: sigma^2
    found = judge(data, **criterion)
    assert found.status == "holds"
    assert found.low <= found.value <= found.high <= 0.5
    off = data.assign(expected=data["expected"].where(data["depth"] < 4, 1.0))
    assert judge(off, **criterion).status == "fails"


def test_repetitions_can_run_over_another_axis():
    table = pd.DataFrame(
        {"data_seed": [0, 1, 2], "seed": [0, 0, 0], "accuracy": [0.79, 0.80, 0.81]}
    )
    criterion = {
        "kind": "within", "description": "accuracy", "table": "t", "column": "accuracy",
        "over": "data_seed", "range": [0.7, 0.9],
    }  # fmt: skip
    judged = judge_criterion(criterion, "observation", {"seeds": 3}, {"t": table})
    assert (judged.status, judged.n) == ("holds", 3)
    few = judge_criterion(criterion, "observation", {"seeds": 4}, {"t": table})
    assert few.note == "needs 4 seeds, this scale has 3"


@pytest.mark.parametrize(("expected", "status"), [(2.0, "holds"), (2.1, "fails")])
def test_values_without_spread_agree_only_if_equal(expected, status):
    data = table(lambda rng, width, seeds: np.full(seeds, 2.0)).assign(expected=expected)
    criterion = {"kind": "agrees", "along": "width", "expected": "expected"}
    assert judge(data, bound=0.01, **criterion).status == status


@pytest.mark.parametrize(
    ("expected", "seeds", "status"),
    [(1.0, 40, "holds"), (1.2, 40, "fails"), (1.03, 40, "straddles"), (1.0, 3, "straddles"),
     (1.2, 2, "straddles")],
)  # fmt: skip
def test_a_distance_is_judged_by_the_upper_end_of_its_interval(expected, seeds, status):
    data = table(noise(1.0, 0.1), seeds=seeds)
    found = judge(data, kind="consistent", where={"width": 100}, expected=expected, bound=0.05)
    assert found.status == status
    assert found.value == pytest.approx(abs(1 - expected) / expected)
    assert found.allowed == f"{expected:g} up to 0.05 of it"
    if seeds > 2:
        values = data.loc[data["width"] == 100, "theta"]
        ends = stats.t.interval(0.95, seeds - 1, loc=1 - expected, scale=stats.sem(values))
        assert found.high == pytest.approx(np.abs(ends).max() / expected)


def test_zero_has_no_relative_distance():
    with pytest.raises(ConfigurationError, match="expected: 0 has no relative distance"):
        judge(MEAN_LAW, kind="consistent", where={"width": 100}, expected=0.0, bound=0.05)


def test_point_without_a_base_is_absent():
    data = pd.concat([POWER_LAW.assign(step=0).query("width < 1600"), POWER_LAW.assign(step=1)])
    found = judge(
        data, kind="within", along="width", where={"step": 1}, relative_to={"step": 0},
        range=[0.0, 9.0],
    )  # fmt: skip
    assert found.status == "absent"
    assert found.note == "no seed to compare with at width 1600"


@pytest.mark.parametrize(
    ("data", "criterion", "status"),
    [
        (table(lambda r, w, s: w + noise(0.0, 1.0)(r, w, s)), {"kind": "increasing"}, "holds"),
        (MEAN_LAW, {"kind": "increasing"}, "fails"),
        (table(noise(1.0, 0.1)), {"kind": "increasing"}, "straddles"),
        (
            table(lambda r, w, s: 3 + 2 * w + noise(0.0, 1.0)(r, w, s)),
            {"kind": "linear", "bound": 0.99},
            "holds",
        ),
        (MEAN_LAW, {"kind": "linear", "bound": 0.99}, "fails"),
    ],
)
def test_trends(data, criterion, status):
    assert judge(data, along="width", **criterion).status == status


@pytest.mark.parametrize(
    ("means", "worst", "status"),
    [
        ({100: 1.0, 400: -0.5, 1600: 3.0}, -0.5, "holds"),
        ({100: 1.0, 400: -0.1, 1600: 3.0}, -0.1, "straddles"),
        ({100: 0.1, 400: -0.1001, 1600: 0.0999}, 0.0999, "straddles"),
    ],
)
def test_a_sign_is_told_where_students_interval_leaves_out_zero(means, worst, status):
    data = table(lambda r, w, s: noise(means[w], 0.3)(r, w, s), seeds=5)
    found = judge(data, kind="signed", along="width")
    values = data.loc[np.isclose(data.groupby("width")["theta"].transform("mean"), worst), "theta"]
    low, high = stats.t.interval(0.95, 4, loc=worst, scale=stats.sem(values))
    assert found.status == status
    assert (found.value, found.low, found.high) == pytest.approx((worst, low, high))


@pytest.mark.parametrize(("mean", "status"), [(2.0, "holds"), (0.0, "straddles")])
def test_the_sign_of_values_without_spread_is_their_own(mean, status):
    data = table(lambda rng, width, seeds: np.full(seeds, mean))
    assert judge(data, kind="signed", along="width").status == status


@pytest.mark.parametrize(
    ("expected", "seeds", "status"),
    [
        (1.1, 40, "holds"), (0.9, 40, "holds"), (1.4, 40, "fails"), (0.8, 40, "straddles"),
        (1.1, 3, "straddles"), (1.1, 2, "straddles"),
    ],
)  # fmt: skip
def test_a_single_run_is_a_plausible_draw_or_not(expected, seeds, status):
    data = table(noise(1.0, 0.1), seeds=seeds)
    found = judge(data, kind="draw", where={"width": 100}, expected=expected, deviations=1.96)
    assert found.status == status
    if seeds > 2:
        spread = data.loc[data["width"] == 100, "theta"].std()
        assert found.value == pytest.approx(abs(expected - 1) / spread)
        assert found.low <= found.value <= found.high


@pytest.mark.parametrize(("expected", "status"), [(2.0, "holds"), (2.1, "fails")])
def test_a_draw_from_runs_without_spread_is_equal_to_them(expected, status):
    data = table(lambda rng, width, seeds: np.full(seeds, 2.0))
    found = judge(data, kind="draw", where={"width": 100}, expected=expected, deviations=1.96)
    assert (found.status, found.value) == (status, None)


@pytest.mark.parametrize(
    ("depth", "status"), [(0.2, "holds"), (0.01, "straddles"), (-0.2, "fails")]
)
def test_a_dip_is_below_both_neighbours(depth, status):
    def draw(rng, width, seeds):
        return noise(1.0 - depth * (width == 400) - 0.5 * (width == 100), 0.1)(rng, width, seeds)

    deep = table(lambda *given: noise(1.0 - depth * (given[1] == 400), 0.1)(*given))
    found = judge(deep, kind="dip", along="width", at=400)
    assert (found.status, found.intervals) == (status, 2)
    assert found.value == pytest.approx(depth)
    one_side = judge(table(draw), kind="dip", along="width", at=400)
    assert one_side.status == "fails"


def test_relative_to_a_point_of_the_axis_itself():
    data = MEAN_LAW.assign(theta=lambda t: t["theta"] * (1 + t["seed"]))
    found = judge(
        data,
        kind="decreasing",
        along="width",
        relative_to={"width": 100},
        where={"width": [100, 1600]},
    )
    assert found.status == "holds"
    widest = judge(data, kind="measured", where={"width": 1600}, relative_to={"width": 100})
    assert widest.value == pytest.approx(1 / 16, rel=0.01)


def test_an_excess_is_shown_and_not_judged():
    claim = {
        "id": "a.b", "source": "a", "section": "", "experiment": "e", "statement": "s",
        "published": "p", "explanation": "",
        "criteria": {
            "observation": [
                {"kind": "within", "description": "o", "table": "t", "column": "theta",
                 "where": {"width": 100}, "range": [0.5, 1.5]},
            ],
            "excess": [
                {"kind": "measured", "description": "x", "table": "t", "column": "theta",
                 "where": {"width": 400}},
                {"kind": "measured", "description": "y", "table": "missing", "column": "theta"},
            ],
        },
    }  # fmt: skip
    found = judge_claim(claim, {"t": table(noise(1.0, 0.1))})
    assert found["verdict"] == "reproduced"
    assert [one["status"] for one in found["criteria"]] == ["holds", "measured", "absent"]
    assert "x: 1 [" in found["measured"]


def drawn(means, n, rng, spread=1.0):
    """A table of n draws around each mean, at the places 1, 2, ..."""
    return pd.concat(
        pd.DataFrame({"width": place, "seed": range(n), "known": place,
                      "theta": mean + spread * rng.standard_normal(n)})
        for place, mean in enumerate(means, start=1)
    )  # fmt: skip


ORDERED, SWAPPED = [1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 1.0, 4.0, 3.0, 6.0]
STRAIGHT, BENT = [1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 2.0, 4.0, 8.0, 16.0]


@pytest.mark.slow
@pytest.mark.parametrize("n", [3, 20])
@pytest.mark.parametrize(
    ("criterion", "means", "truth"),
    [
        ({"kind": "rank", "expected": "known", "range": [0.9, 1.0]}, ORDERED, 1.0),
        ({"kind": "rank", "expected": "known", "range": [0.9, 1.0]}, SWAPPED, 0.8),
        ({"kind": "linear", "bound": 0.9}, STRAIGHT, 1.0),
        ({"kind": "linear", "bound": 0.9}, BENT, stats.pearsonr(range(5), BENT).statistic ** 2),
        ({"kind": "intercept", "power": 1.0, "range": [0.0, 9.0]}, STRAIGHT, 0.0),
    ],
)
def test_intervals_over_points_hold_the_truth(criterion, means, truth, n):
    rng = np.random.default_rng(n)
    inside = 0
    for _ in range(200):
        found = judge(drawn(means, n, rng), along="width", **criterion)
        low = -np.inf if found.low is None else found.low
        inside += low - 1e-12 <= truth <= found.high + 1e-12
    assert inside >= 0.91 * 200


@pytest.mark.slow
@pytest.mark.parametrize("n", [3, 20])
@pytest.mark.parametrize("distance", [0.0, 1.5, 4.0])
def test_the_distance_of_a_draw_holds_the_truth(distance, n):
    rng = np.random.default_rng(n)
    inside = 0
    for _ in range(200):
        data = drawn([0.0], n, rng)
        found = judge(data, kind="draw", where={"width": 1}, expected=distance, deviations=1.96)
        inside += found.low <= distance <= found.high
    assert inside >= 0.91 * 200


def test_a_slope_is_fitted_over_the_largest_points_that_count():
    law = {16: 0.9, 32: 0.6, 64: 0.2, 128: 0.1, 256: 0.05, 512: 0.4}
    data = table(lambda rng, width, seeds: noise(law[width], 1e-6)(rng, width, seeds), widths=law)
    counting = {"column": "theta", "below": 0.3, "points": 3}
    where = {"kind": "slope", "along": "width", "range": [-1.1, -0.9]}
    found = judge(data, **where, counting=counting)
    assert found.value == pytest.approx(-1, abs=1e-3)  # of 64, 128 and 256 alone
    assert (found.status, found.note) == ("holds", "width 64, 128, 256")
    found = judge(data, **where, counting=counting | {"points": 2})
    assert found.note == "width 128, 256"
    found = judge(data, **where, counting=counting | {"below": 0.15})
    assert found.status == "absent"
    reason = "needs 3 values of width with a mean theta below 0.15, this scale has 2"
    assert found.note == reason
    assert judge(data, **where).status == "fails"
    other = data.assign(beta=np.where(data["width"] < 128, 0.1, 0.9))
    found = judge(other, **where, counting={"column": "beta", "below": 0.5, "points": 2})
    assert found.note == "width 32, 64"
