"""How far a claim about a limit was followed."""

import pytest
from judging_tables import MEAN_LAW, noise, table

from ntkstudy.claims import judge_claim

WIDTHS = (100, 200, 400, 800, 1600)


def judged(data, axis="width", *, excess=False, **criterion):
    entry = {"description": "theta", "table": "t", "column": "theta", "name": "number"} | criterion
    always = {"description": "d", "table": "t", "column": "theta", "kind": "above",
              "along": "width", "bound": -9.0}  # fmt: skip
    criteria = {"observation": [always], "excess": [entry]} if excess else {"observation": [entry]}
    texts = dict.fromkeys(("section", "statement", "published", "explanation"), "")
    claim = texts | {"id": "ours.x", "source": "ours", "experiment": "e", "criteria": criteria}
    claim |= {"horizon": {"axis": axis, "criterion": "number"}}
    return judge_claim(claim, {"t": data} if data is not None else {})["horizon"]


SLOPE = {"kind": "slope", "along": "width", "range": [-1.1, -0.9]}


def test_a_law_that_has_arrived_does_not_change_in_the_last_doubling():
    law = table(
        lambda rng, n, seeds: 3 / n * (1 + 0.01 * rng.standard_normal(seeds)), widths=WIDTHS
    )
    found = judged(law, **SLOPE)
    assert (found["at"], found["before"], found["changed"]) == (1600, 800, False)
    assert found["value"] == pytest.approx(found["earlier"], abs=0.01)
    assert found["text"].startswith("Judged up to width 1600: −")
    assert found["text"].endswith("the earlier number lies inside the interval.")


def test_a_number_still_on_its_way_changes():
    found = judged(MEAN_LAW, kind="measured", where={"width": "max"}, excess=True)
    assert (found["at"], found["before"], found["changed"]) == (1600, 400, True)
    assert found["earlier"] == pytest.approx(3 / 400, rel=0.01)
    assert "it still changes" in found["text"]


def test_only_rows_of_the_criterion_count():
    data = table(noise(1.0, 0.1), widths=(50, 100, 400)).assign(step=5)
    where = {"width": [100, 400], "step": 5}
    found = judged(data, kind="below", along="width", bound=2.0, where=where)
    assert (found["at"], found["before"]) == (400, 100)


@pytest.mark.parametrize(
    ("data", "criterion", "text"),
    [
        (None, SLOPE, "Its horizon is not known: the number was not measured."),
        (table(noise(1.0, 0.1), widths=(100, 150)), SLOPE,
         "Judged up to width 150; nothing was measured at half of it."),
        (table(noise(1.0, 0.1), widths=(100, 400)), SLOPE,
         "Judged up to width 400; with rows up to 100 alone the number is not known."),
    ],
)  # fmt: skip
def test_what_is_not_known_is_said(data, criterion, text):
    assert judged(data, **criterion)["text"] == text


def test_claims_without_a_limit_have_none():
    texts = dict.fromkeys(("section", "statement", "published", "explanation"), "")
    entry = {"description": "d", "table": "t", "column": "theta"} | SLOPE
    claim = texts | {"id": "ours.x", "source": "ours", "experiment": "e"}
    assert judge_claim(claim | {"criteria": {"observation": [entry]}}, {})["horizon"] is None
