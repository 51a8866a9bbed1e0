"""Made-up tables with every row and column that the criteria of a claim name."""

from collections.abc import Mapping
from itertools import chain, product

import numpy as np
import pandas as pd

CASES = ["distinct points", "hexagon, bias", "hexagon", "duplicated input"]
# Axes whose values follow from those of others.
TOLD_BY = {
    "predicted": (["mode"], lambda rows: 10.0 * rows["mode"] ** 2),
    "parameters": (["width"], lambda rows: rows["width"] ** 2),
    "beta": (["depth", "width"], lambda rows: rows["depth"] / rows["width"]),
    "definite": (["case"], lambda rows: rows["case"].isin(CASES[:2]).astype(int)),
    "hexagon": (["case"], lambda rows: rows["case"].isin(CASES[1:3]).astype(int)),
    "degenerate": (["case"], lambda rows: rows["case"].isin(CASES[3:]).astype(int)),
}
# Means of columns that are no noise around 1, where controls read them.
MEANS = {"to_mean": 0.1, "null": 0.1, "numerical": 100.0}
SEEDS = 20
ROLES = ("observation", "explanation", "correction")


def criteria_of(claim: Mapping) -> list[dict]:
    return [one for role in ROLES for one in claim["criteria"].get(role, [])]


def reads(criterion: Mapping) -> list[dict]:
    """What a criterion and its control read: table, column, where, relative_to, along, over."""
    control = criterion.get("control") or {}
    own = {key: criterion.get(key) for key in ("table", "column", "where", "relative_to", "along")}
    own |= {key: criterion.get(key) for key in ("expected", "over", "statistic", "counting")}
    other = own | {
        key: control[key] for key in ("table", "column", "relative_to") if key in control
    }
    other |= {"where": own["where"] | control.get("where", {}), "expected": None}
    return [own, other]


def make_tables(claim: Mapping) -> dict[str, pd.DataFrame]:
    """Tables of noise around 1, one row for each point and seed that the claim asks for."""
    wanted = list(chain(*map(reads, criteria_of(claim))))
    return {
        name: make_table(
            [one for one in wanted if one["table"] == name],
            claim.get("requires", {}),
            np.random.default_rng(3),
        )
        for name in dict.fromkeys(one["table"] for one in wanted)
    }


def make_table(wanted: list[dict], requires: Mapping, rng) -> pd.DataFrame:
    axes = axis_values(wanted, requires)
    repeated = next((one["over"] for one in wanted if one["over"]), "seed")
    if "seeds" in requires:
        axes[repeated] = list(range(max(requires["seeds"], SEEDS)))
    free = {name: values for name, values in axes.items() if name not in TOLD_BY}
    table = pd.DataFrame(list(product(*free.values())), columns=list(free))
    for name in set(axes) & set(TOLD_BY):
        table[name] = TOLD_BY[name][1](table)
    columns = {one["column"] for one in wanted}
    columns |= {one["expected"] for one in wanted if isinstance(one["expected"], str)}
    bounds = {
        one["counting"]["column"]: one["counting"]["below"] for one in wanted if one["counting"]
    }
    columns |= set(bounds)
    means = MEANS | {column: bound / 2 for column, bound in bounds.items()}
    for column in sorted(columns):
        noise = 1 + 0.1 * rng.standard_normal(len(table)).clip(-3, 3)
        shares = any(one["statistic"] == "share" for one in wanted if one["column"] == column)
        table[column] = 0.0 if shares else means.get(column, 1.0) * noise
    for one in wanted:
        if isinstance(one["expected"], str):
            along = one["along"]
            keys = [along] if isinstance(along, str) else along
            table[one["expected"]] = 0.05 * (1 + table.groupby(keys).ngroup().astype(float))
    return table


def axis_values(wanted: list[dict], requires: Mapping) -> dict[str, list]:
    """Values of the axes: those that criteria and requirements name, or some."""
    found: dict[str, list] = {
        axis: list(values) for axis, values in requires.items() if axis != "seeds"
    }
    ends: dict[str, set] = {}

    def along_of(one):
        along = one["along"] or []
        return [along] if isinstance(along, str) else along

    for one in wanted:
        for axis in along_of(one):
            found.setdefault(axis, [])
            if isinstance(one["expected"], list):
                found[axis] += [point for point, _ in one["expected"]]
            if one["counting"]:
                found[axis] += range(1, one["counting"]["points"] + 1)
        for axis, value in chain(one["where"].items(), (one["relative_to"] or {}).items()):
            values = found.setdefault(axis, [])
            if value in ("min", "max"):
                ends.setdefault(axis, set()).add(value)
            elif not isinstance(value, list):
                values.append(value)
    for one in wanted:
        for axis, value in one["where"].items():
            if isinstance(value, list):
                values = found[axis]
                inside = [each for each in values if value[0] <= each <= value[1]]
                few = 2 if axis in along_of(one) or axis == "mode" else 1
                values += [] if len(inside) >= few else value[:few]
    for axis, named in ends.items():
        values, required = found[axis], requires.get(axis, ())
        base = values or [1]
        values += [min(base) - 1] if "min" in named and min(base) not in required else []
        values += [max(base) + 1] if "max" in named and max(base) not in required else []
    for axis, values in found.items():
        if not values and axis not in TOLD_BY:
            values += [1, 2]
    for axis in set(found) & set(TOLD_BY):
        for teller in TOLD_BY[axis][0]:
            found.setdefault(teller, [1, 2])
    if "case" in found:
        found["case"] = CASES
    return {axis: list(dict.fromkeys(values)) for axis, values in found.items()}
