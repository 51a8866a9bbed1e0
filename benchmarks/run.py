"""Run all benchmarks and write their tables, with the machine named, into README.md.

make bench
"""

import csv
import io
import os
import platform
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
START, END = "<!-- benchmarks: start (made by `make bench`) -->", "<!-- benchmarks: end -->"
SCRIPTS = {
    "empirical_kernels.py": "Block kernels (peers: neural-tangents 0.6.5, torch.func)",
    "limit_kernels.py": "Infinite width (peer: neural-tangents 0.6.5)",
    "top_eigenpairs.py": "Matrix-free eigenpairs",
    "training_engines.py": "One training step, 10 seeds (peers: jitted JAX scan, torch.func)",
}


def table(script: str) -> list[list[str]]:
    """Rows that a benchmark prints as CSV, its heading first."""
    done = subprocess.run(
        [sys.executable, HERE / script], check=True, stdout=subprocess.PIPE, text=True
    )
    return list(csv.reader(io.StringIO(done.stdout)))


def markdown(title: str, rows: list[list[str]]) -> str:
    """A Markdown table under a bold title."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return "\n".join([f"**{title}**", "", *lines, ""])


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
    """Run every benchmark in turn and rewrite the README's tables."""
    parts = [f"Measured on: {machine()}. Medians, each pair interleaved in one process.", ""]
    for script, title in SCRIPTS.items():
        print(f"{script} ...", flush=True)
        rows = table(script)
        print("\n".join(", ".join(row) for row in rows), flush=True)
        parts.append(markdown(title, rows))
    text = README.read_text()
    before, rest = text.split(START)
    README.write_text(f"{before}{START}\n" + "\n".join(parts) + f"{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main()
