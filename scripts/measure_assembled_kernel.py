"""Measure what a kernel is good for that was made in tiles."""

from job import run_job
from ntkstudy.data.dataset import open_dataset
from ntkstudy.data.seal import check_seal
from ntkstudy.data.storage import write_file
from ntkstudy.registry import load
from ntkstudy.subjects.measuring import measure
from ntkstudy.subjects.tiles import AssembledKernel, TiledKernel


def main(input: dict, output: dict, cfg: dict, device: str) -> None:
    """Write one group per measurement."""
    load(cfg["modules"])
    check_seal(input["kernel"], "kernel")
    with open_dataset(input["dataset"]) as data:
        kernel = AssembledKernel(input["kernel"], TiledKernel.prepare(cfg, data, device))
        arrays = measure(cfg["measurements"], "assembled", kernel, data)
    write_file(output["measurements"], cfg, arrays, device=device, dtype=cfg["tiles"]["dtype"])


run_job(main, globals())
