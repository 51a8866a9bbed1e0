"""Measure untrained networks over many initialisations."""

import torch

from job import run_job
from ntkflow.networks import draw_parameters
from ntkstudy.data.inputs import input_sizes
from ntkstudy.data.storage import open_file, write_file
from ntkstudy.measurements.ensembles import join_ensembles, measure_ensemble
from ntkstudy.measurements.members import Ensemble
from ntkstudy.networks import build_network

NUMBERS = 2**24  # weights that are held at once


def main(input: dict, output: dict, cfg: dict, device: str) -> None:
    """Write one group per measurement, with a seed axis."""
    parts = []
    with open_file(input["dataset"], "dataset") as data:
        network = build_network(cfg["network"], *input_sizes(data))
        size = max(1, NUMBERS // sum(p.numel() for p in network.parameters()))
        for first in range(0, len(cfg["seeds"]), size):
            seeds = cfg["seeds"][first : first + size]
            drawn = draw_parameters(network, seeds, dtype=torch.float32, device=device)
            ensemble = Ensemble(network, drawn, drawn)
            parts.append(measure_ensemble(cfg["measurements"], ensemble, data))
    write_file(output["measurements"], cfg, join_ensembles(parts), device=device, dtype="float32")


run_job(main, globals())
