"""Processes that end together, with small ones in place of jobs and runs."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ntkstudy.processes import STOPPING, Stopped, at_stop, is_running, stopping_cleanly

SCRIPTS = Path(__file__).parents[1] / "scripts"
JOB = """
import sys, time
from ntkstudy.processes import Stopped, stopping_cleanly
try:
    with stopping_cleanly():
        print("ready", flush=True)
        time.sleep(60)
except Stopped as stopped:
    print(stopped)
"""
MAIN = """
import subprocess, sys, time
from ntkstudy.processes import stop_with_jobs
stop_with_jobs()
job = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
try:
    time.sleep(60)
except KeyboardInterrupt:
    print("interrupted, job", job.wait(), flush=True)
"""


WAITING = """
import signal, threading, time
from ntkstudy.processes import stop_with_jobs
stop_with_jobs()
print("ready", flush=True)
def get_it():
    time.sleep(0.5)
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
threading.Thread(target=get_it).start()
try:
    threading.Semaphore(0).acquire()
except KeyboardInterrupt:
    print("interrupted")
"""


def start(code, *arguments, **environment):
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=SCRIPTS,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_a_job(number):
    job = start(JOB)
    job.send_signal(number)
    assert job.communicate()[0] == f"stopped by {number.name}\n"
    assert job.returncode == 0


def test_a_job_ends_with_its_run():
    run = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    job = start(JOB, NTKFLOW_RUN=str(run.pid))
    run.kill()  # and is not waited for: a process that nobody has asked after is no running one
    assert job.communicate()[0] == "stopped by SIGTERM\n"
    assert not is_running(run.pid)
    run.wait()


def test_a_run_takes_its_jobs_with_it():
    run = start(MAIN, JOB)
    run.terminate()
    assert run.communicate()[0] == "stopped by SIGTERM\ninterrupted, job 0\n"


def test_a_run_that_waits_hears_a_signal_that_another_thread_got():
    run = start(WAITING)
    assert run.communicate(timeout=60)[0] == "interrupted\n"


def test_what_is_done_at_a_stop_is_undone():
    before, calls = [signal.getsignal(each) for each in STOPPING], []
    undo = at_stop(lambda number, frame: calls.append(number))
    signal.raise_signal(signal.SIGHUP)
    undo()
    assert calls == [signal.SIGHUP]
    assert [signal.getsignal(each) for each in STOPPING] == before
    assert signal.set_wakeup_fd(-1) == -1


def test_jobs_see_that_their_run_was_killed():
    run = start(MAIN, JOB)
    run.kill()
    assert run.communicate()[0] == "stopped by SIGTERM\n"


def test_a_run_ends_with_its_caller():
    caller = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    run = start(MAIN, JOB, NTKFLOW_CALLER=str(caller.pid))
    caller.kill()
    caller.wait()
    assert run.communicate()[0] == "stopped by SIGTERM\ninterrupted, job 0\n"


def test_handlers_are_put_back_and_the_block_is_left():
    before = signal.getsignal(signal.SIGTERM)
    timer = threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGTERM))
    timer.start()
    with pytest.raises(Stopped, match="stopped by SIGTERM"), stopping_cleanly():
        time.sleep(5)
    assert signal.getsignal(signal.SIGTERM) is before


def test_processes_that_run():
    assert is_running(os.getpid())
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert not is_running(gone.pid)
