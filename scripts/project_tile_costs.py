"""Project what a large kernel takes from what its tiles cost in a small one."""

import pandas as pd

from job import run_job
from ntkstudy.data.collected import Tables
from ntkstudy.data.tables import write_table
from ntkstudy.derived.tile_costs import tile_costs


def main(input: dict, output: dict, cfg: dict) -> None:
    """Write a row for each number of nodes."""
    files = input["benchmarks"]
    files = [files] if isinstance(files, str) else files
    jobs = pd.concat([pd.read_csv(file, sep="\t", na_values="-") for file in files])
    write_table(output["table"], tile_costs(Tables(input["tables"])["tiles"], jobs["s"], **cfg))


run_job(main, globals())
