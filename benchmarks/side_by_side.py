"""Measure calls against each other: interleaved medians of time, and peak memory."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

# Two thread pools share the cores: a thread of one that spins would keep the other waiting.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))


def read_options(doc: str) -> argparse.Namespace:
    """Works to compare, repetitions, and the job of `peak_mb`, from the command line."""
    parser = argparse.ArgumentParser(description=doc.split("\n")[0])
    parser.add_argument("works", nargs="*", help="default: all", metavar="WORK")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peak", type=json.loads, help=argparse.SUPPRESS)
    return parser.parse_args()


def seconds(calls: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Median seconds of every call; all take turns in each repetition, after one to warm up.

    Every other repetition goes backwards: a call pays for memory that the one before gave back.
    """
    taken: list[list[float]] = [[] for _ in calls]
    turns = list(zip(calls, taken, strict=True))
    for repetition in range(repeats + 1):
        for call, times in reversed(turns) if repetition % 2 else turns:
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
    return [statistics.median(times[1:]) for times in taken]


def resident_mb() -> float:
    """Memory that the process holds now, in MB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def peak_mb(script: str, *job) -> float:
    """Most memory that a job of `script --peak` needs beyond its imports, in a fresh process."""
    command = [sys.executable, script, "--peak", json.dumps(job)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(printed.split()[-1])


def print_peak(call: Callable[[], object]) -> None:
    """Run the call while watching the memory of this process, and print the peak in MB."""
    before, stop, seen = resident_mb(), threading.Event(), []

    def watch():
        while not stop.wait(0.003):
            seen.append(resident_mb())

    thread = threading.Thread(target=watch)
    thread.start()
    call()
    stop.set()
    thread.join()
    print(max(seen, default=before) - before)
