"""claims.json: all claims judged, with the tables behind them, and the schema that it fits."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..data.collected import Tables
from ..plan.configuration import validate
from .uncertainty import LEVEL

FORMAT = 2


def build_document(
    sources: Mapping[str, Any],
    claims: Sequence[Mapping[str, Any]],
    judged: Sequence[Mapping[str, Any]],
    tables: Mapping[str, Tables],
    *,
    scale: str,
) -> dict[str, Any]:
    """The document of a run.

    Args:
        sources: title and description by name.
        claims: entries of config/claims.
        judged: what `judge_claim` made of each of them.
        tables: those of each experiment.
        scale: name of the folder of results.
    """
    found = [
        one
        | {
            "scale": compare_scale(claim.get("source_ran", {}), one, tables),
            "criteria": [
                criterion
                | {"control": criterion.get("control"), "sha256": _sha256(one, criterion, tables)}
                for criterion in one["criteria"]
            ],
        }
        for claim, one in zip(claims, judged, strict=True)
    ]
    return {
        "format": FORMAT,
        "scale": scale,
        "sources": dict(sources),
        "families": find_families(judged),
        "claims": found,
    }


COLUMNS = {
    "claim": ("source", "id", "verdict", "statement", "published"),
    "criterion": (
        *("role", "description", "value", "low", "high", "unit", "n", "counts", "allowed"),
        *("status", "table", "sha256"),
    ),
}


def as_table(document: Mapping[str, Any]) -> pd.DataFrame:
    """The claims as a table, a row a criterion, for readers who have no JSON at hand.

    Args:
        document: of `build_document`.
    """
    rows = [
        {key: one[key] for key in COLUMNS["claim"]}
        | {key: criterion[key] for key in COLUMNS["criterion"]}
        for one in document["claims"]
        for criterion in one["criteria"]
    ]
    return pd.DataFrame(rows, columns=[*COLUMNS["claim"], *COLUMNS["criterion"]])


def check_document(document: Mapping[str, Any], schema: str | Path, *, source: str) -> None:
    """Check a document against the schema that ships with it.

    Args:
        document: of `build_document`, or read from claims.json.
        schema: a JSON file.
        source: file named in the error.

    Raises:
        ConfigurationError: one line with the place, the value and what is allowed.
    """
    rules = json.loads(Path(schema).read_text(encoding="utf-8"))
    validate(document, rules, source=source)


def find_families(judged: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Claims by the table that they are judged on, with what chance alone would turn.

    A verdict that hangs on k intervals of the level .95 turns by chance with a probability of at
    most min(1, .05 k); `by_chance` is the sum of these over the claims of a table. Numbers without
    uncertainty, excesses and what was not run have no part in it.
    """
    counts: dict[tuple[str, str], dict[str, int]] = {}
    for claim in judged:
        for one in claim["criteria"]:
            if one["role"] != "excess" and one["intervals"]:
                family = counts.setdefault((claim["experiment"], one["table"]), {})
                family[claim["id"]] = family.get(claim["id"], 0) + one["intervals"]
    return [
        {
            "experiment": experiment,
            "table": table,
            "claims": list(family),
            "intervals": sum(family.values()),
            "by_chance": sum(min(1.0, (1 - LEVEL) * number) for number in family.values()),
        }
        for (experiment, table), family in counts.items()
    ]


def compare_scale(
    source_ran: Mapping[str, float], judged: Mapping[str, Any], tables: Mapping[str, Tables]
) -> list[dict[str, Any]]:
    """Largest values of axes here against those of the source; `seeds` is the fewest draws judged.

    Args:
        source_ran: largest value of each axis in the source.
        judged: a judged claim.
        tables: those of each experiment.
    """
    rows = []
    for axis, theirs in source_ran.items():
        here = _draws(judged) if axis == "seeds" else _largest(axis, judged, tables)
        ratio = here / theirs if here is not None else None
        rows.append({"axis": axis, "source": theirs, "here": here, "ratio": ratio})
    return rows


def _draws(judged: Mapping[str, Any]) -> float | None:
    numbers = [one["n"] for one in judged["criteria"] if one["role"] != "excess"]
    return min((float(n) for n in numbers if n is not None), default=None)


def _largest(axis: str, judged: Mapping[str, Any], tables: Mapping[str, Tables]) -> float | None:
    known = tables.get(judged["experiment"], {})
    names = {one["table"] for one in judged["criteria"]}
    columns = [known[name][axis] for name in names if name in known and axis in known[name]]
    return max((float(column.max()) for column in columns if len(column)), default=None)


def _sha256(
    judged: Mapping[str, Any], criterion: Mapping[str, Any], tables: Mapping[str, Tables]
) -> str | None:
    """Checksum of the file of a criterion's table, None if there is none."""
    known = tables.get(judged["experiment"], {})
    return known.sha256(criterion["table"]) if criterion["table"] in known else None
