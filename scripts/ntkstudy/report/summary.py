"""Judged claims in few words: the number that tells, an answer, what a figure found."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ..numbers import format_interval, format_measured, signs

Claim = Mapping[str, Any]  # as in claims.json

VERDICTS = (
    *("reproduced", "corrected", "contradicted", "inconclusive"),
    *("indicated", "not indicated", "not run"),
)

# Which criterion a verdict hangs on: roles, and statuses, that are looked for in turn.
_TELLING = {
    "corrected": (("correction", None), ("explanation", "fails")),
    "contradicted": (("observation", "fails"), ("explanation", "fails")),
    "not indicated": (("observation", "fails"), ("explanation", "fails")),
    "inconclusive": (("observation", "straddles"), ("explanation", "straddles")),
}
_HOLDS, _PARTLY = {"reproduced", "indicated"}, {"corrected"}
_FAILS = {"contradicted", "not indicated"}


def telling(claim: Claim) -> Mapping[str, Any] | None:
    """The criterion that a claim's verdict hangs on, None where no number was measured."""
    measured = [one for one in claim["criteria"] if one["value"] is not None]
    for role, status in (*_TELLING.get(claim["verdict"], ()), ("observation", None)):
        for one in measured:
            if one["role"] == role and status in (None, one["status"]):
                return one
    return measured[0] if measured else None


def tell(criterion: Mapping[str, Any]) -> str:
    """A criterion's number with its unit and interval: "−0.51 (−0.56 to −0.46)"."""
    low, high = criterion["low"], criterion["high"]
    unit = "" if criterion["unit"] == "1" else f" {criterion['unit']}"
    known = low is not None and high is not None and low < high
    interval = f" ({format_interval(low, high)})" if known else ""
    return f"{format_measured(criterion)}{unit}{interval}"


def answer(claims: Sequence[Claim]) -> str:
    """What the verdicts on an experiment's claims say to its question, empty without claims."""
    if not claims:
        return ""
    counted = Counter(claim["verdict"] for claim in claims)
    judged = len(claims) - counted["not run"]
    if not judged:
        return "No claim on it is judged at this scale."
    holds, partly, fails = (sum(counted[v] for v in which) for which in (_HOLDS, _PARTLY, _FAILS))
    if holds == judged:
        said = "What is claimed holds"
    elif fails == judged:
        said = "What is claimed does not hold"
    elif not holds and not partly and not fails:
        said = "What is claimed is not decided"
    else:
        said = "What is claimed holds in part"
    reduced = counted["indicated"] + counted["not indicated"]
    form = ", in a reduced form" if reduced == judged else ""
    counts = ", ".join(f"{counted[each]} {each}" for each in VERDICTS if counted[each])
    noun = "claim" if len(claims) == 1 else "claims"
    return f"{said}{form}: {len(claims)} {noun}, {counts}."


def finding(caption: str, claims: Iterable[Claim]) -> str:
    """Text in place of a figure: what it shows, and what came out of the claims it stands by."""
    parts = [caption.split(". ")[0].rstrip(".")]
    for claim in claims:
        number = telling(claim)
        if number is not None:
            parts.append(
                f"{claim['verdict'].capitalize()}: {number['description']}, {tell(number)}"
            )
    return ". ".join(parts) + "."


@cache
def _judged(file: Path) -> list[Claim]:
    return json.loads(file.read_text(encoding="utf-8"))["claims"]


def claims_by(
    file: str | Path, experiment: str, *, figure: str | None = None, table: str | None = None
) -> str:
    """The claims by a figure, or from a table, in one line: id, verdict, number, what is allowed.

    Args:
        file: claims.json, which need not exist yet.
        experiment: name of an experiment.
        figure: name of one of its figures.
        table: name of one of its tables.
    """
    path, said = Path(file), []
    for claim in _judged(path) if path.exists() else []:
        tables = {criterion["table"] for criterion in claim["criteria"]}
        if claim["experiment"] == experiment and (figure in claim["figures"] or table in tables):
            number = telling(claim)
            told = f" {tell(number)}, allowed {signs(number['allowed'])}" if number else ""
            said.append(f"{claim['id']} {claim['verdict']}{told}")
    return "; ".join(said)
