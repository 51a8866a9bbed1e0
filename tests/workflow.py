"""Copies of the project in temporary folders, and Snakemake runs in them."""

import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

PROJECT = Path(__file__).parents[1]
PARTS = (
    *("Snakefile", "Makefile", "config", "envs", "profiles", "report", "resources", "rules"),
    "scripts",
)

# An overlay so small that a run costs little more than starting its jobs.
TINY = {
    "results": "results/tiny",
    "threads": 1,
    "only": ["kernel_profile"],
    "experiments": {
        "kernel_profile": {
            "task": {"train_points": 16, "probe_points": 8},
            "training": {"steps": 3},
            "sweep": {"network.width": [4, 8]},
            "seeds": 2,
            "initializations": 2,
            "overrides": [],
            "figures": ["profiles", "training_points"],
        }
    },
}


@dataclass(frozen=True)
class Run:
    """What a finished command said, and how long it took in all and on the processor."""

    status: int
    output: str
    seconds: float
    processor_seconds: float

    @property
    def lines(self) -> list[str]:
        """Lines of the output."""
        return self.output.splitlines()

    @property
    def idle(self) -> bool:
        """Whether there was nothing to be done."""
        return self.status == 0 and "Nothing to be done" in self.output

    @property
    def jobs(self) -> dict[str, int]:
        """Planned jobs per rule, targets such as `all` left out."""
        table = re.search(r"^Job stats:\n.*\n[- ]+\n((?:.+\n)*?)total ", self.output, re.MULTILINE)
        rows = [line.split() for line in table[1].splitlines()] if table else []
        return {rule: int(count) for rule, count in rows if rule in RULES}

    @property
    def messages(self) -> list[str]:
        """Messages of the jobs, in the order of their start."""
        return re.findall(r"^(?:localrule )?Job \d+: (.+)", self.output, re.MULTILINE)


RULES = {
    "aggregate_experiment",
    "assemble_kernel",
    "compute_kernel_tile",
    "compute_limit_kernel",
    "draw_figure",
    "extract_ntk",
    "judge_claims",
    "make_dataset",
    "measure_assembled_kernel",
    "measure_initialization",
    "render_report",
    "train_ensemble",
}


def copy_project(folder: Path) -> Path:
    """The project's files without git, environments and results."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        source = PROJECT / part
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, folder / part, ignore=ignored)
        else:
            shutil.copy2(source, folder / part)
    return folder


def write_overlay(project: Path, name: str, overlay: dict) -> str:
    """Write config/<name>.yaml and return its path for `--configfile`."""
    (project / "config" / f"{name}.yaml").write_text(yaml.safe_dump(overlay, sort_keys=False))
    return f"config/{name}.yaml"


def execute(project: Path, *command: str, text: str | None = None, **options) -> Run:
    """Run a command in the project's folder; its output and errors come as one text."""
    start, before = time.monotonic(), os.times()
    done = subprocess.run(
        command,
        cwd=project,
        input=text,
        stdin=subprocess.DEVNULL if text is None else None,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )
    after = os.times()
    used = after.children_user + after.children_system
    used -= before.children_user + before.children_system
    return Run(done.returncode, done.stdout, time.monotonic() - start, used)


def snakemake(project: Path, *arguments: str, config: str = "config/tiny.yaml", **options) -> Run:
    """`snakemake --cores 2 --configfile <config>` and more arguments."""
    # Targets come first: `--configfile` takes every word that follows it.
    call = [sys.executable, "-m", "snakemake", *arguments, "--cores", "2", "--configfile", config]
    return execute(project, *call, **options)


def plan(project: Path, *arguments: str, **options) -> Run:
    """The same as a dry run."""
    return snakemake(project, *arguments, "--dry-run", **options)
