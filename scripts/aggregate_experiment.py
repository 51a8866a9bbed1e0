"""Collect the tidy tables of an experiment: one observation a row."""

import pandas as pd

from job import run_job
from ntkstudy.data.storage import replacing
from ntkstudy.data.tables import read_group


def main(input: dict, output: dict, cfg: dict) -> None:
    """Join HDF5 groups of all cells and seed blocks, one group a table; swept values are columns.

    Files come by the stage that made them, tables in the order of `cfg["tables"]`.
    """
    for path, source in zip(output["tables"], cfg["tables"], strict=True):
        stage, group = source["stage"], source["group"]
        table = pd.concat([read_group(f, stage, group) for f in input[stage]], ignore_index=True)
        with replacing(path) as temporary:
            table.to_csv(temporary, index=False, float_format="%.9g")


run_job(main, globals())
