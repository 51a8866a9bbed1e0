"""Summarise the training of every network: turning points and correlations of its kernel."""

from job import run_job
from ntkstudy.data.tables import read_table, write_table
from ntkstudy.derived.evolution import summarise_evolution


def main(input: dict, output: dict) -> None:
    """Write one row per network from its kernel and its losses along training."""
    table = summarise_evolution(read_table(input["gram"]), read_table(input["classification"]))
    write_table(output["table"], table)


run_job(main, globals())
