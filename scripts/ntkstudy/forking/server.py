"""The process that jobs are forked from: it loads what they import, and computes nothing.

A request comes with a socket of its own. The server answers with the number of a new process, which
waits for a byte before it starts; when that has ended, with its status, processor time and peak.
The server ends when nobody is left to ask; jobs that still run then are stopped.
"""

import atexit
import gc
import json
import os
import runpy
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..processes import PATIENCE, STOPPING
from .loading import changed, load, stamps

LONGEST = 1 << 20  # bytes of a message


class Server:
    """Forks a job for each request, until the socket of the requests is closed.

    Args:
        requests: where they come from.
        scripts: folder of the scripts.
    """

    def __init__(self, requests: socket.socket, scripts: Path):
        self._requests = requests
        self._jobs: dict[int, tuple[int, socket.socket]] = {}  # by open file of the process
        self._handlers = {each: signal.signal(each, signal.SIG_IGN) for each in STOPPING}
        # Where it was ignored, nobody would know how a job has ended.
        self._handlers[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._stamps = stamps(scripts)
        self._loading = load(scripts)

    def serve(self) -> tuple[str, socket.socket] | None:
        """Answer requests, between imports too: such a job imports the rest itself.

        Returns:
            In the process of a job its script and its socket; None at the end.
        """
        asked = self._requests.fileno()
        while True:
            ready = _wait((asked, *self._jobs), 0.0 if self._is_loading() else None)
            for process in self._jobs.keys() & ready:
                self._report(process)
            if asked in ready:
                message, files, *_ = socket.recv_fds(self._requests, LONGEST, 1)
                if not message:
                    return self._end()
                if not files:  # too many are open: the client hears nothing, which it understands
                    continue
                if job := self._fork(json.loads(message), socket.socket(fileno=files[0])):
                    return job

    def _is_loading(self) -> bool:
        """Import one more module; whether there was one."""
        with suppress(Exception):  # scripts that cannot be read: their jobs say so
            if next(self._loading, None):
                return True
        gc.freeze()  # no collection in a job writes to what it shares
        return False

    def _fork(self, request: dict[str, Any], answers: socket.socket):
        """Start a job; or answer why there is none: a file was changed, or the system refuses."""
        if file := changed(self._stamps):
            _tell(answers, {"changed": str(file)})
            return answers.close()
        try:
            pid = os.fork()
            if pid:
                self._jobs[_open(pid)] = pid, answers
        except OSError as error:
            _tell(answers, {"refused": str(error)})
            return answers.close()
        if pid:
            return _tell(answers, {"pid": pid})
        self._leave()
        os.environ.clear()
        os.environ.update(request["environment"])
        return request["script"], answers

    def _leave(self) -> None:
        """Forget, in a job, what belongs to the server."""
        self._requests.close()
        for process, (_, answers) in self._jobs.items():
            os.close(process)
            answers.close()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _report(self, process: int) -> None:
        """Answer how a job has ended."""
        pid, answers = self._jobs.pop(process)
        os.close(process)
        _, status, used = os.wait4(pid, 0)
        answer = {
            "status": os.waitstatus_to_exitcode(status),
            "processor_s": used.ru_utime + used.ru_stime,
            "peak_mb": used.ru_maxrss / 1024,
        }
        _tell(answers, answer)
        answers.close()

    def _end(self) -> None:
        """Stop the jobs that are left."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in self._jobs:
                signal.pidfd_send_signal(process, number)
            last = time.monotonic() + PATIENCE
            while self._jobs and (left := last - time.monotonic()) > 0:
                for process in _wait(self._jobs, left):
                    self._report(process)


def _wait(files: Iterable[int], seconds: float | None = None) -> set[int]:
    """Those of some open files that have something to say."""
    poll = select.poll()
    for file in files:
        poll.register(file, select.POLLIN)
    return {file for file, _ in poll.poll(None if seconds is None else 1000 * seconds)}


def _open(pid: int) -> int:
    """The open file of a new process, which is ended if there can be none."""
    try:
        return os.pidfd_open(pid)
    except OSError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def _tell(answers: socket.socket, answer: dict[str, Any]) -> None:
    with suppress(OSError):  # nobody listens any more
        answers.send(json.dumps(answer).encode())


def run(script: str, answers: socket.socket) -> None:
    """Run a job's script as Python does, once its client says so; not at all if it is gone."""
    if not answers.recv(1):
        return
    answers.close()
    with suppress(OSError):  # what `top` shows
        Path("/proc/self/comm").write_text(Path(script).stem.rpartition(".")[2][:15])
    sys.argv = [script]
    if not sys.flags.safe_path:
        sys.path.insert(0, str(Path(script).parent))
    leave_with(lambda: runpy.run_path(script, run_name="__main__"))


def leave_with(act: Callable[[], Any]) -> None:
    """End this process after an action as Python would, without taking all modules to pieces.

    That takes .3 s where they are shared, and so are copied first.
    """
    status = 0
    try:
        act()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def main(arguments: Sequence[str]) -> None:
    """Serve the socket that is open under a number, for a folder of scripts."""
    requests = socket.socket(fileno=int(arguments[0]))
    if job := Server(requests, Path(arguments[1])).serve():
        run(*job)
