"""How many draws would decide what an interval across a bound leaves open."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from math import inf
from typing import Any

from ..options import read_options
from .registry import CRITERIA

# Kinds whose bounds are no options: the number has a sign to show.
SIGNS = {"decreasing": (-inf, 0.0), "increasing": (0.0, inf), "dip": (0.0, inf)}
MOST = 5_000  # draws; beyond, the number lies on its bound as far as anybody can tell


def allowed_ends(criterion: Mapping[str, Any]) -> tuple[float, float]:
    """Lowest and highest number that a criterion allows, infinite where there is no bound."""
    kind = criterion["kind"]
    options = asdict(read_options(CRITERIA[kind].options, criterion))
    if kind in SIGNS:
        return SIGNS[kind]
    if "range" in options:
        low, high = options["range"]
        return low, high
    if kind == "matches":
        return -options["tolerance"], options["tolerance"]
    if kind in ("above", "linear"):
        return options["bound"], inf
    if kind == "draw":
        return -inf, options["deviations"]
    return -inf, options.get("bound", inf)


def needed_draws(judged: Mapping[str, Any], allowed: tuple[float, float]) -> int | None:
    """About how many draws a criterion needs whose interval straddles a bound.

    The end of an interval comes nearer to the value like one over the root of the number n of
    draws: n (r / d)^2 take it to the bound, with r its distance from the value and d that of the
    bound. A value inside what is allowed needs both ends inside, one outside that end outside which
    lies towards it.

    Args:
        judged: `value`, `low`, `high` and `n` of the criterion.
        allowed: from `allowed_ends`.

    Returns:
        The number; None where the interval is open, or more than `MOST` would be needed.

    Examples:
        >>> from ntkstudy.claims.deciding import needed_draws
        >>> found = {"value": 1.2, "low": 0.8, "high": 1.6, "n": 10}
        >>> needed_draws(found, (1.0, 3.0))  # half the interval's length would do
        40
    """
    value, low, high, n = (judged[name] for name in ("value", "low", "high", "n"))
    if None in (value, low, high, n):
        return None
    lower, upper = allowed
    below, above = (value - low, value - lower), (high - value, upper - value)
    if value < lower:
        pairs = [(high - value, lower - value)]
    elif value > upper:
        pairs = [(value - low, value - upper)]
    else:
        pairs = [below, above]
    ratios = [reach / distance if distance else inf for reach, distance in pairs]
    needed = n * max(ratios) ** 2
    return None if needed > MOST else max(n + 1, math.ceil(round(needed, 6)))


def what_decides(claim: Mapping[str, Any], judged: Mapping[str, Any]) -> str:
    """One sentence on what would decide an inconclusive claim, empty for any other.

    Args:
        claim: an entry of config/claims.
        judged: the same, judged by its full form.
    """
    if judged["verdict"] != "inconclusive":
        return ""
    places: dict[str, int] = {}
    needs = []
    for found in judged["criteria"]:
        role = found["role"]
        place = places[role] = places.get(role, -1) + 1
        if found["status"] == "straddles" and role != "excess":
            allowed = allowed_ends(claim["criteria"][role][place])
            needs.append((found, needed_draws(found, allowed)))
    few = [found for found, _ in needs if found["value"] is not None and found["low"] is None]
    if few:
        return f"{few[0]['note'].capitalize()}: {few[0]['description']}"
    open_ones = [found["description"] for found, needed in needs if needed is None]
    if open_ones:
        return f"No affordable number of draws would decide this: {open_ones[0]}"
    found, needed = max(needs, key=lambda pair: pair[1])
    return (
        f"About {needed} {found['counts']} in place of {found['n']} would decide, if the numbers "
        f"stay where they are: {found['description']}"
    )
