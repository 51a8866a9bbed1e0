"""Time how long each Fourier mode takes to be learned, and what its eigenvalue predicts."""

import pandas as pd

from job import run_job
from ntkstudy.data.tables import read_table, write_table
from ntkstudy.derived.learning import learning_times


def main(input: dict, output: dict, cfg: dict) -> None:
    """Write one tidy table from the modes along training and the limit's eigenvalues."""
    modes, spectrum = read_table(input["modes"]), read_table(input["spectrum"])
    write_table(output["table"], learning_times(modes, spectrum, pd.DataFrame(cfg["rates"])))


run_job(main, globals())
