"""Measure untrained networks over many initialisations."""

import numpy as np
import torch

from job import run_job
from ntkflow.networks import draw_parameters
from ntkstudy.data.dataset import open_dataset
from ntkstudy.data.storage import write_file
from ntkstudy.registry import load
from ntkstudy.subjects.measuring import join, measure
from ntkstudy.subjects.members import Members
from ntkstudy.subjects.networks import build_network

NUMBERS = 2**27  # weights that are held at once, by networks that are compared with each other


def main(input: dict, output: dict, cfg: dict, device: str) -> None:
    """Write one group per measurement, with a seed axis."""
    load(cfg["modules"])
    parts = []
    with open_dataset(input["dataset"]) as data:
        network = build_network(cfg["network"], *data.sizes)
        most = max(1, NUMBERS // sum(p.numel() for p in network.parameters()))
        for group in np.array_split(cfg["seeds"], -(-len(cfg["seeds"]) // most)):
            seeds = group.tolist()
            drawn = draw_parameters(network, seeds, dtype=torch.float32, device=device)
            members = Members(network, drawn, drawn, seeds, cfg["network"])
            parts.append(measure(cfg["measurements"], "initialization", members, data))
    write_file(output["measurements"], cfg, join(parts), device=device, dtype="float32")


run_job(main, globals())
