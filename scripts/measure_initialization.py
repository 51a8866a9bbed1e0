"""Measure untrained networks over many initialisations."""

import torch

from job import run_job
from ntkflow.inputs import input_sizes
from ntkflow.measurements import Member, measure, stack_measurements
from ntkflow.networks import build_network, draw_parameters, member
from ntkflow.storage import open_file, write_file


def main(input: dict, output: dict, cfg: dict, device: str) -> None:
    """Write one group per measurement, with a seed axis."""
    with open_file(input["dataset"], "dataset") as data:
        network = build_network(cfg["network"], *input_sizes(data))
        per_seed = []
        for seed in cfg["seeds"]:
            drawn = draw_parameters(network, [seed], dtype=torch.float32, device=device)
            start = member(drawn, 0)
            untrained = Member(network, start, start, training={})
            per_seed.append(measure(cfg["measurements"], untrained, data))
    arrays = stack_measurements(per_seed, "seed")
    write_file(output["measurements"], cfg, arrays, device=device, dtype="float32")


run_job(main, globals())
