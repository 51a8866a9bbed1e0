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

from ntkstudy.forking.client import Client, Ended
from ntkstudy.forking.installing import FEWEST, THREADS, fork_jobs, job_environment
from ntkstudy.forking.loading import PACKAGES, changed, load, stamps
from ntkstudy.processes import is_running

SCRIPTS = Path(__file__).parents[1] / "scripts"
JOB = "from own import value\n\nrun_job(main, globals())\n"
FACTS = """
import json, os, signal, sys
facts = {
    "name": __name__, "argv": sys.argv, "path": sys.path[0], "folder": os.getcwd(),
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


@pytest.fixture
def client(folder):
    one = Client(folder / "scripts", os.environ | {"PYTHONPATH": f"{folder}/packages:{SCRIPTS}"})
    yield one
    one.close()


def run(client, folder, code, watching=lambda pid: contextlib.nullcontext(), **environment):
    script = folder / "script.py"
    script.write_text(f"OUT = {str(folder / 'out')!r}\n{code}")
    return client.run(str(script), os.environ | environment, watching)


def test_a_script_finds_what_a_process_of_its_own_would(client, folder):
    ended = run(client, folder, FACTS, EXTRA="ü")
    facts = json.loads((folder / "out").read_text())
    call = [sys.executable, str(folder / "script.py")]
    subprocess.run(call, env=os.environ | {"EXTRA": "ü"}, check=True)
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


def test_scripts_of_jobs_bring_their_modules_and_are_not_run(folder, monkeypatch):
    monkeypatch.syspath_prepend(str(folder / "scripts"))
    monkeypatch.setattr("ntkstudy.forking.loading.PACKAGES", ("json", "no_such_package"))
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


# In Snakemake


def made_up_workflow(jobs=FEWEST, **changes):
    dag = SimpleNamespace(needrun_jobs=lambda: iter(range(jobs)))
    usual = dict(local_exec=True, is_main_process=True, dag=dag, basedir=str(SCRIPTS.parent))
    return SimpleNamespace(**(usual | changes))


@pytest.fixture
def python_script(monkeypatch):
    from snakemake.script import PythonScript

    monkeypatch.setattr(PythonScript, "execute_script", PythonScript.execute_script)
    return PythonScript


def test_a_run_on_one_machine_forks_its_jobs(python_script):
    before = python_script.execute_script
    fork_jobs(made_up_workflow())
    assert python_script.execute_script is not before


@pytest.mark.parametrize(
    "workflow",
    [
        made_up_workflow(local_exec=False),
        made_up_workflow(is_main_process=False),
        made_up_workflow(jobs=FEWEST - 1),
    ],
)
def test_clusters_and_small_runs_do_not(python_script, workflow):
    before = python_script.execute_script
    fork_jobs(workflow)
    assert python_script.execute_script is before


def test_another_system_does_not(python_script, monkeypatch):
    before = python_script.execute_script
    monkeypatch.delattr(os, "pidfd_open")
    fork_jobs(made_up_workflow())
    assert python_script.execute_script is before


def test_another_snakemake_is_left_as_it_is(python_script, monkeypatch):
    def other(self, fname):
        pass

    monkeypatch.setattr(python_script, "execute_script", other)
    fork_jobs(made_up_workflow())
    assert python_script.execute_script is other


@pytest.mark.parametrize("key", ["conda_env", "container_img", "env_modules"])
def test_environments_of_their_own_stay_processes_of_their_own(python_script, monkeypatch, key):
    seen = []

    def execute_script(self, fname, edit=False):
        seen.append(fname)

    monkeypatch.setattr(python_script, "execute_script", execute_script)
    fork_jobs(made_up_workflow())
    none = dict(conda_env=None, container_img=None, env_modules=None)
    python_script.execute_script(SimpleNamespace(**(none | {key: "x"})), "file.py")
    assert seen == ["file.py"]


def test_variables_are_those_of_snakemake(monkeypatch):
    monkeypatch.setenv("OTHER", "1")
    found = job_environment(3, "/tmp/x")
    assert {found[name] for name in THREADS} == {"3"}
    assert found["TMPDIR"] == "/tmp/x"
    assert found["OTHER"] == "1"
    assert job_environment(1, None).get("TMPDIR") == os.environ.get("TMPDIR")
