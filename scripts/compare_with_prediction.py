"""Compare trained networks with the prediction of their infinitely wide counterpart."""

from job import run_job
from ntkstudy.data.tables import read_table, write_table
from ntkstudy.derived.comparison import COMPARISONS


def main(input: dict, output: dict, cfg: dict) -> None:
    """Write one tidy table from a measured one and a predicted one."""
    compare = COMPARISONS[cfg["kind"]]
    compared = compare(read_table(input["trained"]), read_table(input["predicted"]))
    write_table(output["table"], compared)


run_job(main, globals())
