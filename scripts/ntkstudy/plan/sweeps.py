"""Sweeps: all combinations of an experiment's swept values, as labelled and checked cells."""

import copy
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ntkflow.errors import ConfigurationError

from ..schemas import complete
from .configuration import dotted, validate

WHOLE = "all"  # label of the only cell of a stage that reads no swept key
SECTIONS = ("task", "network", "training", "tiles")  # of an experiment, whose keys can be swept

Change = tuple[Any, tuple[str | int, ...]]  # a value and the key path that it came from


@dataclass(frozen=True)
class Cell:
    """One point of a sweep: its folder label, the swept values by short name, its configuration."""

    label: str
    axes: dict[str, Any]
    config: dict[str, Any]


def swept_axes(block: Mapping[str, Any]) -> dict[str, str]:
    """Swept keys of an experiment, sorted, to their short names: the last part of the key."""
    return {key: key.split(".")[-1] for key in sorted(block.get("sweep", {}))}


def expand(name: str, block: Mapping[str, Any], schema: Mapping, *, source: str) -> list[Cell]:
    """Cells of an experiment, each checked as an experiment of its own.

    Args:
        name: of the experiment.
        block: its configuration, completed with the schema's defaults.
        schema: JSON schema of one experiment.
        source: file named in errors.

    Raises:
        ConfigurationError: if a swept key or value, or an override, is not allowed, or two axes or
            cells have one name.
    """
    return _Sweep(name, block, schema, source).expand()


def project(cell: Cell, shorts: Sequence[str]) -> Cell:
    """What is left of a cell for a stage that sees only these axes."""
    axes = {short: cell.axes[short] for short in shorts}
    return Cell(_label(axes), axes, cell.config)


@dataclass(frozen=True)
class _Sweep:
    name: str
    block: Mapping[str, Any]
    schema: Mapping
    source: str

    def expand(self) -> list[Cell]:
        axes = swept_axes(self.block)
        self._check_axes(axes)
        cells = []
        for choice in itertools.product(*(enumerate(self.block["sweep"][key]) for key in axes)):
            changes = {
                key: (value, ("sweep", key, index))
                for key, (index, value) in zip(axes, choice, strict=True)
            }
            point = {key: value for key, (value, _) in changes.items()}
            config = self._changed(changes | self._overridden(point))
            swept = {short: _get(config, key) for key, short in axes.items()}
            cells.append(Cell(_label(swept), swept, config))
        labels = [cell.label for cell in cells]
        for label in labels:
            if labels.count(label) > 1:
                problem = f"two cells are called {label!r}; allowed: values that differ when named"
                raise self._error(["sweep"], problem)
        return cells

    def _check_axes(self, axes: Mapping[str, str]) -> None:
        for key, short in axes.items():
            section, *rest = key.split(".")
            if section not in SECTIONS or not rest or not _has_parents(self.block, key):
                allowed = ", ".join(f"{name}.<key>" for name in SECTIONS if name in self.block)
                raise self._error(["sweep", key], f"cannot be swept; allowed: {allowed}")
            if list(axes.values()).count(short) > 1:
                problem = f"two axes are called {short!r}; allowed: different last parts"
                raise self._error(["sweep", key], problem)

    def _overridden(self, point: Mapping[str, Any]) -> dict[str, Change]:
        """Values that `overrides` sets in the cell at this point of the sweep."""
        values: dict[str, Change] = {}
        for index, rule in enumerate(self.block["overrides"]):
            path = ("overrides", index)
            for key in rule["where"]:
                if key not in point:
                    problem = f"not a swept key; allowed: {', '.join(point) or 'none'}"
                    raise self._error([*path, "where", key], problem)
            if all(_selects(value, point[key]) for key, value in rule["where"].items()):
                values |= {key: (value, (*path, "set", key)) for key, value in rule["set"].items()}
        return values

    def _changed(self, changes: Mapping[str, Change]) -> dict[str, Any]:
        """The experiment with some values changed; an error names where the value came from."""
        config = copy.deepcopy(
            {key: value for key, value in self.block.items() if key not in ("sweep", "overrides")}
        )
        for key, (value, origin) in changes.items():
            if key.split(".")[0] not in config:
                raise self._error(origin, f"the experiment has no {key.split('.')[0]!r} to change")
            _set(config, key, value)
        # The rest of the block is valid and complete already.
        touched = {key.split(".")[0] for key in changes}
        rules = {"properties": {name: self.schema["properties"][name] for name in touched}}
        changed = {name: config[name] for name in touched}
        try:
            validate(changed, rules, source="")
        except ConfigurationError as error:
            problem = str(error).removeprefix(": ")
            for key, (_, origin) in changes.items():
                if problem.startswith((f"{key}:", f"{key}[", f"{key}.")):
                    raise self._error(
                        origin, problem.removeprefix(key).removeprefix(": ")
                    ) from None
            raise self._error([], problem) from None
        return config | complete(changed, rules)

    def _error(self, path: Sequence[str | int], problem: str) -> ConfigurationError:
        where = dotted(["experiments", self.name, *path])
        return ConfigurationError(f"{self.source}: {where}: {problem}")


def _selects(wanted: Any, value: Any) -> bool:
    """Whether an override's `where` selects a swept value: equal to it, or one of a list."""
    return value == wanted or (isinstance(wanted, list) and value in wanted)


def _label(axes: Mapping[str, Any]) -> str:
    if not axes:
        return WHOLE
    return "/".join(f"{short}~{_text(value)}" for short, value in axes.items())


def _text(value: Any) -> str:
    """A value as part of a folder's name."""
    if isinstance(value, list):
        return "+".join(_text(item) for item in value)
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return "".join(letter if letter.isalnum() or letter in ".-+_" else "_" for letter in text)


def _has_parents(config: Mapping, key: str) -> bool:
    """Whether everything above the last part of a dotted key is a mapping."""
    inner: Any = config
    for part in key.split(".")[:-1]:
        inner = inner.get(part) if isinstance(inner, Mapping) else None
    return isinstance(inner, Mapping)


def _get(config: Mapping, key: str) -> Any:
    inner: Any = config
    for part in key.split("."):
        inner = inner[part]
    return inner


def _set(config: dict, key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for part in parents:
        config = config[part]
    config[last] = value
