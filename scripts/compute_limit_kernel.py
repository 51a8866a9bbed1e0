"""Compute the same measurements for the infinitely wide network."""

from job import run_job
from ntkstudy.data.dataset import open_dataset
from ntkstudy.data.storage import write_file
from ntkstudy.registry import load
from ntkstudy.subjects.limit import Limit
from ntkstudy.subjects.measuring import measure
from ntkstudy.subjects.networks import build_narrow


def main(input: dict, output: dict, cfg: dict, device: str) -> None:
    """Write one group per measurement, in float64."""
    load(cfg["modules"])
    with open_dataset(input["dataset"]) as data:
        limit = Limit(build_narrow(cfg["network"], *data.sizes), device)
        arrays = measure(cfg["measurements"], "limit", limit, data)
    write_file(output["measurements"], cfg, arrays, device=device, dtype="float64")


run_job(main, globals())
