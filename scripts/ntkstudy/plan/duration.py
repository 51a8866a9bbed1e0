"""How long a job works, estimated from its configuration. Pure Python.

The constants were fitted to 370 jobs of the default and the quick scale, on one thread of a common
processor: nine of ten estimates were within a factor of two and a half of the truth.
"""

import math
from collections.abc import Mapping
from typing import Any

from ..needs import Facts
from ..registry import MEASUREMENTS
from .memory import network_options, network_size
from .stages import STAGES

START_S = 2.5  # of Python with torch
GRADIENT_S = 2.0  # of the parts of torch that come with a first gradient
STEP_S = 3.5e-4  # of a step of training, for a layer of it, whatever its size
TRAINING_S = 3e-12  # of an operation in training
UPDATE_S = 4e-9  # of a weight in a step, however few the samples are
PASS_S = 1e-12  # of one in a pass over the data
JACOBIAN_S = 1e-11  # of one in the gradient of an output
SOLVING_S = 1e-10  # times R^3: eigenvalues of a kernel with R rows
STEPPING_S = 4e-7  # times R^2: descent on a kernel with R rows, to its end
PASSES = 30  # over the data, of a measurement without a kernel
STEPS = 400  # of a training to half its loss
SHORT_S = 60.0  # what is shorter is not sent to a queue alone
LEAST_MINUTES = 15
CAUTION = 10  # times the estimate is the limit
UNKNOWN = ("dataset", "kernel")


def seconds(stage: str, config: Mapping[str, Any], facts: Facts, seeds: int) -> float | None:
    """Estimate of a job's time on one thread; None for jobs that have none.

    Six operations a weight, sample and place where the weight is used are one pass forward and
    back; the gradients of all outputs are as many passes. R rows of a kernel cost R^3, or R^2 where
    they are solved with step by step.

    Args:
        stage: name of the stage.
        config: configuration of its cell.
        facts: the same, read.
        seeds: how many networks the job works on.

    Returns:
        Seconds. None for stages without torch, and for checks of theory that do not say how long a
        draw takes.
    """
    if stage in UNKNOWN:
        return None
    if stage == "theory":
        return _checking(config)
    one_sample = 6.0 * network_size(facts)[0] * _places(facts)
    needed, times = START_S, seeds if STAGES[stage].seeds else 1
    if STAGES[stage].tiled:
        side = config["tiles"]["size"]
        needed += JACOBIAN_S * 2 * side * facts.sizes.outputs * one_sample
    if stage == "train":
        steps = config["training"]["steps"]
        needed += steps * (STEP_S * _layers(facts) + seeds * _network_step(facts, one_sample))
        times *= config["training"]["snapshots"]
    measured = [entry for entry in config["measurements"] if STAGES[stage].when in entry["when"]]
    for entry in measured:
        kernel = MEASUREMENTS[entry["kind"]].variants[STAGES[stage].when].kernel
        needed += times * entry.get("draws", 1) * _measuring(entry, kernel, facts, one_sample)
    return needed + (GRADIENT_S if measured else 0.0)


def _checking(config: Mapping[str, Any]) -> float | None:
    """Seconds of checks of theory."""
    entries = [entry for entry in config["measurements"] if "theory" in entry["when"]]
    draws = [MEASUREMENTS[entry["kind"]].variants["theory"].draw_s for entry in entries]
    if None in draws:
        return None
    needed = (each * entry.get("draws", 1) for each, entry in zip(draws, entries, strict=True))
    return START_S + GRADIENT_S + sum(needed)


def _measuring(
    entry: Mapping[str, Any], kernel: str | None, facts: Facts, one_sample: float
) -> float:
    """Seconds of a measurement, of one network at one step."""
    samples, outputs = facts.sizes.train, facts.sizes.outputs
    if entry["kind"] == "trained_to_loss":
        steps = min(entry.get("most_steps", STEPS), STEPS)
        return steps * (STEP_S * _layers(facts) + _network_step(facts, one_sample))
    if kernel is None:
        return PASS_S * PASSES * (samples + facts.sizes.probe) * one_sample
    images = min(entry.get("images", samples), samples)
    rows = images * (outputs if kernel == "block" else 1)
    if "fits" in entry:
        return STEPPING_S * rows**2 * sum("block" in fit for fit in entry["fits"])
    if kernel in ("stored", "tiles"):
        return STEPPING_S * rows**2
    return JACOBIAN_S * images * outputs * one_sample + SOLVING_S * rows**3


def _network_step(facts: Facts, one_sample: float) -> float:
    """Seconds of a step of training, of one network."""
    return TRAINING_S * facts.sizes.train * one_sample + UPDATE_S * network_size(facts)[0]


def _layers(facts: Facts) -> int:
    return getattr(facts.options, "depth", 1) + 1


def _places(facts: Facts) -> int:
    """Where each weight is used on one sample: once, on pixels, or at each step or patch."""
    options, inputs = network_options(facts), facts.sizes.inputs
    if getattr(options, "kernel_size", 0):
        return max(1, inputs // 4)  # of padded and of shrinking images
    return max(1, math.isqrt(inputs)) if hasattr(options, "size") else 1


def limit_minutes(estimate: float | None, otherwise: int) -> int:
    """Time limit of a job: ten times its estimate in seconds, a quarter of an hour at least.

    Args:
        estimate: of `seconds`.
        otherwise: the limit of a job without one.
    """
    return otherwise if estimate is None else max(LEAST_MINUTES, math.ceil(CAUTION * estimate / 60))
