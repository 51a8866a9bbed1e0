"""From configuration files to a checked plan."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ntkflow.errors import ConfigurationError

from ..registry import discover, load
from ..schemas import complete, complete_experiment
from .checks import check_plan
from .layers import (
    Layer,
    check_names,
    experiment_rules,
    merge_layers,
    read_layers,
    source_names,
    validate_layer,
)
from .planning import Plan
from .schema import configuration_schema


def load_plan(
    files: Sequence[str | Path], schema: str | Path, overrides: Mapping | None = None
) -> Plan:
    """Plan of the configuration in `files`, merged in order, with `overrides` on top.

    Args:
        files: YAML files, overlays last; experiments/<source>.yaml beside the first belong to it.
        schema: frame of the configuration's JSON schema, in YAML.
        overrides: keys given on the command line.

    Raises:
        ConfigurationError: one line with the file, the key, the value and what is allowed.
    """
    discover()
    rules = configuration_schema(schema)
    layers = read_layers(files, source_names(rules), overrides)
    if extensions := [name for layer in layers for name in _extensions(layer)]:
        load(extensions)
        rules = configuration_schema(schema)
    try:
        return _merged_plan(layers, rules)
    except ConfigurationError:
        # Layer by layer, so that the error names the one that brought it.
        for count in range(1, len(layers) + 1):
            plan = _merged_plan(layers[:count], rules)
        return plan


def read_defaults(file: str | Path, schema: Mapping) -> dict[str, Any]:
    """Completed configuration of the default scale, without overlays.

    Args:
        file: such as config/config.yaml; experiments/<source>.yaml beside it belong to it.
        schema: the configuration's JSON schema.
    """
    return _canonical(read_layers([file], source_names(schema))[0].data, schema)


def _extensions(layer: Layer) -> list[str]:
    """Modules that a layer names.

    Raises:
        ConfigurationError: if it is no list of names; said here, because kinds depend on them.
    """
    named = layer.data.get("extensions", [])
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise ConfigurationError(
            f"{layer.source}: extensions: {named!r} is not allowed; allowed: a list of modules"
        )
    return named


def _merged_plan(layers: Sequence[Layer], rules: Mapping) -> Plan:
    """Plan of some layers merged in order."""
    check_names(layers)
    merged = merge_layers(layers)
    validate_layer(merged, rules)
    config = _canonical(merged.data, rules)
    plan = Plan(config, rules, source=merged.source, files=merged.files)
    check_plan(plan)
    return plan


def _canonical(config: Mapping, rules: Mapping) -> dict[str, Any]:
    """Configuration with defaults, written in one way: only values tell two results apart."""
    completed = complete(config, rules)
    for name, block in completed["experiments"].items():
        completed["experiments"][name] = complete_experiment(block, experiment_rules(rules))
    return completed
