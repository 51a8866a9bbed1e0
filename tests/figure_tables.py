"""Small tables that every figure of the study is drawn from in tests, thinned from a run.

`PYTHONPATH=scripts:tests .venv/bin/python tests/figure_tables.py results/default` takes them anew,
where a measurement has another column: a few values of every axis, numbers with five digits.
"""

import io
import sys
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pandas as pd
from plans import ROOT, study_plan

from ntkstudy.data.tables import axes_of, read_table, with_axes
from ntkstudy.plan.describe import needed_tables
from ntkstudy.plan.planning import Plan

FILE = Path(__file__).parent / "data" / "figure_tables.zip"
FOLDERS = {"figures": ROOT / "scripts/figures", "animations": ROOT / "scripts/animations"}
FIRST = {"seed": 3, "data_seed": 3, "row": 20, "column": 20}  # values that are kept from the first
MOST = 6  # values of any other axis, evenly spread from the first to the last
STAMP = (2026, 1, 1, 0, 0, 0)  # so that equal tables are equal files


def drawn(plan: Plan) -> Iterator[tuple[str, str, str]]:
    """Every experiment with each kind and name of what it draws."""
    for name, block in plan.config["experiments"].items():
        for kind in FOLDERS:
            for figure in block[kind]:
                yield name, kind, figure


def tables_of(experiment: str, kind: str, figure: str) -> dict[str, pd.DataFrame]:
    """The small tables of a figure of an experiment."""
    names = needed_tables(FOLDERS[kind] / f"{figure}.py")
    return {name: _stored()[f"{experiment}/{name}.csv"] for name in names}


@cache
def _stored() -> dict[str, pd.DataFrame]:
    with zipfile.ZipFile(FILE) as file:
        texts = {name: file.read(name).decode() for name in file.namelist()}
    return {name: _parse(text) for name, text in texts.items()}


def _parse(text: str) -> pd.DataFrame:
    first, rest = text.split("\n", 1)
    return with_axes(pd.read_csv(io.StringIO(rest)), first.split(","))


def thin(table: pd.DataFrame, modes: list[int]) -> pd.DataFrame:
    """A few values of every axis; of modes those of the target, and of texts all."""
    for axis in axes_of(table):
        if pd.api.types.is_numeric_dtype(table[axis]) and table[axis].dtype != bool:
            values = sorted(table[axis].unique())
            if axis == "mode" and modes:
                kept = modes
            elif axis in FIRST:
                kept = values[: FIRST[axis]]
            else:
                last = len(values) - 1
                kept = [values[round(last * i / (MOST - 1))] for i in range(MOST)]
            table = table[table[axis].isin(kept)]
    entries = [name for name in table if name.startswith("entry_")]
    return table.drop(columns=entries[FIRST["column"] :])


def main(results: Path) -> None:
    """Thin the tables of a run that its figures are drawn from."""
    plan, texts = study_plan(), {}
    for experiment, kind, figure in drawn(plan):
        for name in needed_tables(FOLDERS[kind] / f"{figure}.py"):
            path = Path(plan.table_file(experiment, name)).relative_to(plan.results)
            modes = plan.block(experiment).get("task", {}).get("modes") or []
            table = thin(read_table(results / path), modes)
            text = table.to_csv(index=False, float_format="%.5g")
            texts[f"{experiment}/{name}.csv"] = f"{','.join(axes_of(table))}\n{text}"
    with zipfile.ZipFile(FILE, "w", zipfile.ZIP_DEFLATED) as file:
        for name in sorted(texts):
            file.writestr(zipfile.ZipInfo(name, STAMP), texts[name], zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
