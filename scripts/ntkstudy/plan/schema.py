"""The configuration's JSON schema: a frame in YAML, and what the registry's entries declare."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from ..options import Rule, choices_schema
from ..registry import MEASUREMENTS, NETWORKS, TASKS, WHEN
from ..schemas import resolve_references
from ..tasks.common import TaskOptions
from .configuration import read_yaml


@dataclass(frozen=True, kw_only=True)
class MomentOptions:
    """When a quantity is measured."""

    when: Annotated[
        list[Annotated[str, Rule(enum=list(WHEN))]],
        Rule(
            "untrained networks; networks before and after training; snapshots during training; "
            "kernel machines beside the trained networks; the infinitely wide network; its "
            "training as predicted; a check of theory, with networks of its own; the kernel made "
            "in tiles",
            minItems=1,
            uniqueItems=True,
        ),
    ]


def configuration_schema(path: str | Path) -> dict[str, Any]:
    """JSON schema of the configuration, for the entries that are registered now.

    Args:
        path: the frame, which refers to `task`, `network` and `measurement`.
    """
    frame = read_yaml(path)
    definitions = frame.pop("$defs") | {
        "task": _choices(
            TASKS, "target function and input distribution", "the data set", common=TaskOptions
        ),
        "network": _choices(NETWORKS, "architecture", "the network"),
        "measurement": _choices(MEASUREMENTS, "quantity", "", common=MomentOptions),
    }
    return resolve_references(frame, definitions)


def _choices(registry, kind: str, meaning: str, common: type | None = None) -> dict[str, Any]:
    options = {name: entry.options for name, entry in registry.items()}
    schema = choices_schema(options, description=kind, common=common)
    return schema | ({"description": meaning} if meaning else {})
