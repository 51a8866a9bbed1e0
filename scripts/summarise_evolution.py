"""Summarise the training of every network: turning points and correlations of its kernel."""

import pandas as pd

from job import run_job
from ntkstudy.data.storage import replacing
from ntkstudy.derived.evolution import summarise_evolution


def main(input: dict, output: dict) -> None:
    """Write one row per network from its kernel and its losses along training."""
    table = summarise_evolution(pd.read_csv(input["gram"]), pd.read_csv(input["classification"]))
    with replacing(output["table"]) as temporary:
        table.to_csv(temporary, index=False, float_format="%.9g")


run_job(main, globals())
