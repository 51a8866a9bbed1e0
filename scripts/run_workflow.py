"""Run the workflow as `make report` does: one line a job, and the report's path at the end."""

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from ntkflow.errors import ConfigurationError, unknown
from ntkstudy.plan.configuration import read_yaml
from ntkstudy.processes import CALLER, at_stop
from ntkstudy.terminal import Display, Forecast, usual_seconds

JOB = re.compile(r"(?:localrule )?Job (\d+): (.+)")
FINISHED = re.compile(r"Finished jobid: (\d+)")
PROGRESS = re.compile(r"(\d+) of (\d+) steps|at work: ")
TOTAL = re.compile(r"total\s+(\d+)$")
TARGET = re.compile(r"all\s+1$")
NOTHING = "Nothing to be done"
EXPECTED = "Expected: "  # as `ntkstudy.plan.scheduling` says it
KILLED = "died with <Signals.SIGKILL"
LOCKED = "Directory cannot be locked"
TROUBLE = re.compile(r"Error|Exception|Warning|error|Exiting|cannot|incomplete")


class Progress:
    """Turn Snakemake's output into `[done/total] what` lines; after trouble, show everything."""

    def __init__(self):
        self.done, self.total, self.trouble, self.locked = 0, 0, False, False
        self.killed, self.stopped = False, False
        self.started: dict[str, tuple[str, float]] = {}

    def feed(self, line: str) -> str | None:
        """The line to show for one line of Snakemake's output, or None; none after a stop."""
        if self.stopped:
            return None
        if job := JOB.match(line):
            self.started[job[1]] = (job[2], time.monotonic())
            return f"{self._count()} started   {job[2]}"
        if finished := FINISHED.match(line):
            if finished[1] not in self.started:
                return None  # the target
            message, start = self.started.pop(finished[1])
            self.done += 1
            return f"{self._count()} finished  {message} ({time.monotonic() - start:.0f} s)"
        if TARGET.match(line):
            self.total -= 1  # the target is no work
            return None
        if total := TOTAL.match(line):
            self.total += int(total[1])
            return None
        if PROGRESS.match(line):
            return None
        self.trouble = self.trouble or bool(TROUBLE.search(line))
        self.locked = self.locked or LOCKED in line
        self.killed = self.killed or KILLED in line
        return line if self.trouble or line.startswith((NOTHING, EXPECTED)) else None

    @property
    def began(self) -> bool:
        """Whether a job was started."""
        return bool(self.done or self.started)

    def _count(self) -> str:
        return f"[{self.done:>{len(str(self.total))}}/{self.total}]"


def command(scale: str, cores: int, only: str, partial: bool) -> list[str]:
    """The Snakemake call for a scale; memory is limited to 85 % of the machine's."""
    settings = [f"only=[{only}]"] * bool(only) + ["partial=True"] * partial
    return [
        *[sys.executable, "-m", "snakemake", "--cores", str(cores)],
        *["--resources", f"mem_mb={_memory_mb()}"],
        *overlays(scale),
        *(["--config", *settings] if settings else []),
        *["--quiet", "host", "reason"],
    ]


def overlays(scale: str) -> list[str]:
    """Snakemake's option for the file of a scale."""
    return [] if scale == "default" else ["--configfile", f"config/{scale}.yaml"]


def results_folder(scale: str) -> str:
    """Folder that a scale's file names for its results, so that none writes into another's.

    Raises:
        ConfigurationError: if the file is no YAML, or names no folder.
    """
    file = f"config/{'config' if scale == 'default' else scale}.yaml"
    folder = read_yaml(file).get("results")
    if not folder:
        allowed = f"a folder of its own, such as results/{scale}"
        raise ConfigurationError(f"{file}: results: missing; allowed: {allowed}")
    return folder


def _memory_mb() -> int:
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return int(0.85 * pages * size / 1e6)


def run(call: list[str], display: Display | None = None) -> tuple[int, Progress]:
    """Run Snakemake, showing its progress; its exit status, and what its output said.

    Signals that ask this process to stop are handed on, so that jobs and Snakemake stop first.
    """
    progress, display = Progress(), display or Display(sys.stdout, Forecast({}, 1))
    snakemake: subprocess.Popen | None = None

    def stop(number: int, frame: FrameType | None) -> None:
        if not progress.stopped:
            progress.stopped = True
            display.say("Stopping; what is not complete is removed.")
        if snakemake:
            snakemake.send_signal(signal.SIGTERM if progress.began else signal.SIGINT)

    undo = at_stop(stop)
    environment = {**os.environ, CALLER: str(os.getpid())}
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        with display, subprocess.Popen(call, env=environment, **pipes) as snakemake:
            for line in map(str.rstrip, snakemake.stdout):
                shown = progress.feed(line)
                running = list(progress.started.values())
                display.show(line, shown, progress.done, progress.total, running)
    finally:
        undo()
    return snakemake.returncode, progress


def advise(progress: Progress, scale: str) -> str | None:
    """What helps after a run that failed."""
    if progress.locked:
        unlock = " ".join([".venv/bin/snakemake", "--unlock", *overlays(scale)])
        return f"If no other run is at work, a killed one left this lock; `{unlock}` removes it."
    if progress.stopped:
        return "Stopped. The same command goes on: what is complete stays."
    if progress.killed:
        return (
            "A job was killed from outside, as a system does where memory is short. "
            "The same command goes on; CORES=1 lets it do one job at a time."
        )
    if progress.began:
        return "The run failed; `make report PARTIAL=1` makes a report of the results that exist."
    return None


def _count(text: str) -> int:
    """A number of cores, at least one."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; allowed: an integer >= 1")
    return int(text)


def main() -> int:
    """Parse the command line, run, and say where the report is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", default="default", help="default, or an overlay of config/")
    parser.add_argument("--cores", type=_count, default=1)
    parser.add_argument("--only", default="", help="experiments or sources, separated by commas")
    parser.add_argument("--partial", action="store_true", help="report on what exists")
    parser.add_argument("--quiet", action="store_true", help="no line a job, as for logs")
    arguments = parser.parse_args()
    scales = {"default", *(path.stem for path in Path("config").glob("*.yaml"))}
    scales -= {"config", "schema", "claims_schema"}
    if arguments.scale not in scales:
        print(unknown("SCALE", arguments.scale, sorted(scales)))
        return 2
    try:
        folder = results_folder(arguments.scale)
    except ConfigurationError as error:
        print(error)
        return 2
    start = time.monotonic()
    call = command(arguments.scale, arguments.cores, arguments.only, arguments.partial)
    forecast = Forecast(usual_seconds(Path(folder, "benchmarks")), arguments.cores)
    status, progress = run(call, Display(sys.stdout, forecast, quiet=arguments.quiet))
    if status:
        if advice := advise(progress, arguments.scale):
            print(advice)
        return status
    report = Path(folder, "report", "index.html").resolve()
    print(f"Report: {report} ({time.monotonic() - start:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
