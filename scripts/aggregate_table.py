"""Collect one tidy table of an experiment: one observation a row."""

import pandas as pd

from job import run_job
from ntkflow.storage import replacing
from ntkflow.tables import read_group


def main(input: dict, output: dict, cfg: dict) -> None:
    """Join one HDF5 group of all cells and seed blocks; swept values become columns."""
    files = [input["files"]] if isinstance(input["files"], str) else input["files"]
    table = pd.concat(
        [read_group(file, cfg["stage"], cfg["group"]) for file in files], ignore_index=True
    )
    with replacing(output["table"]) as temporary:
        table.to_csv(temporary, index=False, float_format="%.9g")


run_job(main, globals())
