"""Time how long each Fourier mode takes to be learned, and what its eigenvalue predicts."""

import pandas as pd

from job import run_job
from ntkstudy.data.collected import Tables
from ntkstudy.data.tables import write_table
from ntkstudy.derived.learning import learning_times


def main(input: dict, output: dict, cfg: dict) -> None:
    """Write one tidy table from the modes along training and the limit's eigenvalues."""
    tables, rates = Tables(input["tables"]), pd.DataFrame(cfg["rates"])
    table = learning_times(tables["training_modes"], tables["limit_circle_spectrum"], rates)
    write_table(output["table"], table)


run_job(main, globals())
