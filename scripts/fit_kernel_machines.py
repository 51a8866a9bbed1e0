"""Fit kernel machines on the kernels of a seed block's networks, and compare with the networks."""

import torch

from job import run_job
from ntkflow.networks import draw_parameters, member
from ntkstudy.data.inputs import input_sizes
from ntkstudy.data.storage import open_file, write_file
from ntkstudy.measurements.kernel_classifiers import kernel_classifiers
from ntkstudy.measurements.networks import Member, stack_measurements
from ntkstudy.networks import build_network


def main(input: dict, output: dict, cfg: dict, device: str) -> None:
    """Write one group per measurement, with a seed axis."""
    dtype = getattr(torch, cfg["training"]["dtype"])
    (entry,) = cfg["measurements"]
    with (
        torch.no_grad(),
        open_file(input["dataset"], "dataset") as data,
        open_file(input["networks"], "train") as run,
    ):
        network = build_network(cfg["network"], *input_sizes(data))
        per_seed = []
        for index, seed in enumerate(cfg["seeds"]):
            start = member(draw_parameters(network, [seed], dtype=dtype, device=device), 0)
            weights = {
                name: torch.as_tensor(run.array(f"weights/{name}", index).values, device=device)
                for name in start
            }
            trained = Member(network, weights, start, cfg["training"])
            # Another draw for every data set and seed.
            drawn = 100 * cfg["task"]["data_seed"] + seed
            per_seed.append(kernel_classifiers(entry, cfg["network"], trained, data, seed=drawn))
    arrays = stack_measurements(per_seed, "seed")
    write_file(output["measurements"], cfg, arrays, device=device, dtype=cfg["training"]["dtype"])


run_job(main, globals())
