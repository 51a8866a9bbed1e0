"""Which runs of Snakemake fork their jobs, and what these are told."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from ntkstudy.forking.installing import FEWEST, THREADS, fork_jobs, job_environment

SCRIPTS = Path(__file__).parents[1] / "scripts"


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
