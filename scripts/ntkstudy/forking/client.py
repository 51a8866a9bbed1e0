"""A server of forked jobs, as the run sees it that starts it and asks it for jobs."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..processes import PATIENCE
from .server import LONGEST

# Own modules come last in the path, as Snakemake has them, and the current folder, which `-c` puts
# first, is not in it: a file there must not stand for a module of Python.
START = (
    "import sys; sys.flags.safe_path or sys.path.pop(0); sys.path.append({!r}); "
    "from ntkstudy.forking.server import main; main({!r})"
)


@dataclass(frozen=True)
class Ended:
    """How a job ended.

    Attributes:
        status: exit status; minus the number of the signal that killed it.
        processor_s: time that it worked, of its own processes too.
        peak_mb: most memory that it held; 0 if nobody could measure.
    """

    status: int
    processor_s: float = 0.0
    peak_mb: float = 0.0


class Client:
    """Starts a server and asks it for jobs, from any thread.

    Args:
        scripts: folder of the scripts, absolute.
        environment: variables of the server; those that libraries read as they are loaded count
            for all its jobs.
    """

    def __init__(self, scripts: Path, environment: Mapping[str, str]):
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            arguments = [str(theirs.fileno()), str(scripts)]
            self._process = subprocess.Popen(
                [sys.executable, "-c", START.format(str(scripts), arguments)],
                env=environment,
                pass_fds=[theirs.fileno()],
            )
        self._usable = True

    def run(
        self,
        script: str,
        environment: Mapping[str, str],
        watching: Callable[[int], AbstractContextManager],
    ) -> Ended | None:
        """Run a script to its end, as `python <script>` does; it ends if this process ends.

        Args:
            script: its path.
            environment: all its variables.
            watching: entered with the number of the job's process before it starts.

        Returns:
            None, and nothing is run, if the server is gone, has loaded what is no longer so or
            cannot fork, or if the job was killed before it started.
        """
        if not self._usable:
            return None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        request = json.dumps({"script": script, "environment": dict(environment)}).encode()
        with ours:
            with theirs:
                try:
                    socket.send_fds(self._requests, [request], [theirs.fileno()])
                except OSError:
                    return None
            answer = _hear(ours)
            if "pid" not in answer:
                self._usable = False
                return None
            try:
                process = os.pidfd_open(answer["pid"])
            except OSError:  # it waits for its byte, or is gone
                return None
            try:
                with watching(answer["pid"]):
                    if not _say(ours, b"!"):
                        return None
                    return Ended(**(_hear(ours) or _kill(process)))
            finally:
                os.close(process)

    def close(self) -> None:
        """Let the server end, with the jobs that still run; kill it if it is busy importing."""
        self._requests.close()
        try:
            self._process.wait(2 * PATIENCE)  # once for its jobs
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _hear(answers: socket.socket) -> dict[str, Any]:
    """An answer; empty if the server is gone."""
    try:
        return json.loads(answers.recv(LONGEST) or b"{}")
    except ConnectionError:
        return {}


def _say(answers: socket.socket, message: bytes) -> bool:
    """Send a message; whether there is anybody to hear it."""
    try:
        answers.send(message)
    except OSError:
        return False
    return True


def _kill(process: int) -> dict[str, int]:
    """End a job that has lost its server: nobody else would know how it ends."""
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(process, signal.SIGKILL)
    select.select([process], [], [])
    return {"status": -signal.SIGKILL}
