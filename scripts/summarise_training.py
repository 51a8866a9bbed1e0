"""Boil tables along training down to one row a network: largest gaps, times, fitted rates."""

from pathlib import Path

import pandas as pd

from job import run_job
from ntkstudy.data.storage import replacing
from ntkstudy.derived.summaries import SUMMARIES


def main(input: dict, output: dict, cfg: dict) -> None:
    """Write one tidy table, made by the function of its name in `SUMMARIES`."""
    files = [input["tables"]] if isinstance(input["tables"], str) else input["tables"]
    tables = {Path(file).stem: pd.read_csv(file) for file in files}
    kind = Path(output["table"]).stem
    table = SUMMARIES[kind](tables, pd.DataFrame(cfg["rates"]))
    with replacing(output["table"]) as temporary:
        table.to_csv(temporary, index=False, float_format="%.9g")


run_job(main, globals())
