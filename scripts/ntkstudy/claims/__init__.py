"""Judge claims from tables: a verdict follows from criteria, each with its uncertainty over seeds.

A criterion reduces a table to one number per group of seeds (or one per value of an axis), gives it
an interval (see `uncertainty`), and compares the interval with what the claim allows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf
from typing import Any

import numpy as np
import pandas as pd

from ntkflow.errors import ConfigurationError

from ..options import read_options
from ..texts import explain_claim
from . import lines  # noqa: F401, criteria are known once they are imported
from .criteria import combine
from .horizon import horizon
from .registry import CRITERIA
from .samples import AbsentError, Sample
from .uncertainty import LEAST, Interval

# What is said of the draws behind a number where there are none.
EXACT = {"level": None, "method": "exact", "n": None, "counts": "", "intervals": 0}


@dataclass(frozen=True)
class Judgement:
    """One criterion judged: the number, its interval, what was allowed, and the status.

    Ends of an interval are None where it is open; level and n are None of a number without
    uncertainty, which has the method `exact`.
    """

    role: str
    kind: str
    description: str
    table: str
    unit: str
    allowed: str
    status: str  # holds, fails, straddles, absent or, of an excess, measured
    value: float | None = None
    low: float | None = None
    high: float | None = None
    level: float | None = None
    method: str = ""
    n: int | None = None  # draws at the point that has fewest
    counts: str = ""  # what n counts
    intervals: int = 0  # how many the status hangs on
    note: str = ""
    name: str | None = None


def judge_claim(
    claim: Mapping[str, Any], tables: Mapping[str, pd.DataFrame], *, scale: str = "default"
) -> dict[str, Any]:
    """Judge one claim.

    Args:
        claim: an entry of config/claims.
        tables: the tables of the claim's experiment by name; empty if it was not run.
        scale: of the run, which explanations may be written for.

    Returns:
        The claim's texts with `verdict`, `reason`, `measured`, `criteria` and, of a claim about a
        limit, `horizon` added; `explanation` is the one for the verdict, or `explanation_note`
        says why there is none.

    Raises:
        ConfigurationError: if a criterion names a column that its table lacks, or its `where`
            leaves several rows per seed.
    """
    try:
        judged = [
            judge_criterion(
                criterion, role, claim.get("requires", {}) if role != "excess" else {}, tables
            )
            for role in ("observation", "explanation", "correction", "excess")
            for criterion in claim["criteria"].get(role, [])
        ]
    except ConfigurationError as error:
        raise ConfigurationError(f"{claim['id']}: {error}") from None
    verdict, reason = decide(judged)
    criteria = [asdict(one) for one in judged]
    explanation, note = explain_claim(claim["explanation"], verdict, criteria, scale)
    return {
        "id": claim["id"],
        "source": claim["source"],
        "counts_as": claim.get("counts_as", "source"),
        "section": claim["section"],
        "experiment": claim["experiment"],
        "statement": claim["statement"],
        "published": claim["published"],
        "read_in": list(claim.get("read_in", ["not known"])),
        "deviations": list(claim.get("deviations", [])),
        "measured": summarise(judged),
        "verdict": verdict,
        "reason": reason,
        "flags": list(claim.get("flags", [])),
        "criteria": criteria,
        "horizon": _horizon(claim, judged, tables),
        "explanation": explanation,
        "explanation_note": note,
        "history": list(claim.get("history", [])),
        "figures": list(claim.get("figures", [])),
    }


def _horizon(
    claim: Mapping[str, Any], judged: Sequence[Judgement], tables: Mapping[str, pd.DataFrame]
) -> dict[str, Any] | None:
    """Of a claim about a limit, how far it was followed."""
    if claim.get("horizon") is None:
        return None
    axis, name = claim["horizon"]["axis"], claim["horizon"]["criterion"]
    entries = [one for entries in claim["criteria"].values() for one in entries]
    criterion = next(one for one in entries if one.get("name") == name)
    criterion = {"where": {}} | criterion
    found = next(one for one in judged if one.name == name)

    def judge(part: pd.DataFrame) -> Judgement:
        return judge_criterion(criterion, found.role, {}, {criterion["table"]: part})

    return horizon(axis, criterion, found, tables.get(criterion["table"]), judge)


def decide(judged: Sequence[Judgement]) -> tuple[str, str]:
    """Verdict and reason from the criteria.

    Anything absent: not run. Observation fails: contradicted. Explanation fails and correction
    holds: corrected; without a correction that holds: contradicted. All hold: reproduced. An
    interval across a bound where the verdict hangs on it: inconclusive. The role `excess` is shown
    beside the verdict and has no part in it.
    """
    absent = [one.note for one in judged if one.status == "absent" and one.role != "excess"]
    if absent:
        return "not run", absent[0]
    observation, explanation, correction = (
        combine(one.status for one in judged if one.role == role)
        for role in ("observation", "explanation", "correction")
    )
    if observation == "fails":
        return "contradicted", "the observation does not appear"
    if observation == "straddles" or explanation == "straddles":
        return "inconclusive", "an interval straddles its bound"
    if explanation == "holds":
        return "reproduced", ""
    if not any(one.role == "correction" for one in judged) or correction == "fails":
        return "contradicted", "the observation appears, its explanation fails"
    if correction == "straddles":
        return "inconclusive", "the correction's interval straddles its bound"
    return "corrected", "the observation appears, its explanation fails, the correction holds"


def summarise(judged: Sequence[Judgement]) -> str:
    """Measured numbers of a claim in one line, for readers of claims.json."""
    parts = []
    for one in judged:
        if one.value is None:
            continue
        text = f"{one.value:.4g}"
        if one.low is not None and one.high is not None:
            text += f" [{one.low:.4g}, {one.high:.4g}]"
        parts.append(f"{one.description}: {text}")
    return "; ".join(parts)


def judge_criterion(
    criterion: Mapping[str, Any],
    role: str,
    requires: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame],
) -> Judgement:
    """Judge one criterion; what is missing makes it absent, with the reason in its note."""
    kind = CRITERIA[criterion["kind"]]
    options = read_options(kind.options, criterion)
    said = dict(
        role=role, kind=criterion["kind"], description=criterion["description"],
        table=options.table, unit=options.unit, allowed=kind.describe_allowed(options),
        name=options.name,
    )  # fmt: skip
    try:
        sample = Sample.read(options, requires, tables, trend=kind.trend)
    except AbsentError as reason:
        return Judgement(**said, status="absent", note=str(reason))
    outcome = kind.judge(options, sample)
    found = outcome.interval or Interval(-inf, inf, "")
    drawn = dict(
        level=found.level, method=found.method, n=sample.n, counts=sample.counts,
        intervals=outcome.intervals,
    )  # fmt: skip
    least = LEAST[getattr(options, "statistic", "mean")]
    few = not sample.exact and sample.n < least
    lack = f"an interval needs {least} {sample.counts}, there are {sample.n}" if few else ""
    return Judgement(
        **said, status=outcome.status, value=outcome.value, low=_finite(found.low),
        high=_finite(found.high), note="; ".join(filter(None, [sample.note, lack])),
        **(EXACT if sample.exact else drawn),
    )  # fmt: skip


def _finite(end: float) -> float | None:
    """An open end is None: JSON knows no infinity."""
    return end if np.isfinite(end) else None
