"""What a run left about itself: how long jobs took, what each read and wrote, and where."""

import json
import os
import platform
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

TIMES = ["rule", "experiment", "s", "cpu_time", "max_rss"]
SHARED = {"download_mnist"}  # rules whose records are filed by another thing than an experiment


@dataclass(frozen=True)
class Job:
    """One job: its rule, and the files that it read and wrote, folders among them."""

    rule: str
    inputs: frozenset[str]
    outputs: frozenset[str]


def read_times(folder: Path, experiments: Collection[str]) -> pd.DataFrame:
    """Snakemake's benchmark records, one row a job of a run.

    Args:
        folder: with <rule>/<experiment>/... .tsv and <rule>.tsv.
        experiments: those of the run; a folder of results also keeps the records of others.

    Returns:
        `rule`, `experiment`, seconds `s` and, of the processor, `cpu_time`, and the peak of memory
        `max_rss` in MB. What a job was too short for is 0.
    """
    rows = []
    for file, rule, experiment in _records(folder, "tsv", experiments):
        try:
            record = pd.read_csv(file, sep="\t", na_values="-").iloc[0]
            numbers = [float(record.get(name, 0.0)) for name in TIMES[2:]]
        except (ValueError, IndexError):  # a damaged record is no reason to have no report
            continue
        rows.append((rule, experiment, *numbers))
    return pd.DataFrame(rows, columns=TIMES).fillna(0.0)


def _records(
    folder: Path, suffix: str, experiments: Collection[str]
) -> Iterator[tuple[Path, str, str]]:
    """Files of a run's records, each with its rule and its experiment, "" for none."""
    for file in sorted(folder.rglob(f"*.{suffix}")):
        rule, *rest = file.relative_to(folder).with_suffix("").parts
        experiment = rest[0] if rest and rule not in SHARED else ""
        if not experiment or experiment in experiments:
            yield file, rule, experiment


def summarise_times(times: pd.DataFrame, by: str) -> list[dict[str, Any]]:
    """Jobs, wall time, processor time and peak memory by rule or by experiment, longest first."""
    groups = times[times[by] != ""].groupby(by)
    sums = groups.agg(
        jobs=("s", "size"), s=("s", "sum"), cpu=("cpu_time", "sum"), rss=("max_rss", "max")
    )
    return [
        {
            "name": name,
            "jobs": int(row.jobs),
            "seconds": float(row.s),
            "cpu_seconds": float(row.cpu),
            "max_rss_mb": float(row.rss),
        }
        for name, row in sums.sort_values("s", ascending=False).iterrows()
    ]


def read_jobs(folder: Path, experiments: Collection[str]) -> list[Job]:
    """Jobs of a run from the records that they wrote beside their logs.

    Args:
        folder: with <rule>/<experiment>/... .json and <rule>.json.
        experiments: those of the run; a folder of results also keeps the records of others.
    """
    jobs = []
    for file, rule, _ in _records(folder, "json", experiments):
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            continue
        jobs.append(Job(rule, _files(record["input"]), _files(record["output"])))
    return jobs


def _files(named: dict[str, str | list[str]]) -> frozenset[str]:
    return frozenset(
        file for files in named.values() for file in ([files] if isinstance(files, str) else files)
    )


def makers(jobs: Iterable[Job]) -> dict[str, str]:
    """The rule that made each file."""
    return {file: job.rule for job in jobs for file in job.outputs}


def rule_edges(jobs: Iterable[Job]) -> set[tuple[str, str]]:
    """Pairs of rules, the second of which read a file that the first made."""
    jobs = list(jobs)
    made = makers(jobs)
    return {
        (made[file], job.rule)
        for job in jobs
        for file in job.inputs
        if file in made and made[file] != job.rule
    }


def describe_machine(cpu_info: Path = Path("/proc/cpuinfo")) -> dict[str, str]:
    """System, processor, cores that this process may use, and memory of the machine."""
    found = {"System": f"{platform.system()} {platform.release()}, {platform.machine()}"}
    names = [
        line.partition(":")[2].strip()
        for line in (cpu_info.read_text(encoding="utf-8") if cpu_info.exists() else "").splitlines()
        if line.startswith("model name")
    ]
    found["Processor"] = names[0] if names else platform.processor() or "not known"
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found["Cores"] = f"{own} of {os.cpu_count()}"
    if hasattr(os, "sysconf"):
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        found["Memory"] = f"{memory / 1e9:.1f} GB"
    return found
