"""What the report says of where its results come from."""

import re
from pathlib import Path

import pytest
from report_model import PROVENANCE, build_model, times

from ntkstudy.report.page import render

TEMPLATE = Path(__file__).parents[1] / "report" / "template"


@pytest.fixture(scope="module")
def model():
    return build_model()


def section_of(model, **changes) -> str:
    """The part on provenance, with the model's changed in places."""
    html = render({**model, "provenance": PROVENANCE | changes}, TEMPLATE)
    return html.split('id="provenance"')[1].split("</section>")[0]


def rows(html: str) -> dict[str, list[str]]:
    """Text of the cells of every row of a table by its first one."""
    lines = [re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row) for row in html.split("<tr")[1:]]
    plain = [[re.sub(r"<[^>]+>", "", cell) for cell in line] for line in lines]
    return {line[0]: line[1:] for line in plain}


@pytest.mark.parametrize(
    ("only", "restricted", "partial", "said"),
    [
        ([], False, False, "finds nothing to do: this page was the last job."),
        (["a"], False, False, "finds nothing to do: this page was the last job."),  # as at quick
        (["a"], True, False, "makes the other experiments of this scale, and this page again"),
        ([], False, True, "makes what this partial run left out: experiments and cells without"),
        (["a", "b"], True, True, "without results. It makes the other experiments of this scale"),
    ],
)
def test_a_plain_re_run_does_what_is_said(model, only, restricted, partial, said):
    html = section_of(model, only=only, restricted=restricted, partial=partial)
    (text,) = rows(html)["A plain re-run"]
    assert said in text
    assert ("nothing to do" in text) == (not restricted and not partial)
    assert (f"this run was of {', '.join(only)} alone." in text) == restricted
    assert text.endswith("From an empty folder jobs take the time above, shared by the cores.")


def test_rules_and_experiments_have_times_and_memory(model):
    html = section_of(model, parts=[times("kernel_profile", 3600.0)])
    for what in ("Rule", "Experiment"):
        heads = ["Jobs", "Wall time", "Processor time", "Peak memory"]
        assert rows(html)[what] == heads
    assert rows(html)["train_ensemble"] == ["3", "2 min 31 s", "2 min 16 s", "812 MB"]
    assert rows(html)["kernel_profile"] == ["3", "1 h 00 min", "54 min 0 s", "812 MB"]


def test_the_machine_and_the_picture_of_the_rules_are_shown(model):
    html = section_of(model)
    for name, value in PROVENANCE["machine"].items():
        assert rows(html)[name] == [value]
    assert rows(html)["Time of all jobs"] == ["2 min 45 s, on processors 2 min 20 s"]
    assert 'class="diagram"' in html
    assert "3 jobs, 2 min 31 s" in html
    assert 'class="diagram"' not in section_of(model, diagram=None)
