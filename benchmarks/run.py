"""Run benchmarks and write their tables into docs/performance.md, each with its machine.

All of them: make bench. One, while the tables of the others stay as they were measured:
.venv-bench/bin/python benchmarks/run.py architectures.py
"""

import csv
import io
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PAGE, RESULTS = HERE.parent / "docs" / "performance.md", HERE / "results"
MACHINES = RESULTS / "machines.json"
START, END = "<!-- benchmarks: start (made by `make bench`) -->", "<!-- benchmarks: end -->"
SCRIPTS = {
    "empirical_kernels.py": "Block kernels (peers: neural-tangents 0.6.5, torch.func)",
    "architectures.py": "Networks that people bring, one thread (peers: torch.func's tutorial)",
    "limit_kernels.py": "Infinite width (peer: neural-tangents 0.6.5)",
    "top_eigenpairs.py": "Matrix-free eigenpairs",
    "training_architectures.py": "One training step, 5 seeds, one thread (peers: loop, torch.func)",
    "training_engines.py": "One training step, 10 seeds, one thread (peers: JAX scan, torch.func)",
}
# Run in the project's own environment, by their own command lines.
ALONE = {"plan_load.py": "Snakemake plans many jobs (what is allowed beside what was measured)"}


def measure(script: str) -> None:
    """Run a benchmark and keep the CSV that it prints, and on which machine, in results."""
    done = subprocess.run(
        [sys.executable, HERE / script], check=True, stdout=subprocess.PIPE, text=True
    )
    print(done.stdout, flush=True)
    keep(script, done.stdout)


def keep(script: str, text: str) -> None:
    """Keep the rows of a benchmark, and on which machine they were measured."""
    result_file(script).write_text(text)
    MACHINES.write_text(json.dumps(machines() | {script: machine()}, indent=2) + "\n")


def machines() -> dict[str, str]:
    """The machine that each benchmark ran on last."""
    return json.loads(MACHINES.read_text()) if MACHINES.exists() else {}


def result_file(script: str) -> Path:
    """Where a benchmark's rows are kept."""
    return (RESULTS / script).with_suffix(".csv")


def rows(script: str) -> list[list[str]]:
    """Rows that a benchmark printed when it last ran, its heading first."""
    return list(csv.reader(io.StringIO(result_file(script).read_text())))


def markdown(title: str, machine: str, rows: list[list[str]]) -> str:
    """Markdown tables under a bold title, one for each heading row, which begins with `work`."""
    lines = [f"**{title}**", "", f"Measured on: {machine}."]
    for row in rows:
        is_heading = row[0] == "work"
        lines += [""] * is_heading + ["| " + " | ".join(row) + " |"]
        lines += ["|" + "---|" * len(row)] * is_heading
    return "\n".join([*lines, ""])


def machine() -> str:
    """Processor, number of cores and memory of this machine, in words."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":")[1].strip()
            break
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return f"{model}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB, {platform.system()}"


def main() -> None:
    """Run the benchmarks named on the command line, or all, and rewrite the page's tables."""
    for script in sys.argv[1:] or SCRIPTS:
        print(f"{script} ...", flush=True)
        measure(script)
    write_tables()


def write_tables() -> None:
    """Put what was measured last into the page."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(START)
    PAGE.write_text(f"{before}{tables()}{rest.split(END)[1]}", encoding="utf-8")


def tables() -> str:
    """What was measured last, in Markdown, between its marks."""
    parts, known = ["Medians, each pair interleaved in one process.", ""], machines()
    titles = SCRIPTS | ALONE
    measured = {script: title for script, title in titles.items() if result_file(script).exists()}
    parts += [markdown(title, known[script], rows(script)) for script, title in measured.items()]
    return f"{START}\n" + "\n".join(parts) + END


if __name__ == "__main__":
    main()
