"""How far a claim about a limit was followed: the number where it ends, and half as far.

A claim about a limit in width, time or number of samples is judged at a finite value. Its horizon
says at which, and whether the last doubling changed the judged number by more than its interval.
"""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from ..numbers import format_number
from .samples import rows_with


def horizon(
    axis: str,
    criterion: Mapping[str, Any],
    judged: Any,
    table: pd.DataFrame | None,
    judge: Callable[[pd.DataFrame], Any],
) -> dict[str, Any]:
    """Where the claim was judged on its axis, and the number without the last doubling.

    Args:
        axis: of the limit, such as width.
        criterion: the entry of the claim whose number it is.
        judged: its Judgement on the whole table.
        table: its table; None if it was not made.
        judge: Judgement of the criterion on a part of the table.

    Returns:
        `axis` and `description`; `at`, the largest value of the axis among the rows of the
        criterion; `before`, the largest one up to half of it; `value` and `earlier`, the numbers
        with all rows and with those up to `before`; `changed`, whether they differ by more than
        half the interval's length; and all of it in a sentence, `text`. None for what is not known.
    """
    found: dict[str, Any] = dict.fromkeys(("at", "before", "value", "earlier", "changed"))
    found |= {"axis": axis, "description": criterion["description"]}
    points = _points(axis, criterion, table)
    if judged.value is not None and len(points):
        found |= {"at": _plain(points.max()), "value": judged.value}
        below = points[points <= points.max() / 2 * (1 + 1e-9)]
        if len(below):
            found["before"] = _plain(below.max())
            earlier = judge(table[table[axis] <= below.max()])
            found["earlier"] = earlier.value
            found["changed"] = _changed(judged, earlier)
    return found | {"text": _sentence(found, judged)}


def _points(axis: str, criterion: Mapping[str, Any], table: pd.DataFrame | None) -> pd.Series:
    """Values of the axis among the rows that the criterion reads."""
    if table is None or axis not in table:
        return pd.Series(dtype=float)
    for name, wanted in criterion["where"].items():
        if name in table and not (name == axis and isinstance(wanted, str)):
            table = table[rows_with(table[name], wanted)]
    return table[axis].drop_duplicates()


def _changed(judged: Any, earlier: Any) -> bool | None:
    if earlier.value is None or judged.low is None or judged.high is None:
        return None
    return bool(abs(judged.value - earlier.value) > (judged.high - judged.low) / 2)


def _sentence(found: Mapping[str, Any], judged: Any) -> str:
    if found["at"] is None:
        return "Its horizon is not known: the number was not measured."
    where = f"Judged up to {found['axis']} {format_number(found['at'])}"
    if found["before"] is None:
        return f"{where}; nothing was measured at half of it."
    half = f"with rows up to {format_number(found['before'])} alone"
    if found["earlier"] is None:
        return f"{where}; {half} the number is not known."
    known = judged.low is not None and judged.high is not None
    spread = (judged.high - judged.low) / 2 if known else None
    numbers = (format_number(found[name], spread) for name in ("value", "earlier"))
    change = {
        True: "the earlier number lies outside the interval: it still changes",
        False: "the earlier number lies inside the interval",
        None: "there is no interval to compare the difference with",
    }[found["changed"]]
    return f"{where}: {next(numbers)}; {half} it is {next(numbers)}; {change}."


def _plain(value: Any) -> int | float:
    """A number of numpy as JSON has it."""
    return value.item() if hasattr(value, "item") else value
