"""What jobs are expected to cost, from records of an earlier run or from the plan. Pure Python."""

import csv
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .duration import GRADIENT_S, START_S
from .memory import network_size
from .planning import Plan
from .stages import STAGES

UNKNOWN_S = 12.0  # of a job that nothing is known of: started early
LEAST_S = 0.3
# Of jobs without torch; others of them take LEAST_S.
LIGHT_S = {"make_dataset": 0.1, "assemble_kernel": 0.2, "draw_animation": 8.0}
LIGHT_MB = 400.0  # of a job without torch
FILE_BYTES = 100_000  # of a file without weights and tiles


@dataclass(frozen=True)
class Cost:
    """What a job, or several, cost.

    Attributes:
        jobs: how many they are.
        seconds: of one processor.
        peak_mb: memory of the largest.
        disk_bytes: of the files that they make.
        recorded: how many of them an earlier run has recorded.
    """

    jobs: int = 0
    seconds: float = 0.0
    peak_mb: float = 0.0
    disk_bytes: float = 0.0
    recorded: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.jobs + other.jobs,
            self.seconds + other.seconds,
            max(self.peak_mb, other.peak_mb),
            self.disk_bytes + other.disk_bytes,
            self.recorded + other.recorded,
        )

    def __str__(self) -> str:
        jobs = f"{self.jobs} job{'s' * (self.jobs != 1)}"
        known = f" ({self.recorded} as recorded by an earlier run)" if self.recorded else ""
        return (
            f"{jobs}, about {duration(self.seconds)} of processor time{known}; "
            f"{self.peak_mb / 1000:.1f} GB of memory for the largest, "
            f"{self.disk_bytes / 1e9:.2g} GB on disk"
        )


def duration(seconds: float) -> str:
    """A time in the unit that suits it."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"


def recorded(record: str) -> tuple[float, float] | None:
    """Processor time in seconds and peak memory in MB of a job, None without a record of both.

    Args:
        record: Snakemake's benchmark file. The shortest jobs end before it measures, and a damaged
            one is none.
    """
    try:
        with open(record, encoding="utf-8", newline="") as file:
            row = next(csv.DictReader(file, delimiter="\t"))
        seconds, peak = float(row["cpu_time"]) or float(row["s"]), float(row["max_rss"])
    except (OSError, StopIteration, KeyError, TypeError, ValueError, csv.Error):
        return None
    return (seconds, peak) if 0 <= seconds < math.inf and 0 <= peak < math.inf else None


def expected_cost(plan: Plan, stage: str, experiment: str, label: str, block: str) -> Cost:
    """Cost of a stage's job; `block` is empty for a job of a whole cell."""
    job = (stage, experiment, label, block)
    disk = _disk_bytes(plan, *job)
    if known := recorded(plan.benchmark_file(*job)):
        return Cost(1, *known, disk, recorded=1)
    rule = STAGES[stage].rule
    if rule in LIGHT_S:
        return Cost(1, LIGHT_S[rule], LIGHT_MB, disk)
    estimate = plan.seconds(*job)
    # On one machine jobs are forked: what they import is there.
    seconds = max(LEAST_S, estimate - START_S - GRADIENT_S) if estimate else UNKNOWN_S
    return Cost(1, seconds, float(plan.memory_mb(*job)), disk)


def light_cost(rule: str, record: str) -> Cost:
    """Cost of a job that makes tables, figures or the report."""
    if known := recorded(record):
        return Cost(1, *known, recorded=1)
    return Cost(1, LIGHT_S.get(rule, LEAST_S), LIGHT_MB)


def _disk_bytes(plan: Plan, stage: str, experiment: str, label: str, block: str) -> float:
    """Size of a job's file: as it lies there, or of the weights or the tile in it."""
    path = Path(plan.stage_file(stage, experiment, label, block))
    if path.exists():
        return float(path.stat().st_size)
    if stage not in ("train", "tile"):
        return float(FILE_BYTES)
    cell = plan.cell(experiment, stage, label)
    facts = plan.facts(experiment, cell)
    if stage == "tile":
        outputs = facts.sizes.outputs if cell.config["tiles"]["kernel"] == "empirical" else 1
        return 8.0 * (cell.config["tiles"]["size"] * outputs) ** 2
    first, last = map(int, block.split("-"))
    itemsize = 8 if cell.config["training"]["dtype"] == "float64" else 4
    return float(FILE_BYTES + itemsize * network_size(facts)[0] * (last - first + 1))


def experiment_cost(plan: Plan, experiment: str) -> Cost:
    """Cost of everything that an experiment makes."""
    total = Cost()
    for stage in STAGES:
        if plan.has_stage(experiment, stage):
            for job in plan.stage_jobs(stage, experiment):
                total += expected_cost(plan, stage, experiment, *job)
    for rule, name in _light_jobs(plan, experiment):
        total += light_cost(rule, f"{plan.results}/benchmarks/{rule}/{name}.tsv")
    return total


def _light_jobs(plan: Plan, experiment: str) -> Iterable[tuple[str, str]]:
    """Rules of an experiment's tables and pictures, and names of their records."""
    yield "aggregate_experiment", experiment
    derived = set(plan.table_names(experiment)) - plan.tables(experiment).keys()
    yield from (("derived", f"{experiment}/{name}") for name in sorted(derived))
    block = plan.block(experiment)
    yield from (("draw_figure", f"{experiment}/{name}") for name in block["figures"])
    yield from (("draw_animation", f"{experiment}/{name}") for name in block["animations"])


def run_cost(plan: Plan, jobs: Iterable[tuple[str, str]]) -> Cost:
    """Cost of some of a plan's jobs.

    Args:
        plan: the plan.
        jobs: their rules and records.
    """
    left = dict((record, rule) for rule, record in jobs)
    total = Cost()
    for experiment in plan.experiments:
        for stage in STAGES:
            if plan.has_stage(experiment, stage):
                for job in plan.stage_jobs(stage, experiment):
                    if left.pop(plan.benchmark_file(stage, experiment, *job), None):
                        total += expected_cost(plan, stage, experiment, *job)
    return sum((light_cost(rule, record) for record, rule in left.items()), total)
