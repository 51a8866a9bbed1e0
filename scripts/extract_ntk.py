"""Measure the kernels of a seed block before and after training."""

import numpy as np
import torch

from job import run_job
from ntkflow.networks import draw_parameters
from ntkstudy.data.inputs import input_sizes
from ntkstudy.data.storage import Array, open_file, write_file
from ntkstudy.measurements.ensembles import measure_ensemble
from ntkstudy.measurements.members import Ensemble
from ntkstudy.measurements.networks import stack_measurements
from ntkstudy.networks import build_network


def main(input: dict, output: dict, cfg: dict, device: str) -> None:
    """Write one group per measurement, with a seed axis and a step axis (0 and the last step).

    The networks at step 0 are drawn anew from their seeds; training keeps final weights only.
    """
    with (
        open_file(input["dataset"], "dataset") as data,
        open_file(input["networks"], "train") as run,
    ):
        network, count = build_network(cfg["network"], *input_sizes(data)), len(cfg["seeds"])
        blocks = [measure_seed(cfg, network, index, data, run, device) for index in range(count)]
    steps = Array(np.array([0, cfg["training"]["steps"]]), ["step"], "gradient steps")
    arrays = stack_measurements(blocks, "seed")
    arrays |= {f"{entry['kind']}/step": steps for entry in cfg["measurements"]}
    write_file(output["measurements"], cfg, arrays, device=device, dtype=cfg["training"]["dtype"])


def measure_seed(cfg, network, index: int, data, run, device: str) -> dict[str, Array]:
    """Measurements of one network, with an axis step."""
    dtype = getattr(torch, cfg["training"]["dtype"])
    start = draw_parameters(network, [cfg["seeds"][index]], dtype=dtype, device=device)
    trained = {
        name: torch.as_tensor(run.array(f"weights/{name}", index).values, device=device)[None]
        for name in start
    }
    before = Ensemble(network, start, start, cfg["training"])
    after = before.at(cfg["training"]["steps"], trained)
    each = [measure_ensemble(cfg["measurements"], one, data) for one in (before, after)]
    return stack_measurements([only_network(arrays) for arrays in each], "step")


def only_network(arrays: dict[str, Array]) -> dict[str, Array]:
    """Measurements of an ensemble of one, without its axis."""
    return {
        name: Array(array.values[0], array.dims[1:], array.units) if "seed" in array.dims else array
        for name, array in arrays.items()
    }


run_job(main, globals())
