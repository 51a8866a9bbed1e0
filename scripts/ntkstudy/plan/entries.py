"""What the registry's entries say about a cell: facts, files, the modules of their code."""

from collections.abc import Mapping
from typing import Any

from ..needs import Facts
from ..networks.common import activation_keys
from ..options import read_options
from ..registry import ACTIVATIONS, MEASUREMENTS, NETWORKS, TASKS
from .stages import STAGES


def read_facts(config: Mapping[str, Any]) -> Facts:
    """What needs look at.

    Args:
        config: of a cell.

    Raises:
        ConfigurationError: if the task's file cannot be read.
    """
    task, network = TASKS[config["task"]["kind"]], NETWORKS[config["network"]["kind"]]
    of_task = read_options(task.options, config["task"])
    of_network = read_options(network.options, config["network"])
    training, tiles = config.get("training", {}), config.get("tiles", {})
    return Facts(task, of_task, task.sizes(of_task), network, of_network, training, tiles)


def task_files(config: Mapping[str, Any], results: str) -> list[str]:
    """Files that the data set of a cell is made from.

    Raises:
        ConfigurationError: if one is missing.
    """
    task = TASKS[config["task"]["kind"]]
    return list(task.files(read_options(task.options, config["task"]), results))


def entry_modules(stage: str, config: Mapping[str, Any]) -> list[str]:
    """Modules of the entries that a job of this stage uses, which it imports."""
    if stage == "dataset":
        return [TASKS[config["task"]["kind"]].module]
    measured = [
        MEASUREMENTS[entry["kind"]]
        for entry in config["measurements"]
        if STAGES[stage].when in entry["when"]
    ]
    network = NETWORKS[config["network"]["kind"]]
    names = {config["network"].get(key) for key in activation_keys(network.options)} - {None}
    made = [ACTIVATIONS[name] for name in names if ACTIVATIONS[name].make]
    entries = [*measured, network, *made]
    return sorted({entry.module for entry in entries})


def source_modules(stage: str, config: Mapping[str, Any]) -> list[str]:
    """These modules, and those whose code a network of one's own is."""
    modules = entry_modules(stage, config)
    if stage != "dataset":
        network = NETWORKS[config["network"]["kind"]]
        modules += network.sources(read_options(network.options, config["network"]))
    return modules
