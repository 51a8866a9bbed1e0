"""A run's verdicts as a page of the documentation."""

import json

import write_results_docs


def claim(name: str, source: str, verdict: str, measured: str) -> dict:
    """A judged claim, as far as the page reads it."""
    return {
        "id": name,
        "source": source,
        "statement": f"Sentence of\n{name}.",
        "published": "1 | 2",
        "measured": measured,
        "verdict": verdict,
    }


def test_every_claim_has_a_row_with_its_verdict_under_its_source(tmp_path):
    results = tmp_path / "quick"
    (results / "benchmarks/train").mkdir(parents=True)
    for name, seconds in [("a", 1800), ("train/b", 5400)]:
        text = f"s\tcpu_time\n1.0\t{seconds}\n"
        (results / f"benchmarks/{name}.tsv").write_text(text)
    long = "; ".join(f"number {i}: {i}.5 [0, 9]" for i in range(40))
    model = {
        "scale": "quick",
        "sources": {"one": {"title": "One"}, "none": {"title": "None"}, "two": {"title": "Two"}},
        "claims": [
            claim("one.a", "one", "indicated", "slope: 1 [0, 2]"),
            claim("two.a", "two", "not run", ""),
            claim("two.b", "two", "indicated", long),
        ],
    }
    (results / "claims.json").write_text(json.dumps(model), encoding="utf-8")
    page = write_results_docs.page(results, "abc1234")
    opening = " ".join(page.split())
    assert "revision `abc1234`" in page
    assert "[Its report](report_quick.html)" in page
    assert "2 jobs, 2.0 hours" in opening
    assert "make report SCALE=quick" in page
    assert "| indicated | 2 |\n| not run | 1 |" in page
    first, second = page.split("## One")[1].split("## Two")
    row = "| `one.a` | Sentence of one.a. | 1 \\| 2 | slope: 1 [0, 2] | indicated |"
    assert row in first
    assert "two.a" in second
    assert "two.b" in second
    assert "## None" not in page
    assert "number 3: 3.5 [0, 9]" in second
    assert "number 39" not in second
    assert "; ... | indicated |" in second
