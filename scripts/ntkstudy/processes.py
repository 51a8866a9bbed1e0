"""Processes that end together: a job with the run that started it, a run with its caller.

A process that is killed cannot tell the others. Each of them looks, every second, whether the one
above it is still there, so that none works on for nobody.
"""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from types import FrameType
from typing import Any

CALLER = "NTKFLOW_CALLER"  # variable of a run: process without which it stops
RUN = "NTKFLOW_RUN"  # variable of a job: the same
PATIENCE = 10.0  # seconds that a process has to stop before it is killed
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # what asks a process to stop
UNHEARD = 0.5  # seconds after which a signal has not reached the main thread


class Stopped(BaseException):
    """Somebody asked this process to stop: no error, and nothing to go on after."""


def is_running(pid: int) -> bool:
    """Whether there is such a process that has not ended, its parent aware of that or not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:  # no Linux, or it has just ended
        return not Path("/proc/self").exists()
    return state.rpartition(")")[2].split()[0] not in "XZ"


@contextlib.contextmanager
def stopping_cleanly(above: str = RUN) -> Iterator[None]:
    """Raise `Stopped` at the first signal that asks this process to stop, or when it is alone.

    Outputs that are half-written go, as after an error. A process that works on in compiled code
    cannot notice the signal, and is ended.

    Args:
        above: name of the variable that tells the process to stay with, if any.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {each: signal.getsignal(each) for each in STOPPING}
    ended = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        for each in STOPPING:
            signal.signal(each, signal.SIG_IGN)
        after(PATIENCE, lambda: ended.is_set() or os._exit(128 + number))
        raise Stopped(f"stopped by {signal.Signals(number).name}")

    for each in STOPPING:
        if before[each] is not signal.SIG_IGN:  # as with nohup
            signal.signal(each, stop)
    follow(os.environ.get(above), ended)
    try:
        yield
    finally:
        ended.set()
        for each, handler in before.items():
            signal.signal(each, handler)


def at_stop(act: Callable[[int, FrameType | None], None]) -> Callable[[], None]:
    """Call a function in the main thread at signals that ask this process to stop.

    The system may give a signal to any thread. Python then calls its handler when the main thread
    next runs code of Python, which it never does while it waits for a lock. At a first signal it is
    woken here.

    Args:
        act: takes what a handler takes.

    Returns:
        What puts everything back as it was.
    """
    heard: list[int] = []  # no lock, which the next signal would wait for
    before = {each: signal.getsignal(each) for each in STOPPING}

    def handle(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        act(number, frame)

    for each in STOPPING:
        if before[each] is not signal.SIG_IGN:  # as with nohup
            signal.signal(each, handle)
    numbers, told = socket.socketpair()
    told.setblocking(False)
    earlier = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)

    def wake() -> None:
        with numbers, told:
            while number := numbers.recv(1):
                time.sleep(UNHEARD)
                if number[0] in STOPPING and not heard:
                    signal.pthread_kill(threading.main_thread().ident, number[0])

    threading.Thread(target=wake, daemon=True).start()

    def undo() -> None:
        signal.set_wakeup_fd(earlier)
        told.shutdown(socket.SHUT_WR)
        for each, handler in before.items():
            signal.signal(each, handler)

    return undo


def follow(pid: str | None, ended: threading.Event | None = None) -> None:
    """Send SIGTERM to this process when another one is gone; nothing, if there is none."""
    if not pid:
        return

    def look() -> None:
        while not (ended and ended.is_set()):
            if not is_running(int(pid)):
                os.kill(os.getpid(), signal.SIGTERM)
                return
            time.sleep(1)

    threading.Thread(target=look, daemon=True).start()


def after(seconds: float, action: Callable[[], Any]) -> None:
    """Do something later, unless this process has ended by then."""
    timer = threading.Timer(seconds, action)
    timer.daemon = True
    timer.start()


def stop_with_jobs(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let a run on one machine take its jobs with it, however it ends.

    At SIGINT, SIGTERM or SIGHUP jobs are asked to stop at once, and killed if they do not; then
    Snakemake cleans up as after Ctrl-C. It would wait for them else, or leave them working. If it
    is killed itself, they see so.
    """
    import psutil

    def stop(number: int, frame: FrameType | None) -> None:
        for each in STOPPING:
            signal.signal(each, signal.SIG_IGN)
        children = psutil.Process().children(recursive=True)
        _signal_all(children, signal.SIGTERM)
        after(PATIENCE, lambda: _signal_all(children, signal.SIGKILL))
        raise KeyboardInterrupt

    at_stop(stop)
    environment[RUN] = str(os.getpid())
    follow(environment.get(CALLER))


def _signal_all(processes: list, number: signal.Signals) -> None:
    import psutil

    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)
