"""Measure the kernels of a seed block before and after training."""

from job import run_job
from ntkstudy.data.dataset import open_dataset
from ntkstudy.data.storage import open_file, write_file
from ntkstudy.registry import load
from ntkstudy.subjects.measuring import add_steps, drop_seed, measure, stack
from ntkstudy.subjects.trained import trained_members


def main(input: dict, output: dict, cfg: dict, device: str) -> None:
    """Write one group per measurement, with a seed axis and a step axis (0 and the last step).

    The networks at step 0 are drawn anew from their seeds; training keeps final weights only.
    """
    load(cfg["modules"])
    entries, blocks = cfg["measurements"], []
    with open_dataset(input["dataset"]) as data, open_file(input["networks"], "train") as run:
        for after in trained_members(cfg, data, run, device):
            each = [measure(entries, "trained", one, data) for one in (after.before, after)]
            blocks.append(stack([drop_seed(arrays) for arrays in each], "step"))
    arrays = add_steps(stack(blocks, "seed"), entries, [0, cfg["training"]["steps"]])
    write_file(output["measurements"], cfg, arrays, device=device, dtype=cfg["training"]["dtype"])


run_job(main, globals())
