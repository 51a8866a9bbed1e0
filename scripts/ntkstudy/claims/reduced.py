"""Claims judged by a reduced form where a run is too small for the full one.

A claim may say under `reduced` with how few seeds, and at which smaller points, a run still tells
something. What it tells is an indication: the verdict is *indicated* or *not indicated*, never
*reproduced*, and is counted apart.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from . import judge_claim
from .deciding import what_decides

FULL, REDUCED = "full", "reduced"
# What the criteria of a reduced form come out as, and the verdict that follows.
INDICATIONS = {
    "reproduced": "indicated",
    "corrected": "not indicated",
    "contradicted": "not indicated",
}


def judge_by_forms(
    claim: Mapping[str, Any], tables: Mapping[str, pd.DataFrame], *, scale: str = "default"
) -> dict[str, Any]:
    """Judge one claim by its full form or, where this was not run, by its reduced form.

    A reduced form whose interval straddles a bound leaves the claim *not run*, with the reason.

    Args:
        claim: an entry of config/claims.
        tables: the tables of the claim's experiment by name; empty if it was not run.
        scale: of the run, which explanations may be written for.

    Returns:
        As `judge_claim`, and `form`, the one that was judged, *full* or *reduced*, `outcome`, the
        verdict of that form's criteria as the full form would give it, and `decides`, what would
        decide an inconclusive claim.

    Raises:
        ConfigurationError: as `judge_claim`.
    """
    full = judge_claim(claim, tables, scale=scale)
    if full["verdict"] != "not run" or "reduced" not in claim:
        decides = what_decides(claim, full)
        return full | {"form": FULL, "outcome": full["verdict"], "decides": decides}
    judged = judge_claim({**claim, **_reduced_form(claim)}, tables, scale=scale)
    outcome, missing = judged["verdict"], full["reason"]
    if outcome == "not run":
        return full | {"form": FULL, "outcome": outcome, "decides": ""}
    found = judged["reason"] or "all criteria hold"
    return judged | {
        "form": REDUCED,
        "outcome": outcome,
        "verdict": INDICATIONS.get(outcome, "not run"),
        "decides": "",
        "explanation_note": "The explanation is shown where the full form is judged.",
        "reason": f"in a reduced form {found}; the full one {missing}",
    }


def judged_form(claim: Mapping[str, Any], judged: Mapping[str, Any]) -> dict[str, Any]:
    """A claim with what it requires and its criteria as in the form that was judged."""
    return {**claim, **(_reduced_form(claim) if judged["form"] == REDUCED else {})}


def _reduced_form(claim: Mapping[str, Any]) -> dict[str, Any]:
    """What a claim requires and by which criteria it is judged in its reduced form.

    Its explanation and its horizon are those of the full form's numbers.
    """
    reduced = claim["reduced"]
    return {
        "requires": reduced.get("requires", {}),
        "criteria": reduced.get("criteria", claim["criteria"]),
        "explanation": "",
        "horizon": None,
    }
