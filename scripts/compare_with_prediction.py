"""Compare trained networks with the prediction of their infinitely wide counterpart."""

from job import run_job
from ntkstudy.data.collected import Tables
from ntkstudy.data.tables import write_table
from ntkstudy.derived.comparison import COMPARISONS


def main(input: dict, output: dict, cfg: dict) -> None:
    """Write one tidy table from a measured one and a predicted one."""
    tables, kind = Tables(input["tables"]), cfg["kind"]
    compared = COMPARISONS[kind](tables[f"trained_{kind}"], tables[f"prediction_{kind}"])
    write_table(output["table"], compared)


run_job(main, globals())
