import json

import pytest

from audit_requirements import judge, read_findings

FOUND = {"id": "PYSEC-1", "fix_versions": ["2.0"], "aliases": [], "description": "bad"}


def answer(*packages):
    return json.dumps({"dependencies": packages, "fixes": []})


CLEAN = {"name": "numpy", "version": "2.0", "vulns": []}
BAD = {"name": "torch", "version": "1.0", "vulns": [FOUND]}
SKIPPED = {"name": "h5py", "skip_reason": "Dependency not found on PyPI"}


@pytest.mark.parametrize(
    ("text", "status", "line"),
    [
        (answer(CLEAN), 0, "No vulnerability of a pinned package is known."),
        (answer(CLEAN, BAD), 1, "torch 1.0: PYSEC-1; fixed in 2.0"),
        (
            answer(SKIPPED, CLEAN),
            2,
            "No audit: the package index does not answer for 1 packages (h5py)",
        ),
        ("", 2, "The audit failed: pip-audit ended with status 1."),
    ],
)
def test_what_pip_audit_says_is_one_line(text, status, line):
    found, lines = judge(1, text)
    assert found == status
    assert len(lines) == 1
    assert lines[0].startswith(line)


def test_a_finding_can_be_explained():
    lines, unknown = read_findings(answer(BAD), {"PYSEC-1": "no server runs here"})
    assert lines == ["torch 1.0: PYSEC-1; explained: no server runs here"]
    assert unknown == []
