"""Two runs side by side as an HTML page. Needs Python alone, as the script that compares them."""

from collections.abc import Collection, Mapping
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from ..numbers import ABSENT
from .summary import tell, telling

STYLE = Path(__file__).parents[3] / "report" / "template" / "style.css"
Run = Mapping[str, Mapping[str, Any]]  # judged claims by id

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<link rel="icon" href="data:,">
<style>
$style
body { padding-top: 1.5rem; }
.only { display: flex; gap: .5rem; align-items: center; margin: 1rem 0; }
main:has(#only:checked) tr.same { display: none; }
tr.changed > th { border-left: 4px solid var(--link); padding-left: .6rem; }
.runs { width: 100%; }
.runs :is(th, td) { width: 33%; }
.number { display: block; }
</style>
</head>
<body>
<main>
<h1>$title</h1>
<p class="subtitle">$summary</p>
<p class="only"><input type="checkbox" id="only"$checked>
<label for="only">Only what has changed</label></p>
<div class="scroll" tabindex="0" role="region" aria-label="Claims of both runs">
<table class="runs">
<thead><tr><th scope="col">Claim</th>
<th scope="col">A: $first</th><th scope="col">B: $second</th></tr></thead>
<tbody>
$rows
</tbody>
</table>
</div>
</main>
</body>
</html>
""")


def comparison_page(
    first: Run, second: Run, changed: Collection[str], names: tuple[str, str]
) -> str:
    """The page: a row a claim, with the verdict and all numbers of each run.

    Args:
        first: the claims of one run by id, as claims.json has them.
        second: those of the other.
        changed: ids of claims whose verdict, or value beyond intervals, differs.
        names: of both runs.
    """
    ids = list(dict.fromkeys([*first, *second]))
    rows = "\n".join(_row(name, first.get(name), second.get(name), name in changed) for name in ids)
    title = f"{names[0]} and {names[1]}"
    noun = "claim" if len(ids) == 1 else "claims"
    summary = (
        f"{len(ids)} {noun}; {len(changed)} with another verdict, or a value beyond intervals."
    )
    return _PAGE.substitute(
        title=escape(title),
        style=STYLE.read_text(encoding="utf-8"),
        summary=summary,
        checked=" checked" if changed else "",
        first=escape(names[0]),
        second=escape(names[1]),
        rows=rows,
    )


def _row(name: str, first: Mapping | None, second: Mapping | None, changed: bool) -> str:
    statement = escape((first or second or {})["statement"])
    kind = "changed" if changed else "same"
    head = f'<th scope="row">{statement}<br><code>{escape(name)}</code></th>'
    return f'<tr class="{kind}">{head}{_side(first)}{_side(second)}</tr>'


def _side(claim: Mapping | None) -> str:
    """Verdict and numbers of one run, the one that the verdict hangs on in bold."""
    if claim is None:
        return f"<td>{ABSENT}</td>"
    verdict = escape(claim["verdict"])
    badge = f'<span class="badge {verdict.replace(" ", "-")}">{verdict}</span>'
    first, lines = telling(claim), []
    for one in claim["criteria"]:
        if one["value"] is not None:
            number, said = escape(tell(one)), escape(one["description"])
            told = f"<strong>{number}</strong>" if one is first else number
            lines.append(f'<span class="number">{said}: {told}, {escape(one["status"])}</span>')
    return f"<td>{badge}{''.join(lines)}</td>"
