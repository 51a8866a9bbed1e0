"""The files of a configuration, in layers: the defaults, overlays on them, and the command line.

The lowest layer is a file such as config/config.yaml with config/experiments/<source>.yaml beside
it, one file for each source. Which file an experiment stands in is kept, so that a mistake is
reported where it was made.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ntkflow.errors import ConfigurationError, describe_allowed

from .configuration import dotted, merge, read_yaml, validate

_OF_A_SOURCE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["experiments"],
    "properties": {"experiments": {"type": "object"}},
}


@dataclass(frozen=True)
class Layer:
    """Keys of a configuration, the file that errors name, and that of each experiment."""

    data: dict[str, Any]
    source: str
    files: dict[str, str] = field(default_factory=dict)

    @property
    def experiments(self) -> Mapping[str, Any]:
        """Blocks of experiments; none where the file has something else in their place."""
        blocks = self.data.get("experiments")
        return blocks if isinstance(blocks, Mapping) else {}


def read_layers(
    files: Sequence[str | Path], sources: Sequence[str], overrides: Mapping | None = None
) -> list[Layer]:
    """Layers of a configuration, the lowest first.

    Args:
        files: YAML files, overlays last.
        sources: names of the sources, in the order of the report.
        overrides: keys given on the command line.

    Raises:
        ConfigurationError: if a file cannot be read or is named like no source, or an experiment
            stands twice or in the file of another source.
    """
    base, *overlays = files
    layers = [_read_base(base, sources)]
    for file in overlays:
        layers.append(_named(read_yaml(file), str(file)))
    if overrides:
        # Snakemake reads `true` on the command line as text.
        truth = {"true": True, "false": False}
        given = {key: truth.get(str(value), value) for key, value in overrides.items()}
        layers.append(_named(given, "--config"))
    return layers


def merge_layers(layers: Sequence[Layer]) -> Layer:
    """One layer with the keys of all; errors name the last file, and the last of an experiment."""
    data: dict[str, Any] = {}
    files: dict[str, str] = {}
    for layer in layers:
        data, files = merge(data, layer.data), files | layer.files
    return Layer(data, layers[-1].source, files)


def check_names(layers: Sequence[Layer]) -> None:
    """A misspelt experiment in the last layer would be a new one that lacks nearly everything.

    Raises:
        ConfigurationError: if it has no title, which new ones need.
    """
    *below, last = layers
    known = [name for layer in below for name in layer.experiments]
    for name, block in last.experiments.items() if known else ():
        if name not in known and isinstance(block, Mapping) and "title" not in block:
            raise ConfigurationError(
                f"{last.source}: {dotted(['experiments', name])}: is no experiment of "
                f"{below[0].source}, and a new one needs a title; "
                f"{describe_allowed(name, sorted(known))}"
            )


def validate_layer(layer: Layer, rules: Mapping) -> None:
    """Check every experiment by itself, so that errors name its file, then the keys around them.

    Args:
        layer: all keys of a configuration.
        rules: JSON schema of the configuration.

    Raises:
        ConfigurationError: one line with the file, the key path, the value and what is allowed.
    """
    for name, block in layer.experiments.items():
        where = ["experiments", name]
        validate(block, experiment_rules(rules), source=layer.files[name], at=where)
    properties = rules["properties"]
    valid = {**properties["experiments"], "additionalProperties": True}
    around = {**rules, "properties": {**properties, "experiments": valid}}
    validate(layer.data, around, source=layer.source)


def experiment_rules(rules: Mapping) -> Mapping:
    """The part of the configuration's schema that rules an experiment's block."""
    return rules["properties"]["experiments"]["additionalProperties"]


def source_names(rules: Mapping) -> list[str]:
    """Names of the sources that the configuration's schema knows, in the order of the report."""
    return experiment_rules(rules)["properties"]["source"]["enum"]


def source_files(folder: str | Path, sources: Sequence[str]) -> dict[str, str]:
    """Files <source>.yaml of a folder by source, in the order of the sources.

    Raises:
        ConfigurationError: if a file is named like no source.
    """
    found = {path.stem: str(path) for path in sorted(Path(folder).glob("*.yaml"))}
    for name, file in found.items():
        if name not in sources:
            allowed = describe_allowed(name, sources)
            raise ConfigurationError(f"{file}: {name!r} is no source; {allowed}")
    return {source: found[source] for source in sources if source in found}


def _read_base(file: str | Path, sources: Sequence[str]) -> Layer:
    """A file and what stands in experiments/ beside it."""
    layer = _named(read_yaml(file), str(file))
    for source, path in source_files(Path(file).parent / "experiments", sources).items():
        blocks = _read_experiments(path, source)
        for name in blocks:
            if name in layer.files:
                where = f"{path}: {dotted(['experiments', name])}"
                problem = f"stands in {layer.files[name]} too; allowed once"
                raise ConfigurationError(f"{where}: {problem}")
        data = layer.data | {"experiments": {**layer.experiments, **blocks}}
        layer = Layer(data, layer.source, layer.files | dict.fromkeys(blocks, path))
    return layer


def _read_experiments(path: str, source: str) -> dict[str, Any]:
    """The experiments in the file of a source."""
    data = read_yaml(path)
    validate(data, _OF_A_SOURCE, source=path)
    for name, block in data["experiments"].items():
        given = block.get("source", source) if isinstance(block, Mapping) else source
        if given != source:
            where = f"{path}: {dotted(['experiments', name, 'source'])}"
            raise ConfigurationError(
                f"{where}: {given!r} is not allowed; allowed: {source}, the name of the file"
            )
    return data["experiments"]


def _named(data: dict[str, Any], source: str) -> Layer:
    """A layer whose experiments all stand in one file."""
    layer = Layer(data, source)
    return Layer(data, source, dict.fromkeys(layer.experiments, source))
