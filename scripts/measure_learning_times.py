"""Time how long each Fourier mode takes to be learned, and what its eigenvalue predicts."""

import pandas as pd

from job import run_job
from ntkstudy.data.storage import replacing
from ntkstudy.derived.learning import learning_times


def main(input: dict, output: dict, cfg: dict) -> None:
    """Write one tidy table from the modes along training and the limit's eigenvalues."""
    table = learning_times(
        pd.read_csv(input["modes"]), pd.read_csv(input["spectrum"]), pd.DataFrame(cfg["rates"])
    )
    with replacing(output["table"]) as temporary:
        table.to_csv(temporary, index=False, float_format="%.9g")


run_job(main, globals())
