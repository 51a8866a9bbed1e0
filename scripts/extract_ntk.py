"""Measure the kernels of a seed block before and after training."""

import numpy as np
import torch

from job import run_job
from ntkflow.inputs import input_sizes
from ntkflow.measurements import Member, measure, stack_measurements
from ntkflow.networks import build_network, draw_parameters, member
from ntkflow.storage import Array, open_file, write_file


def main(input: dict, output: dict, cfg: dict, device: str) -> None:
    """Write one group per measurement, with a seed axis and a step axis (0 and the last step).

    The networks at step 0 are drawn anew from their seeds; training keeps final weights only.
    """
    training = cfg["training"]
    dtype = getattr(torch, training["dtype"])
    with (
        open_file(input["dataset"], "dataset") as data,
        open_file(input["networks"], "train") as run,
    ):
        network = build_network(cfg["network"], *input_sizes(data))
        per_seed = []
        for index, seed in enumerate(cfg["seeds"]):
            start = member(draw_parameters(network, [seed], dtype=dtype, device=device), 0)
            trained = {
                name: torch.as_tensor(run.array(f"weights/{name}", index).values, device=device)
                for name in start
            }
            per_step = [
                measure(cfg["measurements"], Member(network, now, start, training, step), data)
                for step, now in ((0, start), (training["steps"], trained))
            ]
            per_seed.append(stack_measurements(per_step, "step"))
    steps = Array(np.array([0, training["steps"]]), ["step"], "gradient steps")
    arrays = stack_measurements(per_seed, "seed")
    arrays |= {f"{entry['kind']}/step": steps for entry in cfg["measurements"]}
    write_file(output["measurements"], cfg, arrays, device=device, dtype=training["dtype"])


run_job(main, globals())
