"""How much memory a job needs, estimated from its configuration. Pure Python."""

from collections.abc import Mapping
from typing import Any

from ..needs import Facts
from ..registry import MEASUREMENTS
from .stages import STAGES

INTERPRETER_MB = 600  # Python with torch
KERNEL_MB = 1100  # what an empirical kernel may use beside its result


def memory_mb(stage: str, config: Mapping[str, Any], facts: Facts, seeds: int) -> int:
    """Upper estimate of a job's memory in MB, from parameters, samples, kernels and seeds.

    Args:
        stage: name of the stage.
        config: configuration of its cell.
        facts: the same, read.
        seeds: how many networks the job works on.
    """
    itemsize = 8 if config.get("training", {}).get("dtype") == "float64" else 4
    width, depth = (getattr(facts.options, key, 1) for key in ("width", "depth"))
    together = seeds if stage == "train" else 1  # other stages go network by network
    samples = max(facts.sizes.train, facts.sizes.probe)
    weights = depth * width**2 * itemsize
    activations = 4 * samples * width * (depth + 1) * itemsize
    needed = INTERPRETER_MB + together * (4 * weights + activations) / 1e6
    measured = [
        (entry, MEASUREMENTS[entry["kind"]].variants[STAGES[stage].when])
        for entry in config["measurements"]
        if STAGES[stage].when in entry["when"]
    ]
    if measured:
        needed += KERNEL_MB
        needed += max(_kernels_mb(entry, each, facts, together) for entry, each in measured)
    return round(needed)


def _kernels_mb(entry: Mapping[str, Any], variant, facts: Facts, together: int) -> float:
    """Two kernels in float64, and what an eigensolver copies, for each network that keeps them."""
    if variant.kernel is None:
        return 0.0
    samples = min(entry.get("images", facts.sizes.train), facts.sizes.train)
    rows = samples * (facts.sizes.outputs if variant.kernel == "block" else 1)
    return 6 * rows**2 * 8 * (together if variant.kept else 1) / 1e6
