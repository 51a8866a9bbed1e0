"""How much memory a job needs, estimated from its configuration. Pure Python."""

from collections.abc import Mapping
from typing import Any

INTERPRETER_MB = 600  # Python with torch
KERNEL_MB = 1100  # what an empirical kernel may use beside its result
DIGITS = 10
KEPT = {"linearized", "mode_decay"}  # measurements with a block kernel a network, kept in training


def memory_mb(stage: str, config: Mapping[str, Any], seeds: int) -> int:
    """Upper estimate of a job's memory in MB, from parameters, samples and seeds.

    Args:
        stage: name of the stage.
        config: configuration of its cell.
        seeds: how many networks the job works on.
    """
    network, task = config["network"], config["task"]
    itemsize = 8 if config.get("training", {}).get("dtype") == "float64" else 4
    width, depth = network.get("width", 1), network.get("depth", 0)
    together = seeds if stage == "train" else 1  # other stages go network by network
    samples = max(task.get(key) or 0 for key in ("train_points", "probe_points", "test_points"))
    weights = depth * width**2 * itemsize
    activations = 4 * samples * width * (depth + 1) * itemsize
    kept = KEPT & {entry["kind"] for entry in config["measurements"]}
    block = stage == "machines" or (kept and task["kind"] == "mnist")
    rows = samples * (DIGITS if block else 1)
    # float64: two kernels, and what an eigensolver copies
    kernels = 6 * rows**2 * 8 * (together if kept else 1)
    needed = INTERPRETER_MB + (together * (4 * weights + activations) + kernels) / 1e6
    return round(needed + KERNEL_MB * (stage != "dataset" and bool(config["measurements"])))
