import json

import pytest
from report_model import claim, criterion

from ntkstudy.report.summary import answer, claims_by, finding, tell, telling


def judged(*verdicts: str) -> list[dict]:
    return [claim(f"a.c{number}", "e", verdict) for number, verdict in enumerate(verdicts)]


@pytest.mark.parametrize(
    ("verdict", "role", "status"),
    [
        ("reproduced", "observation", "holds"),
        ("corrected", "correction", "holds"),
        ("contradicted", "explanation", "fails"),
        ("inconclusive", "explanation", "straddles"),
        ("not run", "excess", "measured"),
    ],
)
def test_the_number_that_a_verdict_hangs_on(verdict, role, status):
    first = criterion(status="holds") if verdict != "not run" else criterion(value=None)
    second = criterion(role, status=status)
    entry = claim("a.b", "e", verdict, criteria=[first, second])
    assert telling(entry) is (first if verdict == "reproduced" else second)


def test_no_number_is_told_where_none_was_measured():
    assert telling(claim("a.b", "e", "not run", criteria=[criterion(value=None)])) is None
    assert telling(claim("a.b", "e", "not run", criteria=[])) is None


def test_a_number_is_told_with_its_unit_and_interval():
    assert tell(criterion()) == "−0.512 (−0.561 to −0.463)"
    assert tell(criterion(value=3.0, low=None, high=None, unit="GB")) == "3 GB"


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        ([], ""),
        (["not run"], "No claim on it is judged at this scale."),
        (["reproduced"], "What is claimed holds: 1 claim, 1 reproduced."),
        (["indicated"] * 2, "What is claimed holds, in a reduced form: 2 claims, 2 indicated."),
        (["contradicted"], "What is claimed does not hold: 1 claim, 1 contradicted."),
        (["corrected"], "What is claimed holds in part: 1 claim, 1 corrected."),
        (["inconclusive"], "What is claimed is not decided: 1 claim, 1 inconclusive."),
        (
            ["inconclusive", "contradicted"],
            "What is claimed holds in part: 2 claims, 1 contradicted, 1 inconclusive.",
        ),
        (
            ["reproduced", "not run"],
            "What is claimed holds: 2 claims, 1 reproduced, 1 not run.",
        ),
    ],
)
def test_the_answer_follows_from_the_verdicts(verdicts, said):
    assert answer(judged(*verdicts)) == said


def test_a_finding_is_the_caption_and_what_came_out():
    two = [claim("a.b", "e", "corrected"), claim("a.c", "e", "not run", criteria=[])]
    assert finding("Kernels of all seeds. Thick: the limit.", two) == (
        "Kernels of all seeds. Corrected: slope of log std of Θ(x₀, x₀) against log width, "
        "−0.512 (−0.561 to −0.463)."
    )


def test_claims_by_a_figure_or_a_table_in_one_line(tmp_path):
    file = tmp_path / "claims.json"
    assert claims_by(file, "e", figure="spread") == ""
    both = [
        claim("a.b", "e", "reproduced", figures=["spread"]),
        claim("a.c", "e", "not run", figures=["spread"], criteria=[]),
        claim("a.d", "other", "reproduced", figures=["spread"]),
    ]
    file.write_text(json.dumps({"claims": both}))
    assert claims_by(file, "e", figure="spread") == (
        "a.b reproduced −0.512 (−0.561 to −0.463), allowed −0.5 ± 0.15; a.c not run"
    )
    assert claims_by(file, "e", figure="profiles") == ""
    assert claims_by(file, "other", table="profile").startswith("a.d reproduced −0.512")
    assert claims_by(file, "e", table="dataset") == ""
