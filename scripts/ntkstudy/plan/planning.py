"""From the configuration to cells, seed blocks and paths: what the workflow has to make, and where.

A *cell* is one point of an experiment's sweep. A *stage* (see `stages`) has a folder per cell,
labelled with the swept keys that the stage reads, so nothing is computed twice. Pure Python: the
Snakefile binds these functions, tests call them.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ntkflow.errors import ConfigurationError

from ..data.mnist_files import image_files
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
from .memory import memory_mb
from .stages import DERIVED, STAGES, Table
from .sweeps import Cell, expand, project, swept_axes


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


def _merged_plan(read: Sequence[tuple[str, Mapping]], rules: Mapping) -> "Plan":
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


class Plan:
    """Everything the workflow asks of a configuration.

    Args:
        config: a valid configuration, completed with its schema's defaults.
        schema: its JSON schema, to check what sweeps and overrides put into cells.
        source: file named in errors.

    Attributes:
        experiment_schema: the part of the schema that rules an experiment's block.
    """

    def __init__(self, config: Mapping, schema: Mapping, *, source: str = "configuration"):
        self.config, self.source = config, source
        self.experiment_schema = schema["properties"]["experiments"]["additionalProperties"]
        self._cells: dict[str, list[Cell]] = {}
        self._projected: dict[tuple[str, str], list[Cell]] = {}

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
        """Names of the experiments to run: enabled, and in `only` by name or source, if given."""
        only = self.config["only"]
        return [
            name
            for name, block in self.config["experiments"].items()
            if block["enabled"] and (not only or name in only or block["source"] in only)
        ]

    def block(self, experiment: str) -> dict[str, Any]:
        """The experiment's block of the configuration."""
        return self.config["experiments"][experiment]

    def cells(self, experiment: str, stage: str | None = None) -> list[Cell]:
        """Cells of an experiment, or the distinct cells that a stage sees."""
        if experiment not in self._cells:
            self._cells[experiment] = expand(
                experiment, self.block(experiment), self.experiment_schema, source=self.source
            )
        if stage is None:
            return self._cells[experiment]
        return list({cell.label: cell for cell in self.project_all(experiment, stage)}.values())

    def cell(self, experiment: str, stage: str, label: str) -> Cell:
        """The stage's cell of that label."""
        return next(cell for cell in self.cells(experiment, stage) if cell.label == label)

    def project_all(self, experiment: str, stage: str) -> list[Cell]:
        """For every cell of the sweep, the cell that a stage sees of it."""
        if (experiment, stage) not in self._projected:
            axes = swept_axes(self.block(experiment))
            shorts = [short for key, short in axes.items() if STAGES[stage].reads_key(key)]
            cells = [project(cell, shorts) for cell in self.cells(experiment)]
            self._projected[experiment, stage] = cells
        return self._projected[experiment, stage]

    def error(self, path: Sequence[str | int], problem: str) -> ConfigurationError:
        """Error at a path below `experiments`."""
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
            # Checks of theory train networks of their own. Else `training` means to train.
            asked = {when for entry in block["measurements"] for when in entry["when"]}
            only_theory = "theory" in asked and asked <= {"theory", "limit"}
            return "training" in block and not only_theory
        if stage == "theory":
            return measured
        needs_training = "training" in STAGES[stage].reads
        return stage == "dataset" or (measured and ("training" in block or not needs_training))

    def tables(self, experiment: str) -> dict[str, Table]:
        """Tidy tables of an experiment by name."""
        images = self.block(experiment)["task"]["kind"] == "mnist"
        # Hundreds of pixels an image are no table.
        tables = {"dataset": Table("dataset", "labels" if images else "train")}
        if self.has_stage(experiment, "train"):
            tables["losses"] = Table("train", "losses")
            tables["networks"] = Table("train", "networks")
        for stage in (
            "initialization",
            "ntk",
            "train",
            "machines",
            "limit",
            "prediction",
            "theory",
        ):
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

    def table_names(self, experiment: str) -> list[str]:
        """Names of all tables, those that compare a trained with a predicted one included."""
        tables = self.tables(experiment)
        comparisons = [
            f"{kind}_comparison"
            for kind in ("function", "modes", "movement")
            if f"trained_{kind}" in tables and f"prediction_{kind}" in tables
        ]
        derived = [name for name, needed in DERIVED.items() if needed <= tables.keys()]
        return [*tables, *comparisons, *derived]

    def rates_config(self, experiment: str) -> dict[str, Any]:
        """Learning rate of every cell, for tables that need it."""
        cells = self.cells(experiment)
        rates = [
            cell.axes | {"learning_rate": cell.config["training"]["learning_rate"]}
            for cell in cells
        ]
        return _sorted_copy({"rates": rates})

    def figure_config(self, experiment: str) -> dict[str, Any]:
        """What a figure may know: the experiment's block without the other figures and texts."""
        block = self.block(experiment)
        keys = ("task", "network", "training", "measurements")
        config = {key: block[key] for key in keys if key in block}
        return _sorted_copy(config | {"sweep": self._swept_values(experiment)})

    def _swept_values(self, experiment: str) -> dict[str, list]:
        """Swept keys to their values as the cells hold them: 1 has become 1.0 where it must."""
        values: dict[str, list] = {}
        for key, short in swept_axes(self.block(experiment)).items():
            values[key] = []
            for cell in self.cells(experiment):
                if cell.axes[short] not in values[key]:
                    values[key].append(cell.axes[short])
        return values

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
            self.project_all(experiment, stage),
            self.project_all(experiment, upstream),
            strict=True,
        )
        return next(above.label for here, above in pairs if here.label == label)

    def stage_files(self, stage: str, experiment: str) -> list[str]:
        """All files that a stage makes for an experiment."""
        jobs = [
            (cell.label, block)
            for cell in self.cells(experiment, stage)
            for block in (
                self.blocks(experiment, stage, cell.label) if STAGES[stage].seeds else [""]
            )
        ]
        if self.config["partial"]:
            jobs = [job for job in jobs if self._exists(stage, experiment, *job)]
        return [self.stage_file(stage, experiment, *job) for job in jobs]

    def _exists(self, stage: str, experiment: str, label: str, block: str) -> bool:
        """Whether a file exists, and the files it was made from: else it would be made again."""
        files = [self.stage_file(stage, experiment, label, block)]
        if stage != "dataset":
            files.append(self.upstream_file(stage, "dataset", experiment, label))
        if stage in ("ntk", "machines"):
            files.append(self.stage_file("train", experiment, label, block))
        return all(Path(file).exists() for file in files)

    def tables_config(self, experiment: str) -> dict[str, dict[str, dict[str, str]]]:
        """What the job that collects an experiment's tables must know."""
        tables = self.tables(experiment).items()
        return {"tables": {name: {"group": t.group, "stage": t.stage} for name, t in tables}}

    def table_inputs(self, experiment: str) -> dict[str, list[str]]:
        """The files that an experiment's tables are collected from, by stage."""
        stages = {table.stage: None for table in self.tables(experiment).values()}
        return {stage: self.stage_files(stage, experiment) for stage in stages}

    def table_file(self, experiment: str, table: str) -> str:
        """Path of a tidy table: one that is collected, or derived from such tables."""
        folder = "tables" if table in self.tables(experiment) else "derived"
        return f"{self.config['results']}/{experiment}/{folder}/{table}.csv"

    def table_sources(self, experiment: str, names: Iterable[str]) -> list[str]:
        """What a job that reads these tables waits for: the list of all collected ones is one."""
        collected, wanted = self.tables(experiment), list(names)
        files = [self.table_file(experiment, name) for name in wanted if name not in collected]
        if len(files) < len(wanted):
            files.insert(0, f"{self.config['results']}/{experiment}/tables/contents.json")
        return files

    def figure_file(self, experiment: str, figure: str, suffix: str = "svg") -> str:
        """Path of a figure."""
        return f"{self.config['results']}/{experiment}/figures/{figure}.{suffix}"

    def animation_file(self, experiment: str, animation: str, suffix: str = "json") -> str:
        """Path of an animation: its frames (json) or itself (webp)."""
        return f"{self.config['results']}/{experiment}/animations/{animation}.{suffix}"

    def image_files(self, experiment: str, label: str) -> list[str]:
        """Files of images that a data set is made from, none for tasks on the circle.

        Raises:
            ConfigurationError: if the task names a folder that lacks one.
        """
        task = self.cell(experiment, "dataset", label).config["task"]
        try:
            return image_files(task, self.results)
        except ConfigurationError as error:
            raise self.error([experiment], str(error)) from None

    def memory_mb(self, stage: str, experiment: str, label: str, block: str) -> int:
        """Upper estimate of a job's memory in MB."""
        first, last = map(int, block.split("-"))
        config = self.cell(experiment, stage, label).config
        return memory_mb(stage, config, seeds=last - first + 1)


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


def _canonical(config: Mapping, rules: Mapping) -> dict[str, Any]:
    """Configuration with defaults, written in one way: only values tell two results apart."""
    completed = complete(config, rules)
    block_rules = rules["properties"]["experiments"]["additionalProperties"]
    for name, block in completed["experiments"].items():
        completed["experiments"][name] = complete_experiment(block, block_rules)
    return completed


def _sorted_copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _sorted_copy(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_sorted_copy(item) for item in value]
    return value
