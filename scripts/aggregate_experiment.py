"""Collect the tidy tables of an experiment: one observation a row."""

from pathlib import Path

from job import run_job
from ntkstudy.data.collected import write_contents
from ntkstudy.data.tables import read_groups, write_table


def main(input: dict, output: dict, cfg: dict) -> None:
    """Join HDF5 groups of all cells and seed blocks, one group a table; swept values are columns.

    Files come by the stage that made them; tables lie beside their list, which is written last.
    """
    folder = Path(output["contents"]).parent
    for name, source in cfg["tables"].items():
        stage, group = source["stage"], source["group"]
        write_table(folder / f"{name}.csv", read_groups(input[stage], stage, group))
    write_contents(output["contents"], cfg["tables"])


run_job(main, globals())
