"""From the configuration to cells, seed blocks and paths: what the workflow has to make, and where.

A *cell* is one point of an experiment's sweep. A *stage* reads some sections of a cell's
configuration; its folder is labelled with the swept keys inside those sections only, so nothing is
computed twice. Pure Python: the Snakefile binds these functions, tests call them.
"""

import copy
import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .configuration import complete, dotted, merge, read_schema, read_yaml, validate
from .errors import ConfigurationError

WHOLE = "all"  # label of the only cell of a stage that reads no swept key


@dataclass(frozen=True)
class Stage:
    """What a stage reads of a cell, and which of its seeds it works through in blocks."""

    reads: tuple[str, ...]
    ignores: tuple[str, ...] = ()
    seeds: str | None = None  # "seeds", "initializations", or None: one file per cell
    when: str | None = None  # measurements that this stage makes

    def reads_key(self, key: str) -> bool:
        """Whether the dotted key belongs to this stage's configuration."""
        return key.split(".")[0] in self.reads and key not in self.ignores


STAGES = {
    "dataset": Stage(reads=("task",)),
    "limit": Stage(
        reads=("task", "network", "measurements"), ignores=("network.width",), when="limit"
    ),
    "initialization": Stage(
        reads=("task", "network", "measurements"), seeds="initializations", when="initialization"
    ),
    "prediction": Stage(
        reads=("task", "network", "training", "measurements"),
        ignores=("network.width",),
        when="prediction",
    ),
    "train": Stage(
        reads=("task", "network", "training", "measurements"), seeds="seeds", when="training"
    ),
    "ntk": Stage(
        reads=("task", "network", "training", "measurements"), seeds="seeds", when="trained"
    ),
}

# Tables computed from other tables, by the names of those.
DERIVED = {"learning_times": {"training_modes", "limit_circle_spectrum"}}
RATE = "training.learning_rate"


@dataclass(frozen=True)
class Cell:
    """One point of a sweep: its folder label, the swept values by short name, its configuration."""

    label: str
    axes: dict[str, Any]
    config: dict[str, Any]


@dataclass(frozen=True)
class Table:
    """Where a tidy table comes from: the files of a stage and the HDF5 group in them."""

    stage: str
    group: str


def load_plan(
    files: Sequence[str | Path], schema: str | Path, overrides: Mapping | None = None
) -> "Plan":
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
        read.append(("--config", dict(overrides)))
    config: dict[str, Any] = {}
    for name, data in read:
        config = merge(config, data)
        # After each file, so that an error names the file that brought it.
        validate(config, rules, source=name)
    plan = Plan(complete(config, rules), rules, source=read[-1][0])
    plan.check()
    return plan


class Plan:
    """Everything the workflow asks of a configuration.

    Args:
        config: a complete configuration, as `load_configuration` returns it.
        schema: its JSON schema, to check what sweeps and overrides put into cells.
        source: file named in errors.
    """

    def __init__(self, config: Mapping, schema: Mapping, *, source: str = "configuration"):
        self.config, self.source = config, source
        self._experiment_schema = schema["properties"]["experiments"]["additionalProperties"]
        self._cells: dict[str, list[Cell]] = {}

    @property
    def results(self) -> str:
        """Folder of everything that is produced."""
        return self.config["results"]

    @property
    def threads(self) -> int:
        """Threads of one training or kernel job."""
        return self.config["threads"]

    # Experiments and cells

    @property
    def experiments(self) -> list[str]:
        """Names of the experiments to run: enabled, and named in `only` unless that is empty."""
        only = self.config["only"]
        return [
            name
            for name, block in self.config["experiments"].items()
            if block["enabled"] and (not only or name in only)
        ]

    def check(self) -> None:
        """Expand every experiment once.

        Raises:
            ConfigurationError: if `only` names no experiment, or a sweep or override is wrong.
        """
        known = self.config["experiments"]
        for name in self.config["only"]:
            if name not in known:
                raise ConfigurationError(
                    f"{self.source}: only: {name!r} is unknown; allowed: {', '.join(known)}"
                )
        for name in known:
            self.cells(name)

    def block(self, experiment: str) -> dict[str, Any]:
        """The experiment's block of the configuration."""
        return self.config["experiments"][experiment]

    def cells(self, experiment: str, stage: str | None = None) -> list[Cell]:
        """Cells of an experiment, or the distinct cells that a stage sees."""
        if experiment not in self._cells:
            self._cells[experiment] = self._expand(experiment)
        if stage is None:
            return self._cells[experiment]
        return list({cell.label: cell for cell in self._project_all(experiment, stage)}.values())

    def cell(self, experiment: str, stage: str, label: str) -> Cell:
        """The stage's cell of that label."""
        return next(cell for cell in self.cells(experiment, stage) if cell.label == label)

    def _project_all(self, experiment: str, stage: str) -> list[Cell]:
        axes = self._axes(experiment)
        return [
            _project(cell, [short for key, short in axes.items() if STAGES[stage].reads_key(key)])
            for cell in self.cells(experiment)
        ]

    def _axes(self, experiment: str) -> dict[str, str]:
        """Swept keys to their short names, the last part of the key."""
        keys = self.block(experiment).get("sweep", {})
        shorts = {key: key.split(".")[-1] for key in keys}
        for key, short in shorts.items():
            if list(shorts.values()).count(short) > 1:
                raise self._error([experiment, "sweep", key], f"two axes are called {short!r}")
        return shorts

    def _expand(self, experiment: str) -> list[Cell]:
        block, axes = self.block(experiment), self._axes(experiment)
        base = {key: value for key, value in block.items() if key not in ("sweep", "overrides")}
        for key in block.get("sweep", {}):
            self._require_key(experiment, key)
        cells = []
        for values in itertools.product(*block.get("sweep", {}).values()):
            point = dict(zip(axes, values, strict=True))
            config = copy.deepcopy(base)
            for key, value in (point | self._overridden(experiment, point)).items():
                _set(config, key, value)
            config = self._checked(experiment, config, point)
            swept = {short: _get(config, key) for key, short in axes.items()}
            cells.append(Cell(_label(swept), swept, config))
        labels = [cell.label for cell in cells]
        for label in labels:
            if labels.count(label) > 1:
                raise self._error([experiment, "sweep"], f"two cells are called {label!r}")
        return cells

    def _overridden(self, experiment: str, point: Mapping) -> dict[str, Any]:
        """Values that `overrides` sets in the cell at this point of the sweep."""
        values: dict[str, Any] = {}
        for index, rule in enumerate(self.block(experiment)["overrides"]):
            for key in rule["where"]:
                if key not in point:
                    where = [experiment, "overrides", index, "where", key]
                    allowed = ", ".join(point) or "none"
                    raise self._error(where, f"not a swept key; allowed: {allowed}")
            if all(point[key] == value for key, value in rule["where"].items()):
                values |= rule["set"]
        return values

    def _require_key(self, experiment: str, key: str) -> None:
        block, sections = self.block(experiment), ("task", "network", "training")
        section, _, rest = key.partition(".")
        if section not in sections or section not in block or not rest:
            allowed = ", ".join(f"{name}.<key>" for name in sections if name in block)
            raise self._error([experiment, "sweep", key], f"cannot be swept; allowed: {allowed}")

    def _checked(self, experiment: str, config: dict, point: Mapping) -> dict:
        try:
            validate(config, self._experiment_schema, source=self.source, at=[])
        except ConfigurationError as error:
            problem = str(error).removeprefix(f"{self.source}: ")
            key = next((key for key in point if problem.startswith(f"{key}:")), None)
            if key is None:
                raise self._error([experiment], problem) from None
            raise self._error(
                [experiment, "sweep", key], problem.removeprefix(f"{key}: ")
            ) from None
        return complete(config, self._experiment_schema)

    def _error(self, path: Sequence[str | int], problem: str) -> ConfigurationError:
        return ConfigurationError(f"{self.source}: {dotted(['experiments', *path])}: {problem}")

    # Seeds

    def blocks(self, experiment: str, stage: str, label: str) -> list[str]:
        """Seed blocks `first-last` of a cell, aligned at multiples of the seeds per job."""
        config, kind = self.cell(experiment, stage, label).config, STAGES[stage].seeds
        size = config["seeds_per_job" if kind == "seeds" else "initializations_per_job"]
        count = config[kind]
        return [f"{first}-{min(first + size, count) - 1}" for first in range(0, count, size)]

    # Configurations of jobs

    def job_config(self, stage: str, experiment: str, label: str, block: str | None = None) -> dict:
        """What one job may know: its stage's sections, cell and seeds, keys sorted, plain builtins.

        Sorted keys and untouched values make equal configurations compare equal in Snakemake.
        """
        cell, kind = self.cell(experiment, stage, label), STAGES[stage]
        config = {
            section: {
                key: value
                for key, value in cell.config[section].items()
                if kind.reads_key(f"{section}.{key}")
            }
            for section in kind.reads
            if section != "measurements" and section in cell.config
        }
        if kind.when:
            config["measurements"] = [
                {key: value for key, value in entry.items() if key != "when"}
                for entry in cell.config["measurements"]
                if kind.when in entry["when"]
            ]
        config |= {"experiment": experiment, "stage": stage, "cell": cell.axes}
        if block is not None:
            first, last = map(int, block.split("-"))
            config["seeds"] = list(range(first, last + 1))
        return _sorted_copy(config)

    # Stages, tables, figures and their files

    def has_stage(self, experiment: str, stage: str) -> bool:
        """Whether the experiment asks for anything that this stage makes."""
        block = self.block(experiment)
        when = STAGES[stage].when
        measured = any(when in entry["when"] for entry in block["measurements"])
        if stage == "train":
            return "training" in block
        needs_training = "training" in STAGES[stage].reads
        return stage == "dataset" or (measured and ("training" in block or not needs_training))

    def tables(self, experiment: str) -> dict[str, Table]:
        """Tidy tables of an experiment by name."""
        tables = {"dataset": Table("dataset", "train")}
        if self.has_stage(experiment, "train"):
            tables["losses"] = Table("train", "losses")
            tables["networks"] = Table("train", "networks")
        for stage in ("initialization", "ntk", "train", "limit", "prediction"):
            if self.has_stage(experiment, stage):
                for entry in self.block(experiment)["measurements"]:
                    if STAGES[stage].when in entry["when"]:
                        name = f"{STAGES[stage].when}_{entry['kind']}"
                        tables[name] = Table(stage, entry["kind"])
        if self.config["partial"]:
            tables = {
                name: table
                for name, table in tables.items()
                if self.stage_files(table.stage, experiment)
            }
        return tables

    def comparisons(self, experiment: str) -> list[str]:
        """Names of the tables that compare a trained with a predicted one."""
        tables = self.tables(experiment)
        return [
            f"{kind}_comparison"
            for kind in ("function", "modes")
            if f"trained_{kind}" in tables and f"prediction_{kind}" in tables
        ]

    def derived(self, experiment: str) -> list[str]:
        """Names of the other tables that are computed from tables."""
        tables = self.tables(experiment)
        return [name for name, needed in DERIVED.items() if needed <= tables.keys()]

    def rates_config(self, experiment: str) -> dict[str, Any]:
        """Learning rate of every cell, for tables that need it."""
        cells = self.cells(experiment)
        rates = [cell.axes | {"learning_rate": _get(cell.config, RATE)} for cell in cells]
        return _sorted_copy({"rates": rates})

    def figures(self, experiment: str) -> list[str]:
        """Names of the figures that the experiment asks for; none without tables to draw."""
        return self.block(experiment)["figures"] if self.tables(experiment) else []

    def animations(self, experiment: str) -> list[str]:
        """Names of the animations that the experiment asks for; none without tables to draw."""
        return self.block(experiment)["animations"] if self.tables(experiment) else []

    def figure_config(self, experiment: str) -> dict[str, Any]:
        """What a figure may know: the experiment's block without the other figures and texts."""
        block = self.block(experiment)
        keys = ("task", "network", "training", "measurements", "sweep")
        return _sorted_copy({key: block[key] for key in keys if key in block})

    def stage_file(self, stage: str, experiment: str, label: str, block: str = "") -> str:
        """Path of one HDF5 file: a seed block of a cell, or the cell's only file of that stage."""
        parts = [self.config["results"], experiment, label, stage]
        return "/".join([*parts, f"{block}.h5"] if block else [*parts[:-1], f"{stage}.h5"])

    def upstream_file(self, stage: str, upstream: str, experiment: str, label: str) -> str:
        """The one file of an earlier stage that belongs to a cell of this stage."""
        projected = self._projected_label(stage, upstream, experiment, label)
        return self.stage_file(upstream, experiment, projected)

    def _projected_label(self, stage: str, upstream: str, experiment: str, label: str) -> str:
        pairs = zip(
            self._project_all(experiment, stage),
            self._project_all(experiment, upstream),
            strict=True,
        )
        return next(above.label for here, above in pairs if here.label == label)

    def stage_files(self, stage: str, experiment: str) -> list[str]:
        """All files that a stage makes for an experiment."""
        files = []
        for cell in self.cells(experiment, stage):
            blocks = self.blocks(experiment, stage, cell.label) if STAGES[stage].seeds else [""]
            files += [self.stage_file(stage, experiment, cell.label, block) for block in blocks]
        if self.config["partial"]:
            return [file for file in files if Path(file).exists()]
        return files

    def table_config(self, experiment: str, table: str) -> dict[str, str]:
        """What the job that collects a table must know."""
        source = self.tables(experiment)[table]
        return {"stage": source.stage, "group": source.group}

    def table_file(self, experiment: str, table: str) -> str:
        """Path of a tidy table."""
        return f"{self.config['results']}/{experiment}/tables/{table}.csv"

    def figure_file(self, experiment: str, figure: str, suffix: str = "svg") -> str:
        """Path of a figure."""
        return f"{self.config['results']}/{experiment}/figures/{figure}.{suffix}"

    def animation_file(self, experiment: str, animation: str, suffix: str = "json") -> str:
        """Path of an animation: its frames (json) or itself (webp)."""
        return f"{self.config['results']}/{experiment}/animations/{animation}.{suffix}"

    # Memory

    def memory_mb(self, stage: str, experiment: str, label: str, block: str) -> int:
        """Upper estimate of a job's memory in MB, from parameters, samples and seeds."""
        config = self.cell(experiment, stage, label).config
        network, first_last = config["network"], block.split("-")
        seeds = int(first_last[1]) - int(first_last[0]) + 1 if stage == "train" else 1
        itemsize = 8 if config.get("training", {}).get("dtype") == "float64" else 4
        width, depth = network["width"], network["depth"]
        weights = depth * width**2 * itemsize
        samples = max(config["task"].get("train_points") or 1, config["task"]["probe_points"])
        activations = 4 * samples * width * (depth + 1) * itemsize
        return 600 + round((4 * weights * seeds + activations * seeds) / 1e6)


def check_writable(folder: str | Path) -> None:
    """Refuse a results folder that this user cannot write to, before any work is done.

    Raises:
        ConfigurationError: naming the folder, or the existing folder above it.
    """
    nearest = Path(folder)
    while not nearest.exists():
        nearest = nearest.parent
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise ConfigurationError(
            f"results: {str(folder)!r}: no write permission on {str(nearest)!r}; "
            "allowed: a folder that this user can write to"
        )


def _project(cell: Cell, shorts: Sequence[str]) -> Cell:
    axes = {short: cell.axes[short] for short in shorts}
    return Cell(_label(axes), axes, cell.config)


def _label(axes: Mapping[str, Any]) -> str:
    if not axes:
        return WHOLE
    return "/".join(f"{short}~{_text(value)}" for short, value in axes.items())


def _text(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return "".join(letter if letter.isalnum() or letter in ".-+_" else "_" for letter in text)


def _get(config: Mapping, key: str) -> Any:
    for part in key.split("."):
        config = config[part]
    return config


def _set(config: dict, key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for part in parents:
        config = config[part]
    config[last] = value


def _sorted_copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _sorted_copy(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_sorted_copy(item) for item in value]
    return value
