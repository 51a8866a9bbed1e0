"""Claims judged a second time, on tables that must change the verdict.

A verdict that could not have come out otherwise says nothing. So every criterion that holds is
judged on its control: a change that its kind has (`changes`), or the rows or the number that the
claim names in their place. It must not hold there; an interval across the bound counts as caught.
A claim that is not reproduced needs, first of all, tables under which it would have been
(`mending`), and is controlled on those.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from ..options import read_options
from .changes import NAMED, change_of, constant
from .criteria import combine
from .mending import mend
from .registry import CRITERIA, Criterion
from .samples import AbsentError, Sample

CAUGHT, SURVIVED, NOT_JUDGED = "caught", "survived", "not judged"
FAILS, CANNOT_FAIL = "fails its control, as it should", "cannot fail"
ROLES = ("observation", "explanation", "correction")

Tables = Mapping[str, pd.DataFrame]


@dataclass(frozen=True)
class Control:
    """A criterion under its control: what was changed, how it came out, and what that means."""

    change: str
    status: str  # holds, fails, straddles or absent
    outcome: str  # caught, survived, cannot fail or not judged
    note: str = ""


def with_controls(
    claim: Mapping[str, Any], judged: Mapping[str, Any], tables: Tables
) -> dict[str, Any]:
    """A judged claim with its control, and with that of each of its criteria.

    Args:
        claim: as it was judged.
        judged: what `judge_claim` made of it.
        tables: of the claim's experiment by name.

    Returns:
        `judged` with `control` in every criterion (`change`, `status`, `outcome`, `note`; None for
        an excess) and in the claim: `outcome`, `status` of all criteria together on the controls,
        and `reason`; `defect` is true where one survives without a word why.

    Raises:
        ConfigurationError: if a control names a column that its table lacks, or leaves several rows
            per seed.
    """
    entries = [(role, one) for role in ROLES for one in claim["criteria"].get(role, [])]
    requires = claim.get("requires", {})
    statuses = [one["status"] for one in judged["criteria"]]
    if "absent" in statuses[: len(entries)]:
        nothing = {"outcome": NOT_JUDGED, "status": None, "reason": "", "defect": False}
        criteria = [one | {"control": None} for one in judged["criteria"]]
        return judged | {"criteria": criteria, "control": nothing}
    asked = [one for role, one in entries if role != "correction"]
    reproduced = all(status == "holds" for status in statuses[: len(asked)])
    basis = tables if reproduced else mend(asked, requires, tables)
    controls = []
    for (role, criterion), status in zip(entries, statuses, strict=False):
        own: Tables | None = tables if status == "holds" else basis
        if role == "correction" and status != "holds":
            own = mend([criterion], requires, tables)
        controls.append(control_of(criterion, requires, tables if own is None else own))
    criteria = [
        one | {"control": vars(control) if control else None}
        for one, control in zip(
            judged["criteria"], [*controls, *[None] * len(statuses)], strict=False
        )
    ]
    found = _summarise(entries, judged["criteria"], controls, reachable=basis is not None)
    return judged | {"criteria": criteria, "control": found}


def control_of(criterion: Mapping[str, Any], requires: Mapping, tables: Tables) -> Control:
    """Judge a criterion on its control, which is made from tables where it holds.

    Args:
        criterion: an entry of a claim.
        requires: what the claim requires.
        tables: tables under which the criterion holds.
    """
    kind, asked = CRITERIA[criterion["kind"]], criterion.get("control") or {}
    options = read_options(kind.options, criterion)
    if "cannot_fail" in asked:
        return Control("none", "holds", CANNOT_FAIL, asked["cannot_fail"])
    try:
        sample = Sample.read(options, requires, tables, trend=kind.trend)
        words, samples = _changed(criterion, options, sample, tables)
    except AbsentError as reason:
        return Control(asked.get("of", "rows"), "absent", NOT_JUDGED, str(reason))
    if not samples:
        return Control("none", "holds", SURVIVED, "the claim names no control for it")
    statuses = [kind.judge(options, each).status for each in samples]
    outcome = SURVIVED if "holds" in statuses else CAUGHT
    status = "holds" if "holds" in statuses else combine(statuses)
    return Control(words, status, outcome)


def _changed(
    criterion: Mapping[str, Any], options: Criterion, sample: Sample, tables: Tables
) -> tuple[str, list[Sample]]:
    """The samples of a criterion's control, and words for what was changed."""
    asked = criterion.get("control") or {}
    if not asked:
        return change_of(criterion["kind"], options, sample) or ("none", [])
    if "change" in asked:
        words, samples = NAMED[asked["change"]](sample)
        return asked.get("of", words), samples
    if "value" in asked:
        return asked["of"], [replace(sample, values=constant(options, sample, asked["value"]))]
    rows = {key: asked[key] for key in ("table", "column", "relative_to") if key in asked}
    other = replace(options, where=options.where | asked.get("where", {}), **rows)
    return asked["of"], [Sample.read(other, {}, tables)]


def _summarise(
    entries: list[tuple[str, Mapping]],
    judged: list[Mapping],
    controls: list[Control],
    *,
    reachable: bool,
) -> dict[str, Any]:
    """What the controls of its criteria say of a claim."""
    statuses = [
        control.status
        for (role, _), control in zip(entries, controls, strict=True)
        if role != "correction" and control.status != "absent"
    ]
    survivors = [
        one["description"]
        for one, control in zip(judged, controls, strict=False)
        if control.outcome == SURVIVED
    ]
    excused = list(dict.fromkeys(one.note for one in controls if one.outcome == CANNOT_FAIL))
    if not reachable:
        reason = "no tables are known under which it would have been reproduced"
    elif survivors:
        reason = f"holds on its control too: {'; '.join(survivors)}"
    else:
        reason = "; ".join(excused)
    if not statuses and reachable:
        return {"outcome": NOT_JUDGED, "status": None, "reason": controls[0].note, "defect": False}
    status, defect = combine(statuses), bool(survivors) or not reachable
    outcome = CANNOT_FAIL if defect or status == "holds" else FAILS
    return {"outcome": outcome, "status": status, "reason": reason, "defect": defect}
