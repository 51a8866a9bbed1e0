"""Summarise the training of every network: turning points and correlations of its kernel."""

from job import run_job
from ntkstudy.data.collected import Tables
from ntkstudy.data.tables import write_table
from ntkstudy.derived.evolution import summarise_evolution


def main(input: dict, output: dict) -> None:
    """Write one row per network from its kernel and its losses along training."""
    tables = Tables(input["tables"])
    table = summarise_evolution(tables["training_gram"], tables["training_classification"])
    write_table(output["table"], table)


run_job(main, globals())
