"""Measure untrained networks over many initialisations."""

import torch

from job import run_job
from ntkflow.ensemble_measurements import join_ensembles, measure_ensemble
from ntkflow.ensembles import Ensemble
from ntkflow.inputs import input_sizes
from ntkflow.networks import build_network, draw_parameters
from ntkflow.storage import open_file, write_file

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
