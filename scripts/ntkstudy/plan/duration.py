"""How long a job works, estimated from its configuration. Pure Python."""

import math
from collections.abc import Mapping
from typing import Any

from ..needs import Facts
from ..registry import MEASUREMENTS
from .memory import network_size
from .stages import STAGES

# Of one thread of a slow machine, on matrices of moderate size.
OPERATIONS_A_SECOND = 2e10
START_S = 10.0  # of Python with torch
STEP_S = 2e-4  # of a step of training or a layer of it, whatever its size
PASSES = 30  # over the data, of a measurement without a kernel
SHORT_S = 120.0  # by this estimate: a minute or less in truth
LEAST_MINUTES = 15


def seconds(stage: str, config: Mapping[str, Any], facts: Facts, seeds: int) -> float | None:
    """Estimate of a job's time on one thread, mostly too long; None for jobs that have none.

    Six operations a weight and sample are one pass forward and back; R rows of a kernel cost
    2 R^2 times the neurons of a sample, and 25 R^3 for eigenvalues.

    Args:
        stage: name of the stage.
        config: configuration of its cell.
        facts: the same, read.
        seeds: how many networks the job works on.

    Returns:
        Seconds. None for stages other than those of dense networks, and for kernel machines and
        checks of theory, whose work their options decide.
    """
    dense = hasattr(facts.options, "width") and not hasattr(facts.options, "kernel_size")
    if stage not in ("train", "initialization", "ntk", "limit", "prediction") or not dense:
        return None
    weights, neurons = network_size(facts)
    samples = facts.sizes.train + facts.sizes.probe
    one_pass = 6.0 * weights * samples
    operations, layers = 0.0, getattr(facts.options, "depth", 1) + 1
    needed = START_S
    if stage == "train":
        needed += config["training"]["steps"] * STEP_S * layers
        operations += config["training"]["steps"] * seeds * one_pass
    networks = seeds if STAGES[stage].seeds else 1
    for entry in config["measurements"]:
        if STAGES[stage].when not in entry["when"]:
            continue
        times = networks * (config["training"]["snapshots"] if stage == "train" else 1)
        variant = MEASUREMENTS[entry["kind"]].variants[STAGES[stage].when]
        rows = samples * (facts.sizes.outputs if variant.kernel == "block" else 1)
        kernel = facts.sizes.outputs * one_pass + 2.0 * rows**2 * neurons + 25.0 * rows**3
        operations += times * (PASSES * one_pass if variant.kernel is None else kernel)
    return needed + operations / OPERATIONS_A_SECOND


def limit_minutes(estimate: float | None, otherwise: int) -> int:
    """Time limit of a job: five times its estimate in seconds, a quarter of an hour at least.

    Args:
        estimate: of `seconds`.
        otherwise: the limit of a job without one.
    """
    return otherwise if estimate is None else max(LEAST_MINUTES, math.ceil(5 * estimate / 60))
