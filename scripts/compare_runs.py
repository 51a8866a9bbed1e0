"""Compare the claims of two runs: which verdicts, or values beyond their intervals, have changed.

    python scripts/compare_runs.py results/default results/mine --page both.html

The page has all claims of both runs side by side. The exit status is 0 where nothing has changed,
1 where something has, 2 where a run cannot be read.
"""

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ntkflow.errors import ConfigurationError
from ntkstudy.report.comparison_page import comparison_page

SAME, CHANGED, BAD_INPUT = 0, 1, 2
ABSENT = "absent"
_ROUNDING = 1e-6  # relative: tables hold nine digits

Row = tuple[str, str, str, str]


def read_claims(folder: str | Path) -> dict[str, dict[str, Any]]:
    """Judged claims of a run by their names.

    Args:
        folder: results/<scale>, or a file like its claims.json.

    Raises:
        ConfigurationError: if there is none, or it is no list of judged claims.
    """
    path = Path(folder)
    file = path / "claims.json" if path.is_dir() else path
    try:
        claims = json.loads(file.read_text(encoding="utf-8"))["claims"]
        return {
            claim["id"]: {
                "verdict": claim["verdict"],
                "statement": claim["statement"],
                # Runs of version 0.1 have no units.
                "criteria": [{"unit": "1"} | one for one in claim["criteria"]],
            }
            for claim in claims
        }
    except OSError as error:
        raise ConfigurationError(
            f"{file}: cannot be read: {error.strerror}; allowed: a folder of results that has "
            "claims.json"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise ConfigurationError(
            f"{file}: holds no judged claims; allowed: what `make report` writes"
        ) from None


def differences(first: Mapping[str, Mapping], second: Mapping[str, Mapping]) -> list[Row]:
    """What differs, in the order of the first run: claim, criterion or `verdict`, and both sides.

    A value has changed if each lies outside the interval of the other; without intervals, if its
    status has.
    """
    rows: list[Row] = []
    for name in dict.fromkeys([*first, *second]):
        sides = [run[name]["verdict"] if name in run else ABSENT for run in (first, second)]
        if sides[0] != sides[1]:
            rows.append((name, "verdict", *sides))
        if ABSENT not in sides:
            rows += _changed_values(name, first[name]["criteria"], second[name]["criteria"])
    return rows


def _changed_values(name: str, first: Sequence[Mapping], second: Sequence[Mapping]) -> list[Row]:
    """Criteria of one claim, told apart by role and description, that have changed."""
    others = {(one["role"], one["description"]): one for one in second}
    found = []
    for one in first:
        other = others.get((one["role"], one["description"]))
        if other is not None and _differ(one, other):
            found.append((name, one["description"], _tell(one), _tell(other)))
    return found


def _differ(one: Mapping, other: Mapping) -> bool:
    if one["value"] is None or other["value"] is None:
        return False  # one of them was not run, which the verdict tells
    if all(each["low"] is None and each["high"] is None for each in (one, other)):
        return one["status"] != other["status"]
    return not _holds(one, other["value"]) and not _holds(other, one["value"])


def _holds(one: Mapping, value: float) -> bool:
    """Whether the interval of a criterion, whose ends may be open, contains a value."""
    low = -math.inf if one["low"] is None else one["low"]
    high = math.inf if one["high"] is None else one["high"]
    slack = _ROUNDING * abs(value)
    return low - slack <= value <= high + slack


def _tell(one: Mapping) -> str:
    """A value with its interval."""
    ends = ["" if one[end] is None else f"{one[end]:.4g}" for end in ("low", "high")]
    interval = f" [{ends[0]}, {ends[1]}]" if any(ends) else f" ({one['status']})"
    return f"{one['value']:.4g}{interval}"


def as_table(rows: Sequence[Row], names: tuple[str, str]) -> str:
    """Rows as a table of aligned columns."""
    lines = [("claim", "what", *names), *rows]
    widths = [max(len(line[place]) for line in lines) for place in range(3)]
    return "\n".join(
        "  ".join([*(line[place].ljust(widths[place]) for place in range(3)), line[3]])
        for line in lines
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare two runs and print what has changed; the exit status tells."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("first", help="folder of results, or a file claims.json")
    parser.add_argument("second", help="the same, of the other run")
    parser.add_argument("--page", help="write both runs side by side to this HTML file")
    given = parser.parse_args(arguments)
    try:
        first, second = read_claims(given.first), read_claims(given.second)
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return BAD_INPUT
    rows = differences(first, second)
    if given.page:
        changed, names = {row[0] for row in rows}, (given.first, given.second)
        page = Path(given.page)
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(comparison_page(first, second, changed, names), encoding="utf-8")
        print(f"Side by side: {page.resolve()}")
    if not rows:
        print(f"{len(first)} claims: no verdict and no value beyond its interval has changed.")
        return SAME
    print(as_table(rows, (given.first, given.second)))
    return CHANGED


if __name__ == "__main__":
    sys.exit(main())
