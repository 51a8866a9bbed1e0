"""What the workflow has to make of a configuration, and where: cells, seed blocks and paths.

A *cell* is one point of an experiment's sweep. A *stage* (see `stages`) has a folder per cell,
labelled with the swept keys that the stage reads, so nothing is computed twice. Pure Python: the
Snakefile binds these functions, tests call them.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ntkflow.errors import ConfigurationError

from ..needs import Facts
from ..registry import TASKS
from .configuration import dotted
from .duration import SHORT_S, seconds
from .entries import entry_modules, read_facts, source_modules, task_files
from .imports import module_closure
from .layers import experiment_rules, source_names
from .memory import memory_mb
from .stages import DERIVED, STAGES, Table
from .sweeps import Cell, expand, project, swept_axes


class Plan:
    """Everything the workflow asks of a configuration.

    Args:
        config: a valid configuration, completed with its schema's defaults.
        schema: its JSON schema, to check what sweeps and overrides put into cells.
        source: file named in errors.
        files: file named in errors of an experiment, by its name.

    Attributes:
        schema: the JSON schema.
        experiment_schema: the part of it that rules an experiment's block.
        sources: names of the sources, in the order of the report.
    """

    def __init__(
        self,
        config: Mapping,
        schema: Mapping,
        *,
        source: str = "configuration",
        files: Mapping[str, str] | None = None,
    ):
        self.config, self.source, self._files = config, source, files or {}
        self.schema, self.sources = schema, source_names(schema)
        self.experiment_schema = experiment_rules(schema)
        self._cells: dict[str, list[Cell]] = {}
        self._projected: dict[tuple[str, str], list[Cell]] = {}
        self._labelled: dict[tuple[str, str], dict[str, Cell]] = {}
        self._above: dict[tuple[str, str, str], dict[str, str]] = {}
        self._code: dict[tuple[str, ...], list[str]] = {}
        self._read: dict[tuple[str, str, str], tuple[Mapping, Facts]] = {}

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
                experiment,
                self.block(experiment),
                self.experiment_schema,
                source=self.file_of(experiment),
            )
        if stage is None:
            return self._cells[experiment]
        return list(self._by_label(experiment, stage).values())

    def cell(self, experiment: str, stage: str, label: str) -> Cell:
        """The stage's cell of that label."""
        return self._by_label(experiment, stage)[label]

    def _by_label(self, experiment: str, stage: str) -> dict[str, Cell]:
        if (experiment, stage) not in self._labelled:
            cells = self.project_all(experiment, stage)
            self._labelled[experiment, stage] = {cell.label: cell for cell in cells}
        return self._labelled[experiment, stage]

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
        where = f"{self.file_of(path[0])}: {dotted(['experiments', *path])}"
        return ConfigurationError(f"{where}: {problem}")

    def file_of(self, experiment: str) -> str:
        """The file that errors of an experiment name: the last one with a word on it."""
        return self._files.get(experiment, self.source)

    # Seeds and tiles

    def blocks(self, experiment: str, stage: str, label: str) -> list[str]:
        """Seed blocks `first-last` of a cell, aligned at multiples of the seeds per job.

        Of a stage that makes tiles, `row-column` of those on and above the diagonal.
        """
        config, kind = self.cell(experiment, stage, label).config, STAGES[stage].seeds
        if STAGES[stage].tiled:
            rows = self.facts(experiment, self.cell(experiment, stage, label)).sizes.train
            count = -(-rows // config["tiles"]["size"])
            return [f"{row}-{column}" for row in range(count) for column in range(row, count)]
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
        config["modules"] = entry_modules(stage, cell.config)
        if block is not None:
            first, last = map(int, block.split("-"))
            if kind.tiled:
                return _sorted_copy(config | {"place": [first, last]})
            config["seeds"] = list(range(first, last + 1))
        return _sorted_copy(config)

    def code(self, stage: str, experiment: str, label: str) -> list[str]:
        """Files of the registry's entries that a job uses, and of what these import."""
        config = self.cell(experiment, stage, label).config
        return self._module_files(tuple(source_modules(stage, config)))

    def extension_code(self) -> list[str]:
        """Files of the extensions, which may hold criteria."""
        return self._module_files(tuple(self.config["extensions"]))

    def _module_files(self, modules: tuple[str, ...]) -> list[str]:
        if modules not in self._code:
            files = {file for name in modules for file in module_closure(name)}
            self._code[modules] = sorted(files)
        return self._code[modules]

    # Stages, tables, figures and their files

    def has_stage(self, experiment: str, stage: str) -> bool:
        """Whether the experiment asks for anything that this stage makes."""
        block = self.block(experiment)
        moments = {when for entry in block["measurements"] for when in entry["when"]}
        return STAGES[stage].is_asked_for(block.keys(), moments)

    def tables(self, experiment: str) -> dict[str, Table]:
        """Tidy tables of an experiment by name."""
        block, tables = self.block(experiment), {}
        for name, stage in STAGES.items():
            if self.has_stage(experiment, name):
                for table, group in stage.tables:
                    tables[table] = Table(name, group or TASKS[block["task"]["kind"]].table)
                for entry in block["measurements"]:
                    if stage.when in entry["when"]:
                        tables[f"{stage.when}_{entry['kind']}"] = Table(name, entry["kind"])
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

    def costs_config(self, experiment: str) -> dict[str, Any]:
        """To how many rows and nodes the cost of tiles is projected."""
        tiles = self.block(experiment)["tiles"]
        return _sorted_copy({key: tiles[key] for key in ("projected_rows", "nodes")})

    def benchmark_files(self, stage: str, experiment: str) -> list[str]:
        """Snakemake's records of the jobs that made the files of a stage."""
        jobs = self.stage_jobs(stage, experiment)
        return [self.benchmark_file(stage, experiment, *job) for job in jobs]

    def benchmark_file(self, stage: str, experiment: str, label: str, block: str) -> str:
        """Snakemake's record of one job; `block` is empty for a job of a whole cell."""
        folder = f"{self.results}/benchmarks/{STAGES[stage].rule}/{experiment}/{label}"
        return f"{folder}/{block}.tsv" if block else f"{folder}.tsv"

    def figure_config(self, experiment: str) -> dict[str, Any]:
        """What a figure may know: the experiment's block without the other figures and texts."""
        block = self.block(experiment)
        keys = ("task", "network", "training", "measurements", "published")
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
        key = (stage, upstream, experiment)
        if key not in self._above:
            pairs = zip(
                self.project_all(experiment, stage),
                self.project_all(experiment, upstream),
                strict=True,
            )
            # The first of several, as of a cell that stands for many.
            self._above[key] = {here.label: above.label for here, above in reversed(list(pairs))}
        return self._above[key][label]

    def stage_jobs(self, stage: str, experiment: str) -> list[tuple[str, str]]:
        """Cell and block of every job of a stage; the block is empty for a job of a whole cell."""
        jobs = [
            (cell.label, block)
            for cell in self.cells(experiment, stage)
            for block in (
                self.blocks(experiment, stage, cell.label) if STAGES[stage].divided else [""]
            )
        ]
        if self.config["partial"]:
            jobs = [job for job in jobs if self._exists(stage, experiment, *job)]
        return jobs

    def stage_files(self, stage: str, experiment: str) -> list[str]:
        """All files that a stage makes for an experiment."""
        jobs = self.stage_jobs(stage, experiment)
        return [self.stage_file(stage, experiment, *job) for job in jobs]

    def kernel_tiles(self, stage: str, experiment: str, label: str) -> list[str]:
        """All tiles of the kernel that belongs to a cell of this stage."""
        tiled = self._projected_label(stage, "tile", experiment, label)
        blocks = self.blocks(experiment, "tile", tiled)
        return [self.stage_file("tile", experiment, tiled, block) for block in blocks]

    def _exists(self, stage: str, experiment: str, label: str, block: str) -> bool:
        """Whether a file exists, and the files it was made from: else it would be made again."""
        files = [self.stage_file(stage, experiment, label, block)]
        files += self.sources_of(stage, experiment, label, block)
        return all(Path(file).exists() for file in files)

    def sources_of(self, stage: str, experiment: str, label: str, block: str) -> list[str]:
        """The files of earlier stages that a job reads."""
        files: list[str] = []
        for earlier in STAGES[stage].follows:
            if STAGES[earlier].tiled:
                files += self.kernel_tiles(stage, experiment, label)
            elif STAGES[earlier].seeds:
                files.append(self.stage_file(earlier, experiment, label, block))
            else:
                files.append(self.upstream_file(stage, earlier, experiment, label))
        return files

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

    def task_files(self, experiment: str, label: str) -> list[str]:
        """Files that a data set is made from, none for tasks that are drawn.

        Raises:
            ConfigurationError: if the task names a folder or file that is not there.
        """
        try:
            return task_files(self.cell(experiment, "dataset", label).config, self.results)
        except ConfigurationError as error:
            raise self.error([experiment], str(error)) from None

    def facts(self, experiment: str, cell: Cell) -> Facts:
        """What needs of measurements look at.

        Raises:
            ConfigurationError: if the task's file cannot be read.
        """
        try:
            return read_facts(cell.config)
        except ConfigurationError as error:
            raise self.error([experiment], str(error)) from None

    def memory_mb(self, stage: str, experiment: str, label: str, block: str) -> int:
        """Upper estimate of a job's memory in MB; `block` is empty for a job of a whole cell."""
        return memory_mb(*self._work(stage, experiment, label, block))

    def seconds(self, stage: str, experiment: str, label: str, block: str) -> float | None:
        """Estimate of a job's time, None where there is none; `block` as for `memory_mb`."""
        return seconds(*self._work(stage, experiment, label, block))

    def is_short(self, stage: str, experiment: str, label: str, block: str) -> bool:
        """Whether a job is too short to be sent to a queue alone."""
        estimate = self.seconds(stage, experiment, label, block)
        return estimate is not None and estimate < SHORT_S

    def _work(self, stage: str, experiment: str, label: str, block: str) -> tuple:
        """What estimates of a job are made of: stage, configuration, facts, number of networks."""
        first, last = map(int, block.split("-")) if block else (0, 0)
        key = (stage, experiment, label)
        if key not in self._read:
            cell = self.cell(experiment, stage, label)
            self._read[key] = (cell.config, self.facts(experiment, cell))
        return stage, *self._read[key], last - first + 1


def _sorted_copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _sorted_copy(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_sorted_copy(item) for item in value]
    return value
