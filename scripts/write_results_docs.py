"""Keep a run in the documentation: docs/results_<scale>.md has its verdicts, from claims.json, and
docs/report_<scale>.html is its report, without animations.

python scripts/write_results_docs.py results/default
"""

import csv
import json
import re
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from ntkstudy.report.frozen import frozen
from write_docs import table

DOCS = Path("docs")
HEAD = """# Results of the {scale} scale

Verdicts and numbers of one run, kept as they were: revision `{revision}`, {day}, {jobs} jobs,
{hours:.1f} hours of processor time. [Its report](report_{scale}.html), less the animations, has
every number, figure and protocol. `make report{option}` makes it again; `make compare` tells what
differs. How a claim is judged: [verdicts](verdicts.md).
"""
LONGEST = 300  # characters of what was measured


def page(results: Path, revision: str) -> str:
    """Markdown of a run's claims, one table a source."""
    file = results / "claims.json"
    judged = json.loads(file.read_text(encoding="utf-8"))
    times = processor_seconds(results)
    scale = judged["scale"]
    head = HEAD.format(
        scale=scale,
        revision=revision,
        day=datetime.fromtimestamp(file.stat().st_mtime, UTC).date(),
        jobs=len(times),
        hours=sum(times) / 3600,
        option="" if scale == "default" else f" SCALE={scale}",
    )
    counts = Counter(claim["verdict"] for claim in judged["claims"])
    parts = [head, table("verdict", "claims", rows=[[v, str(n)] for v, n in counts.most_common()])]
    for source, about in judged["sources"].items():
        rows = [_row(claim) for claim in judged["claims"] if claim["source"] == source]
        if rows:
            head = ("claim", "sentence", "published", "measured", "verdict")
            parts += [f"\n## {about['title']}\n", table(*head, rows=rows)]
    return "\n".join([*parts, ""])


def _row(claim: dict) -> list[str]:
    measured = claim["measured"]
    if len(measured) > LONGEST:
        measured = measured[:LONGEST].rsplit(";", 1)[0] + "; ..."
    cells = claim["statement"], claim["published"], measured
    return [f"`{claim['id']}`", *(re.sub(r"\s+", " ", text) for text in cells), claim["verdict"]]


def processor_seconds(results: Path) -> list[float]:
    """Of each job, as Snakemake recorded it."""
    found = []
    for file in results.glob("benchmarks/**/*.tsv"):
        with open(file) as lines:
            found += [float(row["cpu_time"]) for row in csv.DictReader(lines, delimiter="\t")]
    return found


def main() -> None:
    """Write both pages of the run that the command line names."""
    results = Path(sys.argv[1])
    call = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    revision = subprocess.run(call, check=True, capture_output=True, text=True).stdout.strip()
    text = page(results, revision)
    report = frozen((results / "report" / "index.html").read_text(encoding="utf-8"))
    (DOCS / f"results_{results.name}.md").write_text(text, encoding="utf-8")
    (DOCS / f"report_{results.name}.html").write_text(report, encoding="utf-8")


if __name__ == "__main__":
    main()
