"""Slurm's programs, a record of what sbatch is called with, and a run without a cluster."""

import json
import os
import shutil
import sys

import pytest
from cluster import install, reason_to_skip
from slurm_runs import RECORDER, build
from workflow import execute


@pytest.fixture(scope="session")
def slurm_here():
    """Slurm's programs, installed where that can be done."""
    if reason := reason_to_skip() or install():
        pytest.skip(reason)


@pytest.fixture
def sbatch_calls(tmp_path, monkeypatch):
    """What sbatch is called with from now on."""
    record, folder = tmp_path / "sbatch.jsonl", tmp_path / "bin"
    folder.mkdir()
    names = {"python": sys.executable, "record": str(record), "sbatch": shutil.which("sbatch")}
    (folder / "sbatch").write_text(RECORDER.format(**names))
    (folder / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return lambda: [json.loads(line) for line in record.read_text().splitlines()]


@pytest.fixture(scope="session")
def local(slurm_here, tmp_path_factory):
    """A finished run on this machine without a cluster. Not to be changed."""
    project = build(tmp_path_factory.mktemp("local"), [4])
    call = [sys.executable, "-m", "snakemake", "experiments", "--cores", "2"]
    done = execute(project, *call, "--configfile", "config/tiny.yaml")
    assert done.status == 0, done.output
    return project
