"""Boil tables along training down to one row a network: largest gaps, times, fitted rates."""

from pathlib import Path

import pandas as pd

from job import run_job
from ntkstudy.data.collected import Tables
from ntkstudy.data.tables import write_table
from ntkstudy.derived.summaries import SUMMARIES


def main(input: dict, output: dict, cfg: dict) -> None:
    """Write one tidy table, made by the function of its name in `SUMMARIES`."""
    summary = SUMMARIES[Path(output["table"]).stem]
    table = summary(Tables(input["tables"]), pd.DataFrame(cfg["rates"]))
    write_table(output["table"], table)


run_job(main, globals())
