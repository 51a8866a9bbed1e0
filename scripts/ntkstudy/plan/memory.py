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
    together = seeds if stage == "train" else 1  # networks whose weights are held, about
    measured_at_once = seeds if stage in ("train", "initialization") else 1
    samples = max(facts.sizes.train, facts.sizes.probe)
    weights, neurons = network_size(facts)
    numbers = 4 * weights + 4 * samples * neurons
    needed = INTERPRETER_MB + together * numbers * itemsize / 1e6
    measured = [
        (entry, MEASUREMENTS[entry["kind"]].variants[STAGES[stage].when])
        for entry in config["measurements"]
        if STAGES[stage].when in entry["when"]
    ]
    if stage == "prediction":  # of training inputs, evaluation inputs, and both
        needed += 6 * samples**2 * 8 / 1e6
    if STAGES[stage].tiled:  # in float64, and what makes it
        side = config["tiles"]["size"]
        if config["tiles"]["kernel"] == "empirical":
            side *= facts.sizes.outputs
        needed += KERNEL_MB + 6 * side**2 * 8 / 1e6
    if measured:
        needed += KERNEL_MB
        needed += max(_kernels_mb(entry, each, facts, measured_at_once) for entry, each in measured)
    return round(needed)


def network_options(facts: Facts) -> Any:
    """Options of the network that is built, which another kind may name."""
    options = facts.options
    return options.stands_for(facts.sizes.inputs) if hasattr(options, "stands_for") else options


def network_size(facts: Facts) -> tuple[int, int]:
    """Weights of a network, and neurons that an input passes, at most; none of a module's own."""
    inputs, outputs = facts.sizes.inputs, facts.sizes.outputs
    options = network_options(facts)
    if hasattr(options, "size"):
        return options.size(inputs, outputs)
    width, depth = (getattr(options, key, 0) for key in ("width", "depth"))
    if not width or not depth:
        return inputs * outputs + outputs, inputs + outputs
    hidden, biases = (depth - 1) * width**2, width * depth + outputs
    if filters := getattr(options, "kernel_size", 0) ** 2:  # on every one of the pixels
        head = width * inputs * outputs
        return filters * (width + hidden) + head + biases, inputs * width * (depth + 1)
    return width * (inputs + outputs) + hidden + biases, width * (depth + 1) + outputs


def _kernels_mb(entry: Mapping[str, Any], variant, facts: Facts, together: int) -> float:
    """Two kernels in float64, and what an eigensolver copies, for each network that has them."""
    if variant.kernel is None:
        return 0.0
    asked = entry.get("images", entry.get("train", facts.sizes.train))
    samples = min(asked, facts.sizes.train)
    if variant.kernel == "stored":  # and what preconditions it
        return 1.2 * samples**2 * 4 / 1e6
    empirical = variant.kernel == "tiles" and facts.tiles["kernel"] == "empirical"
    rows = samples * (facts.sizes.outputs if variant.kernel == "block" or empirical else 1)
    if "train" in entry:  # splits of a pool, whose mean kernel is there too, and their test images
        test = entry.get("test", 0) * facts.sizes.outputs
        return (6 * max(rows, facts.sizes.train) ** 2 + test * rows) * 8 / 1e6
    return 6 * rows**2 * 8 * (together if variant.kept or not variant.each else 1) / 1e6
