"""From configuration files to a checked plan."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ntkflow.errors import ConfigurationError

from .checks import check_plan
from .configuration import (
    complete,
    complete_experiment,
    describe_allowed,
    dotted,
    merge,
    read_schema,
    read_yaml,
    validate,
)
from .planning import Plan


def load_plan(
    files: Sequence[str | Path], schema: str | Path, overrides: Mapping | None = None
) -> Plan:
    """Plan of the configuration in `files`, merged in order, with `overrides` on top.

    Args:
        files: YAML files, overlays last.
        schema: JSON schema of the configuration, in YAML.
        overrides: keys given on the command line.

    Raises:
        ConfigurationError: one line with the file, the key, the value and what is allowed.
    """
    rules, read = read_schema(schema), [(str(file), read_yaml(file)) for file in files]
    if overrides:
        # Snakemake reads `true` on the command line as text.
        truth = {"true": True, "false": False}
        given = {key: truth.get(str(value), value) for key, value in overrides.items()}
        read.append(("--config", given))
    try:
        return _merged_plan(read, rules)
    except ConfigurationError:
        # File by file, so that the error names the one that brought it.
        for count in range(1, len(read) + 1):
            plan = _merged_plan(read[:count], rules)
        return plan


def _merged_plan(read: Sequence[tuple[str, Mapping]], rules: Mapping) -> Plan:
    """Plan of some configurations merged in order; errors name the last of them."""
    config: dict[str, Any] = {}
    for _, data in read:
        config = merge(config, data)
    source = read[-1][0]
    _check_names(read)
    validate(config, rules, source=source)
    plan = Plan(_canonical(config, rules), rules, source=source)
    check_plan(plan)
    return plan


def _check_names(read: Sequence[tuple[str, Mapping]]) -> None:
    """A misspelt experiment in the last file would be a new one that lacks nearly everything."""
    *below, (source, last) = ((source, data.get("experiments")) for source, data in read)
    known = [name for _, blocks in below if isinstance(blocks, Mapping) for name in blocks]
    for name, block in last.items() if known and isinstance(last, Mapping) else ():
        if name not in known and isinstance(block, Mapping) and "title" not in block:
            raise ConfigurationError(
                f"{source}: {dotted(['experiments', name])}: is no experiment of {below[0][0]}, "
                f"and a new one needs a title; {describe_allowed(name, sorted(known))}"
            )


def _canonical(config: Mapping, rules: Mapping) -> dict[str, Any]:
    """Configuration with defaults, written in one way: only values tell two results apart."""
    completed = complete(config, rules)
    block_rules = rules["properties"]["experiments"]["additionalProperties"]
    for name, block in completed["experiments"].items():
        completed["experiments"][name] = complete_experiment(block, block_rules)
    return completed
