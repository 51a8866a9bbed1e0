"""Jobs forked from a server, with small scripts in place of theirs."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from workflow import TINY, copy_project, snakemake, write_overlay

from ntkstudy.forking.client import Client, Ended, _kill
from ntkstudy.forking.installing import job_environment
from ntkstudy.forking.loading import PACKAGES, changed, load, stamps
from ntkstudy.processes import is_running

SCRIPTS = Path(__file__).parents[1] / "scripts"
JOB = "from own import value\n\nrun_job(main, globals())\n"
FACTS = """
import json, os, signal, sys
facts = {
    "name": __name__, "argv": sys.argv, "path": sys.path, "folder": os.getcwd(),
    "environment": dict(os.environ), "stop": str(signal.getsignal(signal.SIGTERM)),
    "open": sorted(os.listdir("/proc/self/fd"))[3:4],
}
json.dump(facts, open(OUT, "w"))
"""
WAITING = """
import os, time
open(OUT, "w").write(str(os.getpid()))
time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path):
    """A folder of scripts: a job's, and the module that it imports; packages are empty there."""
    (tmp_path / "packages").mkdir()
    for name in {package.split(".")[0] for package in PACKAGES}:
        (tmp_path / "packages" / f"{name}.py").touch()
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "job_of_mine.py").write_text(JOB)
    (tmp_path / "scripts" / "own.py").write_text("value = 1\n")
    return tmp_path


@contextlib.contextmanager
def serving(folder):
    one = Client(folder / "scripts", os.environ | {"PYTHONPATH": f"{folder}/packages:{SCRIPTS}"})
    try:
        yield one
    finally:
        one.close()


@pytest.fixture
def client(folder):
    with serving(folder) as one:
        yield one


def run(client, folder, code, watching=lambda pid: contextlib.nullcontext(), **environment):
    script = folder / "script.py"
    script.write_text(f"OUT = {str(folder / 'out')!r}\n{code}")
    return client.run(str(script), os.environ | environment, watching)


def test_a_script_finds_what_a_process_of_its_own_would(client, folder):
    variables = {"EXTRA": "ü", "PYTHONPATH": f"{folder}/packages:{SCRIPTS}"}
    ended = run(client, folder, FACTS, **variables)
    facts = json.loads((folder / "out").read_text())
    call = [sys.executable, str(folder / "script.py")]
    subprocess.run(call, env=os.environ | variables, check=True)
    assert facts["path"].pop() == str(folder / "scripts")  # Snakemake adds it to the others
    assert facts == json.loads((folder / "out").read_text())
    assert ended.status == 0
    assert ended.processor_s > 0
    assert ended.peak_mb > 5


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("pass", 0),
        ("raise SystemExit", 0),
        ("raise SystemExit(3)", 3),
        ("raise SystemExit('no')", 1),
        ("raise ValueError('deep')", 1),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -9),
    ],
)
def test_statuses(client, folder, code, status):
    assert run(client, folder, code).status == status


def test_a_job_starts_once_it_is_watched(client, folder):
    seen = []

    @contextlib.contextmanager
    def watching(pid):
        seen.append((pid, is_running(pid), (folder / "out").exists()))
        yield
        seen.append(int((folder / "out").read_text()))

    run(client, folder, WAITING.replace("60", "0"), watching)
    (pid, *before), after = seen
    assert before == [True, False]
    assert after == pid


def test_an_edit_of_what_is_loaded_ends_the_forks(client, folder):
    assert run(client, folder, "pass").status == 0
    waited = time.monotonic() + 20
    while time.monotonic() < waited:  # until it is loaded: a change before that is none
        (folder / "scripts" / "own.py").touch()
        if (ended := run(client, folder, "pass")) is None:
            break
        time.sleep(0.1)
    assert ended is None
    assert run(client, folder, "pass") is None


def wait_for(path):
    while not (path.exists() and path.read_text()):
        time.sleep(0.05)
    return int(path.read_text())


def test_a_job_does_not_outlive_its_server(client, folder):
    found = []
    thread = threading.Thread(target=lambda: found.append(run(client, folder, WAITING)))
    thread.start()
    pid = wait_for(folder / "out")
    client._process.kill()
    thread.join(20)
    assert found == [Ended(-signal.SIGKILL)]
    assert not is_running(pid)
    assert run(client, folder, "pass") is None


CLIENT = """
import contextlib, os, sys
sys.path.insert(0, {scripts!r})
from pathlib import Path
from ntkstudy.forking.client import Client
client = Client(Path({folder!r}, "scripts"), os.environ | dict(PYTHONPATH={path!r}))
print(client._process.pid, flush=True)
client.run({script!r}, os.environ, lambda pid: contextlib.nullcontext())
"""


def test_a_job_and_its_server_end_with_the_client(folder):
    (folder / "script.py").write_text(f"OUT = {str(folder / 'out')!r}\n{WAITING}")
    path = f"{folder}/packages:{SCRIPTS}"
    names = dict(scripts=str(SCRIPTS), folder=str(folder), script=str(folder / "script.py"))
    call = [sys.executable, "-c", CLIENT.format(**names, path=path)]
    with subprocess.Popen(call, stdout=subprocess.PIPE, text=True) as process:
        server, job = int(process.stdout.readline()), wait_for(folder / "out")
        process.kill()
    last = time.monotonic() + 120  # an import comes to its end first
    while (is_running(server) or is_running(job)) and time.monotonic() < last:
        time.sleep(0.1)
    assert not is_running(job)
    assert not is_running(server)


# What may go wrong

REFUSING = """
import errno, os
real, left = os.{0}, [True]
def once(*arguments):
    if not left:
        raise OSError(errno.EAGAIN, "no more of them")
    left.clear()
    return real(*arguments)
os.{0} = once
"""
UNTIL = """
import os, time
open(OUT, "w").write(str(os.getpid()))
while not os.path.exists(OUT + ".end"):
    time.sleep(.05)
"""


@pytest.mark.parametrize("name", ["fork", "pidfd_open"])
def test_a_refusal_of_the_system_leaves_the_jobs_that_run(folder, name):
    (folder / "packages" / "sitecustomize.py").write_text(REFUSING.format(name))
    found = []
    with serving(folder) as client:
        thread = threading.Thread(target=lambda: found.append(run(client, folder, UNTIL)))
        thread.start()
        wait_for(folder / "out")
        assert run(client, folder, "open(OUT + '.second', 'w')") is None
        (folder / "out.end").touch()
        thread.join(20)
        assert client._process.poll() is None
    assert [ended.status for ended in found] == [0]
    assert not (folder / "out.second").exists()


def test_a_script_that_cannot_be_read_leaves_the_server(folder):
    (folder / "scripts" / "broken.py").write_bytes(b"\xff")
    with serving(folder) as client:
        for _ in range(3):
            assert run(client, folder, "pass").status == 0


def test_a_server_hears_of_its_jobs_where_they_are_ignored(folder):
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        serves = serving(folder)
        client = serves.__enter__()
    finally:
        signal.signal(signal.SIGCHLD, before)
    code = "import signal, sys; sys.exit(int(signal.getsignal(signal.SIGCHLD)) + 2)"
    assert run(client, folder, code).status == signal.SIG_IGN + 2
    serves.__exit__(None, None, None)


def test_files_of_the_project_stand_for_no_module_of_python(folder, monkeypatch):
    (folder / "json.py").write_text("raise ImportError('mine')\n")
    (folder / "statistics.py").touch()
    (folder / "packages" / "jinja2.py").write_text("import statistics\n")
    monkeypatch.chdir(folder)
    code = """
import sys
loaded = sys.modules.get("jinja2")
sys.exit(not hasattr(loaded.statistics, "median") if loaded else 7)
"""
    with serving(folder) as client:
        while (ended := run(client, folder, code)).status == 7:
            time.sleep(0.1)
    assert ended.status == 0


def test_what_imports_from_the_project_is_left_to_the_jobs(folder, monkeypatch):
    own = "try:\n    from mine import value\nexcept ImportError:\n    value = 0\n"
    (folder / "scripts" / "own.py").write_text(own)
    (folder / "mine.py").write_text("value = 2\n")
    monkeypatch.chdir(folder)
    code = """
import sys
if "numba" not in sys.modules:
    sys.exit(7)
from own import value
sys.exit(value + 10)
"""
    with serving(folder) as client:
        while (ended := run(client, folder, code)).status == 7:
            time.sleep(0.1)
    assert ended.status == 12


def test_a_job_that_is_gone_before_it_starts_is_not_run(client, folder, monkeypatch):
    def gone(pid):
        raise ProcessLookupError(pid)

    with monkeypatch.context() as changes:
        changes.setattr(os, "pidfd_open", gone)
        assert run(client, folder, WAITING) is None

    @contextlib.contextmanager
    def killing(pid):
        os.kill(pid, signal.SIGKILL)
        while Path(f"/proc/{pid}").exists():
            time.sleep(0.01)
        time.sleep(0.3)  # until the server has closed its socket
        yield

    ended = run(client, folder, WAITING, killing)
    assert ended is None or ended.status == -signal.SIGKILL
    assert not (folder / "out").exists()
    assert run(client, folder, "pass").status == 0


def test_a_job_that_is_gone_is_killed_all_the_same():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        opened = os.pidfd_open(process.pid)
    assert _kill(opened) == {"status": -signal.SIGKILL}
    os.close(opened)


def test_a_server_that_imports_for_long_is_not_waited_for(folder, monkeypatch):
    (folder / "scripts" / "own.py").write_text("import time; time.sleep(60)\n")
    monkeypatch.setattr("ntkstudy.forking.client.PATIENCE", 0.2)
    with serving(folder) as client:
        pass
    assert client._process.returncode == -signal.SIGKILL


# What is loaded


def test_stamps_know_an_edit_whose_time_was_set_back(folder, monkeypatch):
    before = stamps(folder)
    file = folder / "scripts" / "own.py"
    monkeypatch.setitem(sys.modules, "own", SimpleNamespace(__file__=str(file)))
    assert changed(before) is None
    state = file.stat()
    file.write_text("value = 2\n")
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert changed(before) == str(file)
    file.unlink()
    assert changed(before) == str(file)
    file.symlink_to("nowhere")
    assert stamps(folder)[str(file)] is None


def test_scripts_of_jobs_bring_their_modules_and_are_not_run(folder, monkeypatch):
    monkeypatch.syspath_prepend(str(folder / "scripts"))
    monkeypatch.setattr("ntkstudy.forking.loading.PACKAGES", ("no_such_package", "ending", "json"))
    (folder / "scripts" / "ending.py").write_text("raise SystemExit\n")
    assert list(load(folder / "scripts")) == ["own", "json"]
    monkeypatch.delitem(sys.modules, "own")


def test_what_jobs_import_is_found():
    names = iter(load(SCRIPTS))
    first = [next(names) for _ in range(5)]
    assert all(name.split(".")[0] in ("job", "ntkflow", "ntkstudy") for name in first)


@pytest.mark.slow
def test_nothing_is_computed_before_the_fork(tmp_path):
    client = Client(SCRIPTS, os.environ | job_environment(1, None))
    code = """
import os, sys, torch
assert len(os.listdir(f"/proc/{os.getppid()}/task")) == 1, "threads"
assert not torch.cuda.is_initialized()
assert "ntkstudy.measurements.kernel" not in sys.modules
sys.exit(0 if "torch._dynamo" in sys.modules and "numba" in sys.modules else 7)
"""
    try:
        while (ended := run(client, tmp_path, code)).status == 7:
            time.sleep(1)
        assert ended.status == 0
    finally:
        client.close()


FORKED = """
import os
os.register_at_fork(after_in_child=lambda: open("forked", "a").write("x"))
"""


@pytest.mark.slow
def test_forked_jobs_write_what_others_do_byte_by_byte(tmp_path):
    made, forked = [], []
    for name in ("forked", "alone"):
        project = copy_project(tmp_path / name)
        if name == "alone":
            rules = (project / "Snakefile").read_text()
            (project / "Snakefile").write_text(rules.replace("    fork_jobs(workflow)\n", ""))
        (project / "sitecustomize.py").write_text(FORKED)
        config = write_overlay(project, "tiny", TINY)
        environment = os.environ | {"PYTHONPATH": str(project)}
        done = snakemake(project, config=config, env=environment)
        assert done.status == 0, done.output
        results = project / "results/tiny"
        files = [path for path in results.rglob("*") if path.suffix in (".h5", ".csv", ".svg")]
        files += [results / "claims.json"]
        made.append({str(path.relative_to(results)): path.read_bytes() for path in files})
        found = project / "forked"
        forked.append(len(found.read_text()) if found.exists() else 0)
    assert made[0] == made[1]
    assert len(made[0]) > 15
    assert forked == [13, 0]
