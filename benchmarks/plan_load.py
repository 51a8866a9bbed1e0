"""Planning at load: a plan of 8,000 jobs, and the same plan when there is nothing left to do.

    .venv/bin/python benchmarks/plan_load.py [--jobs 8000]

The plan is the default scale with so many seeds of `kernel_profile`, one a job, that it has that
many jobs. For the second time every output is there, empty, and Snakemake has recorded it as that
of its job (`--touch`). Time and memory are those of the whole command.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import run as benchmarks
import yaml

PROJECT = Path(__file__).parents[1]
PARTS = ("Snakefile", "config", "envs", "profiles", "report", "resources", "rules", "scripts")
# Seconds and MB that a run of 8,000 jobs may take.
BOUNDS = {"plan": (35.0, 1000.0), "nothing to do": (25.0, 1000.0)}


def copy_project(folder: Path) -> Path:
    """The project's files without results."""
    for part in PARTS:
        source = PROJECT / part
        copy = shutil.copytree if source.is_dir() else shutil.copy2
        copy(source, folder / part)
    return folder


def snakemake(project: Path, *arguments: str) -> tuple[str, float, float]:
    """Output of a Snakemake command, its seconds and its most memory in MB."""
    call = [sys.executable, "-m", "snakemake", *arguments, "--cores", "2"]
    output = project / "output.txt"
    start = time.perf_counter()
    with open(output, "w") as file:
        overlay = ["--configfile", "config/load.yaml"]
        process = subprocess.Popen(
            [*call, *overlay], cwd=project, stdout=file, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
    seconds, text = time.perf_counter() - start, output.read_text()
    if status:
        raise SystemExit(text[-2000:])
    return text, seconds, usage.ru_maxrss / 1024


def plan(project: Path) -> tuple[int, float, float]:
    """Jobs of a dry run, its seconds and memory."""
    text, seconds, memory = snakemake(project, "--dry-run", "--quiet", "rules")
    total = re.search(r"^total +(\d+)$", text, re.MULTILINE)
    return int(total[1]) - 1 if total else 0, seconds, memory


def write_overlay(project: Path, seeds: int) -> None:
    """A scale with that many seeds of one experiment, one a job."""
    block = {"seeds": seeds, "seeds_per_job": 1, "overrides": []}
    overlay = {"results": "results/load", "experiments": {"kernel_profile": block}}
    (project / "config/load.yaml").write_text(yaml.safe_dump(overlay))


def pretend(project: Path) -> None:
    """Make every output an empty file, and let Snakemake take them for those of their jobs."""
    text, _, _ = snakemake(project, "--summary")
    for line in text.splitlines():
        if line.startswith("results/load/"):
            path = project / line.split("\t")[0]
            # An output without an ending is a folder.
            folder = path.parent if path.suffix else path
            folder.mkdir(parents=True, exist_ok=True)
            if path.suffix:
                path.touch()
    snakemake(project, "--touch", "--quiet", "all")


def measure(jobs: int) -> list[tuple[str, int, float, float]]:
    """Work, jobs, seconds and MB of both plans."""
    with tempfile.TemporaryDirectory() as folder:
        project = copy_project(Path(folder))
        write_overlay(project, 1)
        few = plan(project)[0]
        write_overlay(project, 2)
        each = plan(project)[0] - few
        write_overlay(project, 1 + -(-(jobs - few) // each))
        planned = plan(project)
        pretend(project)
        left, *idle = plan(project)
        if left:
            raise SystemExit(f"{left} jobs are left, where all outputs are there")
        return [("plan", *planned), ("nothing to do", planned[0], *idle)]


def main() -> None:
    """Print and keep the rows, and fail where one is over its bound."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=8000)
    found = measure(parser.parse_args().jobs)
    lines = ["work,jobs,seconds,allowed_seconds,mb,allowed_mb"]
    lines += [
        f"{work},{jobs},{seconds:.1f},{BOUNDS[work][0]:g},{memory:.0f},{BOUNDS[work][1]:g}"
        for work, jobs, seconds, memory in found
    ]
    print("\n".join(lines))
    benchmarks.keep("plan_load.py", "\n".join([*lines, ""]))
    benchmarks.write_tables()
    over = [work for work, _, *used in found if any(map(float.__gt__, used, BOUNDS[work]))]
    sys.exit(f"over its bound: {', '.join(over)}" if over else 0)


if __name__ == "__main__":
    main()
