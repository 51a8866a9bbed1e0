"""Snakemake's jobs forked from servers, where that gives the same as processes of their own."""

import atexit
import inspect
import os
import shlex
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from .client import Client, Ended

FEWEST = 4  # jobs; for fewer a server takes longer to start than it saves
# As Snakemake sets them for a job.
THREADS = (
    *("OMP_NUM_THREADS", "GOTO_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"),
    *("VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS"),
)
TEMPORARY = ("TMPDIR", "TMP", "TEMPDIR", "TEMP")
KNOWN = ["self", "fname", "edit"]  # parameters of the function that is replaced


def fork_jobs(workflow: Any) -> None:
    """Have this run's Python scripts forked from a process that has loaded their imports.

    That takes 2 s of a processor for each job that imports torch. On a cluster, in conda, in
    containers, where the system has no such processes, for a few jobs, and with a Snakemake that
    runs scripts in another way, everything stays as it is: slower, not different.

    Args:
        workflow: Snakemake's workflow, about to start its first job.
    """
    if not (getattr(workflow, "local_exec", False) and workflow.is_main_process):
        return
    if not can_follow() or len(list(workflow.dag.needrun_jobs())) < FEWEST:
        return
    from snakemake.script import PythonScript

    plain = PythonScript.execute_script
    if list(inspect.signature(plain).parameters) != KNOWN:
        return
    servers = Servers(Path(workflow.basedir, "scripts"))
    atexit.register(servers.close)

    def execute_script(script: Any, fname: str, edit: bool = False) -> None:
        if edit or script.conda_env or script.container_img or script.env_modules:
            return plain(script, fname, edit)
        ended = servers.run(script, fname)
        if ended is None:
            return plain(script, fname, edit)
        if ended.status:
            command = shlex.join([sys.executable, fname])
            raise subprocess.CalledProcessError(ended.status, command)

    PythonScript.execute_script = execute_script


def can_follow() -> bool:
    """Whether the system tells of processes that are nobody's children here: Linux since 5.3."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


class Servers:
    """One server for each number of threads, which libraries read as they are loaded.

    Args:
        scripts: folder of the scripts.
    """

    def __init__(self, scripts: Path):
        self._scripts = scripts
        self._clients: dict[int, Client] = {}
        self._lock = threading.Lock()

    def run(self, script: Any, file: str) -> Ended | None:
        """Run the file of a job's script; as `Client.run`, recorded in the job's benchmark."""
        from snakemake.benchmark import benchmarked

        environment = job_environment(script.threads, script.resources.get("tmpdir"))
        record = script.bench_record
        ended = self._client(script.threads, environment).run(
            file, environment, lambda pid: benchmarked(False if record is None else pid, record)
        )
        if ended and record and ended.peak_mb:
            # Snakemake looks every half minute, and not at the end.
            record.cpu_time = ended.processor_s
            record.max_rss = max(record.max_rss or 0.0, ended.peak_mb)
            record.data_collected = True
        return ended

    def _client(self, threads: int, environment: dict[str, str]) -> Client:
        with self._lock:
            if threads not in self._clients:
                self._clients[threads] = Client(self._scripts, environment)
            return self._clients[threads]

    def close(self) -> None:
        """End all servers."""
        for client in self._clients.values():
            client.close()


def job_environment(threads: int, temporary: str | None) -> dict[str, str]:
    """Variables of a job, as Snakemake gives them.

    Args:
        threads: of the job.
        temporary: its folder for temporary files, if it has one.
    """
    folder = {name: temporary for name in TEMPORARY} if temporary else {}
    return {**os.environ, **{name: str(threads) for name in THREADS}, **folder}
