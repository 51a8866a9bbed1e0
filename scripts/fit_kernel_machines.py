"""Fit kernel machines on the kernels of a seed block's networks, and compare with the networks."""

from job import run_job
from ntkstudy.data.dataset import open_dataset
from ntkstudy.data.storage import open_file, write_file
from ntkstudy.registry import load
from ntkstudy.subjects.measuring import drop_seed, measure, stack
from ntkstudy.subjects.trained import trained_members


def main(input: dict, output: dict, cfg: dict, device: str) -> None:
    """Write one group per measurement, with a seed axis."""
    load(cfg["modules"])
    with open_dataset(input["dataset"]) as data, open_file(input["networks"], "train") as run:
        blocks = [
            drop_seed(measure(cfg["measurements"], "machines", one, data))
            for one in trained_members(cfg, data, run, device)
        ]
    arrays = stack(blocks, "seed")
    write_file(output["measurements"], cfg, arrays, device=device, dtype=cfg["training"]["dtype"])


run_job(main, globals())
