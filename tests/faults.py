"""Runs of the workflow that are stopped in mid-write: a job waits there, and says who it is."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from workflow import Run

RESULTS = Path("results/tiny/kernel_profile")

# Python runs this at its start. A job whose output is written, but has no checksum and name yet,
# waits while a file `pause` with a word of its script's name is there.
PAUSE = """
import builtins, os, sys, time

opened = builtins.open

def wait(path, mode="r", *others, **options):
    if mode == "ab" and ".part" in str(path):
        while os.path.exists("pause") and opened("pause").read() in sys.argv[0]:
            if not os.path.exists("paused"):
                with opened("pausing", "w") as file:
                    file.write(f"{os.getpid()} {os.environ['NTKFLOW_RUN']}")
                os.rename("pausing", "paused")
            time.sleep(0.1)
    return opened(path, mode, *others, **options)

builtins.open = wait
"""


@dataclass
class Started:
    """A run that has come to the pause: its process, the job's and Snakemake's."""

    process: subprocess.Popen
    job: int
    snakemake: int
    project: Path

    def go_on(self) -> None:
        """Let the job go on."""
        (self.project / "pause").unlink()

    def end(self) -> Run:
        """What the run said, once it and all that it started have ended."""
        output, _ = self.process.communicate()
        return Run(self.process.returncode, output, 0.0, 0.0)

    @property
    def left(self) -> list[int]:
        """Processes of its session that still run, half a minute given."""
        for _ in range(300):
            if not (found := members(self.process.pid)):
                return []
            time.sleep(0.1)
        return found


def members(session: int) -> list[int]:
    """Processes of a session that have not ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, its = stat.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(its) == session and state not in "XZ":
            found.append(int(stat.parent.name))
    return found


def make_report(*arguments: str) -> list[str]:
    """The command behind `make report SCALE=tiny`."""
    call = [sys.executable, "scripts/run_workflow.py", "--scale", "tiny", "--cores", "2"]
    return [*call, *arguments]


@contextmanager
def paused(project: Path, script: str, call: list[str]):
    """A run in a session of its own, once the job of that script waits in mid-write."""
    site = project / "site"
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(PAUSE)
    (project / "pause").write_text(script)
    environment = os.environ | {"PYTHONPATH": str(site)}
    pipes = dict(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    process = subprocess.Popen(
        call, cwd=project, env=environment, start_new_session=True, text=True, **pipes
    )
    try:
        while not (project / "paused").exists():
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.1)
        job, snakemake = map(int, (project / "paused").read_text().split())
        yield Started(process, job, snakemake, project)
    finally:
        for pid in members(process.pid):
            os.kill(pid, signal.SIGKILL)
        if process.stdout and not process.stdout.closed:
            process.communicate()
        for name in ("pause", "paused"):
            (project / name).unlink(missing_ok=True)


def leftovers(project: Path) -> list[Path]:
    """Files under a temporary name."""
    return [path for path in project.rglob("*.part*") if ".snakemake" not in path.parts]


def times(project: Path) -> dict[str, int]:
    """When every data file was made."""
    files = [*project.glob(f"{RESULTS}/**/*.h5"), *project.glob(f"{RESULTS}/tables/*.csv")]
    return {str(path.relative_to(project / RESULTS)): path.stat().st_mtime_ns for path in files}


def assert_same_tables(project: Path, other: Path) -> None:
    """Every table is, byte by byte, that of another run."""
    expected = {path.name: path.read_bytes() for path in (other / RESULTS / "tables").iterdir()}
    found = {path.name: path.read_bytes() for path in (project / RESULTS / "tables").iterdir()}
    assert found == expected
