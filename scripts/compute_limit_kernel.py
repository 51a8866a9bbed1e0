"""Compute the same measurements for the infinitely wide network."""

from job import run_job
from ntkstudy.data.inputs import input_sizes
from ntkstudy.data.storage import open_file, write_file
from ntkstudy.measurements.limits import measure_limit
from ntkstudy.networks import build_network


def main(input: dict, output: dict, cfg: dict, device: str) -> None:
    """Write one group per measurement, in float64."""
    with open_file(input["dataset"], "dataset") as data:
        # The limit does not depend on the width: any will do.
        network = build_network({**cfg["network"], "width": 1}, *input_sizes(data))
        arrays = measure_limit(cfg["measurements"], network, data, device)
    write_file(output["measurements"], cfg, arrays, device=device, dtype="float64")


run_job(main, globals())
