"""Collect the tidy tables of an experiment: one observation a row."""

from job import run_job
from ntkstudy.data.tables import read_groups, write_table


def main(input: dict, output: dict, cfg: dict) -> None:
    """Join HDF5 groups of all cells and seed blocks, one group a table; swept values are columns.

    Files come by the stage that made them, tables in the order of `cfg["tables"]`.
    """
    for path, source in zip(output["tables"], cfg["tables"], strict=True):
        stage, group = source["stage"], source["group"]
        write_table(path, read_groups(input[stage], stage, group))


run_job(main, globals())
