"""What would decide an inconclusive claim."""

import re

import numpy as np
import pytest
from judging_tables import judge, noise, table

from ntkstudy.claims import judge_claim
from ntkstudy.claims.deciding import MOST, allowed_ends, needed_draws, what_decides

TEXTS = {"description": "d", "table": "t", "column": "theta"}


@pytest.mark.parametrize(
    ("criterion", "ends"),
    [
        ({"kind": "within", "range": [1.0, 2.0]}, (1, 2)),
        ({"kind": "slope", "along": "width", "range": [-1.0, 0.0]}, (-1, 0)),
        ({"kind": "above", "along": "width", "bound": 3.0}, (3, np.inf)),
        ({"kind": "below", "along": "width", "bound": 3.0}, (-np.inf, 3)),
        ({"kind": "decreasing", "along": "width"}, (-np.inf, 0)),
        ({"kind": "increasing", "along": "width"}, (0, np.inf)),
        ({"kind": "consistent", "expected": 2.0, "bound": 0.1}, (-np.inf, 0.1)),
        ({"kind": "linear", "along": "width", "bound": 0.9}, (0.9, np.inf)),
        ({"kind": "draw", "expected": 1.0, "deviations": 2.0}, (-np.inf, 2)),
    ],
)
def test_allowed_ends_are_those_of_the_kind(criterion, ends):
    assert allowed_ends(TEXTS | criterion) == ends


@pytest.mark.parametrize(
    ("value", "reach", "allowed", "needed"),
    [
        (1.2, 0.4, (1.0, 3.0), 40),  # the lower end has to come half as near
        (0.8, 0.4, (1.0, 3.0), 40),  # the upper end, to lie outside
        (2.8, 0.8, (1.0, 3.0), 160),
        (1.0, 0.4, (1.0, 3.0), None),  # on the bound
        (1.0 + 1e-4, 0.4, (1.0, 3.0), None),
    ],
)
def test_needed_draws_follow_from_length_and_distance(value, reach, allowed, needed):
    found = {"value": value, "low": value - reach, "high": value + reach, "n": 10}
    assert needed_draws(found, allowed) == needed


def test_an_open_interval_tells_no_number():
    assert needed_draws({"value": 1.0, "low": None, "high": 2.0, "n": 2}, (0.0, 3.0)) is None


def test_so_many_draws_decide_indeed():
    few = judge(table(noise(1.0, 0.5), seeds=10), kind="within", where={"width": 100},
                range=[0.8, 2.0])  # fmt: skip
    assert few.status == "straddles"
    needed = needed_draws(vars(few), (0.8, 2.0))
    assert 10 < needed < MOST
    many = judge(table(noise(1.0, 0.5), seeds=2 * needed), kind="within", where={"width": 100},
                 range=[0.8, 2.0])  # fmt: skip
    assert many.status == "holds"


def test_an_inconclusive_claim_says_what_would_decide():
    entry = TEXTS | {"kind": "within", "where": {"width": 100}, "range": [0.8, 2.0]}
    claim = {
        "id": "ours.x", "source": "ours", "section": "", "experiment": "e", "statement": "",
        "published": "", "explanation": "",
        "criteria": {"observation": [entry | {"range": [0.0, 2.0]}, entry]},
    }  # fmt: skip
    judged = judge_claim(claim, {"t": table(noise(1.0, 0.5), seeds=10)})
    assert judged["verdict"] == "inconclusive"
    text = what_decides(claim, judged)
    assert text.startswith("About ")
    assert "in place of 10 would decide" in text
    clear = judge_claim(claim, {"t": table(noise(1.0, 0.01), seeds=10)})
    assert what_decides(claim, clear) == ""
    two = judge_claim(claim, {"t": table(noise(1.0, 0.01), seeds=2)})
    assert two["verdict"] == "inconclusive"
    assert what_decides(claim, two).startswith("An interval needs 3 networks, there are 2: ")


def test_what_is_only_reported_decides_nothing():
    entry = TEXTS | {"kind": "within", "where": {"width": 100}, "range": [0.8, 2.0]}
    claim = {
        "id": "ours.x", "source": "ours", "section": "", "experiment": "e", "statement": "",
        "published": "", "explanation": "",
        "criteria": {"observation": [entry], "excess": [entry | {"range": [0.99, 1.01]}]},
    }  # fmt: skip
    judged = judge_claim(claim, {"t": table(noise(1.0, 0.5), seeds=10)})
    excess = judged["criteria"][-1]
    assert (excess["role"], excess["status"]) == ("excess", "straddles")
    text = what_decides(claim, judged)
    [needed] = re.findall(r"About (\d+) ", text)
    assert int(needed) < 200
