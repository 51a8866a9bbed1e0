"""Two runs are compared by their verdicts and by values beyond their intervals."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import compare_runs
from ntkflow.errors import ConfigurationError

ROOT = Path(__file__).parents[1]


def criterion(value=1.0, low=0.9, high=1.1, **changes):
    return {
        "role": "observation", "description": "slope", "status": "holds",
        "value": value, "low": low, "high": high,
    } | changes  # fmt: skip


def run(**claims):
    return {
        name: {"verdict": verdict, "statement": f"The claim <{name}>", "criteria": [one]}
        for name, (verdict, one) in claims.items()
    }


BEFORE = run(a=("reproduced", criterion()), b=("not run", criterion(None, None, None)))


@pytest.mark.parametrize(
    ("claim", "rows"),
    [
        (("reproduced", criterion()), []),
        (("reproduced", criterion(1.05, 0.97, 1.13)), []),
        (("reproduced", criterion(1.2, 0.9, 1.5)), []),
        (
            ("reproduced", criterion(1.3, 1.2, 1.4)),
            [("a", "slope", "1 [0.9, 1.1]", "1.3 [1.2, 1.4]")],
        ),
        (("contradicted", criterion(1.05)), [("a", "verdict", "reproduced", "contradicted")]),
        (
            ("contradicted", criterion(3.0, 2.9, None)),
            [
                ("a", "verdict", "reproduced", "contradicted"),
                ("a", "slope", "1 [0.9, 1.1]", "3 [2.9, ]"),
            ],
        ),
        (("not run", criterion(None, None, None)), [("a", "verdict", "reproduced", "not run")]),
        (("reproduced", criterion(3.0, 2.9, 3.1, description="another")), []),
    ],
)
def test_what_has_changed(claim, rows):
    assert compare_runs.differences(BEFORE, BEFORE | run(a=claim)) == rows


def test_claims_of_one_run_alone_are_told():
    more = BEFORE | run(c=("reproduced", criterion()))
    assert compare_runs.differences(BEFORE, more) == [("c", "verdict", "absent", "reproduced")]
    assert compare_runs.differences(more, BEFORE) == [("c", "verdict", "reproduced", "absent")]


@pytest.mark.parametrize(("status", "changed"), [("holds", False), ("fails", True)])
def test_numbers_without_interval_are_compared_by_their_status(status, changed):
    one, other = (criterion(value, None, None) for value in (1.0, 4.0))
    found = compare_runs.differences(
        run(a=("reproduced", one)), run(a=("reproduced", other | {"status": status}))
    )
    assert found == ([("a", "slope", "1 (holds)", "4 (fails)")] if changed else [])


def test_exact_numbers_are_equal_up_to_rounding():
    one = run(a=("reproduced", criterion(2.0, 2.0, 2.0)))
    near = run(a=("reproduced", criterion(2.0 + 1e-9, 2.0 + 1e-9, 2.0 + 1e-9)))
    far = run(a=("reproduced", criterion(2.001, 2.001, 2.001)))
    assert compare_runs.differences(one, near) == []
    assert len(compare_runs.differences(one, far)) == 1


def write(folder, claims):
    folder.mkdir()
    listed = [{"id": name, **claim} for name, claim in claims.items()]
    (folder / "claims.json").write_text(json.dumps({"sources": {}, "claims": listed}))
    return str(folder)


def test_exit_status_and_table(tmp_path, capsys):
    first = write(tmp_path / "x", BEFORE)
    assert compare_runs.main([first, first]) == 0
    assert "2 claims: no verdict" in capsys.readouterr().out
    second = write(tmp_path / "y", BEFORE | run(b=("reproduced", criterion())))
    assert compare_runs.main([first, f"{second}/claims.json"]) == 1
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["claim", "what", first, f"{second}/claims.json"]
    assert row.split() == ["b", "verdict", "not", "run", "reproduced"]
    assert row.index("not run") == head.index(first)


def test_the_page_has_both_runs_side_by_side(tmp_path):
    second = BEFORE | run(a=("contradicted", criterion(3.0, 2.9, 3.1)), c=("not run", criterion()))
    folders = write(tmp_path / "x", BEFORE), write(tmp_path / "y", second)
    page = tmp_path / "both.html"
    assert compare_runs.main([*folders, "--page", str(page)]) == 1
    html = page.read_text(encoding="utf-8")
    rows = html.split("<tbody>")[1].split("</tr>")[:-1]
    assert ['class="changed"' in row for row in rows] == [True, False, True]
    assert "The claim &lt;a&gt;" in rows[0]
    assert "<strong>1.00 (0.90 to 1.10)</strong>" in rows[0]
    assert "<strong>3.00 (2.90 to 3.10)</strong>" in rows[0]
    assert rows[2].index("<td>—</td>") < rows[2].index("not-run")
    assert "3 claims; 2 with another verdict" in html
    assert not re.search(r"<script|src=|https?:", html)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "cannot be read: No such file or directory; allowed: a folder of results that has"),
        ("{", "holds no judged claims; allowed: what `make report` writes"),
        ("[]", "holds no judged claims"),
        ('{"claims": [{"id": "a"}]}', "holds no judged claims"),
    ],
)
def test_bad_input_is_one_line(tmp_path, capsys, text, problem):
    file = tmp_path / "claims.json"
    if text is not None:
        file.write_text(text)
    assert compare_runs.main([str(file), str(file)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"{file}: {problem}")
    assert error.count("\n") == 1
    with pytest.raises(ConfigurationError):
        compare_runs.read_claims(file)


def make(*given):
    command = ["make", "--no-print-directory", "compare", f"PYTHON={sys.executable}", *given]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize(("given", "status"), [("x x", 0), ("x y", 1), ("x z", 2)])
def test_make_compare(tmp_path, given, status):
    write(tmp_path / "x", BEFORE)
    write(tmp_path / "y", BEFORE | run(b=("reproduced", criterion())))
    first, second = (tmp_path / name for name in given.split())
    page = tmp_path / "made" / "both.html"
    done = make(f"A={first}", f"B={second}", f"PAGE={page}")
    assert page.exists() == (status != 2)
    assert (done.returncode != 0) == (status != 0)
    assert f"Error {status}" in done.stderr or status == 0


def test_make_compare_needs_both_runs():
    done = make("A=x")
    assert done.returncode != 0
    assert "make compare A=results/default B=results/mine" in done.stderr


def test_it_starts_without_the_workflow():
    code = "import sys, compare_runs; sys.exit(any(m in sys.modules for m in ('torch', 'pandas')))"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT / "scripts")
