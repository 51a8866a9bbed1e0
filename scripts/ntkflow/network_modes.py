"""What can be asked of networks with dropout or batch normalisation. Pure Python."""

from collections.abc import Mapping
from typing import Any

# Measurements of networks as they are evaluated. The others, and all of infinite width, know
# networks only that are one function in training and in evaluation.
EVALUATED = ("gram", "gram_spectrum", "gram_rank", "classification")
PLAIN = {"normalization": "none", "dropout": 0.0}


def plain_network(network: Mapping[str, Any]) -> bool:
    """Whether a `network` block is the same function in training and in evaluation."""
    return all(network.get(key, plain) == plain for key, plain in PLAIN.items())


def mode_problems(config: Mapping[str, Any]) -> list[tuple[list[str | int], str]]:
    """Key paths of a cell's measurements that its network does not allow, and why."""
    if plain_network(config["network"]):
        return []
    keys = [key for key, plain in PLAIN.items() if config["network"][key] != plain]
    with_ = " and ".join(f"network.{key} {config['network'][key]}" for key in keys)
    allowed = f"is not allowed with {with_}; allowed: {', '.join(EVALUATED)}"
    return [
        (["measurements", index, "kind"], f"{entry['kind']!r} {allowed}")
        for index, entry in enumerate(config["measurements"])
        if entry["kind"] not in EVALUATED
    ]
