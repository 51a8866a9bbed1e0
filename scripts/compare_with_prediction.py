"""Compare trained networks with the prediction of their infinitely wide counterpart."""

import pandas as pd

from job import run_job
from ntkstudy.data.storage import replacing
from ntkstudy.derived.comparison import COMPARISONS


def main(input: dict, output: dict, cfg: dict) -> None:
    """Write one tidy table from a measured one and a predicted one."""
    compared = COMPARISONS[cfg["kind"]](
        pd.read_csv(input["trained"]), pd.read_csv(input["predicted"])
    )
    with replacing(output["table"]) as temporary:
        compared.to_csv(temporary, index=False, float_format="%.9g")


run_job(main, globals())
