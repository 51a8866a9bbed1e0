"""Fixtures of several test files."""

import os
import shutil
from pathlib import Path

import jaxtyping
import pytest
import torch
from hypothesis import settings
from study_cases import labelled_data, labelled_networks
from workflow import TINY, copy_project, snakemake, write_overlay

# Sums of MKL do not depend on addresses then, as in jobs of the workflow.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
# A busy machine is no failure.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """The project without results, for dry runs."""
    project = copy_project(tmp_path_factory.mktemp("fresh"))
    write_overlay(project, "tiny", TINY)
    return project


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A finished tiny run. Not to be changed."""
    project = copy_project(tmp_path_factory.mktemp("tiny"))
    done = snakemake(project, config=write_overlay(project, "tiny", TINY))
    assert done.status == 0, done.output
    return project


@pytest.fixture
def finished(tiny, tmp_path):
    """A copy of the finished tiny run, times of its files included."""
    return Path(shutil.copytree(tiny, tmp_path / "project"))


@pytest.fixture
def one_thread():
    """Training on one thread: seeds are bitwise equal there, and small work is faster."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def unchecked_types():
    """Calls as users make them: shapes in annotations are checked in these tests only."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def data(tmp_path):
    """A small data set of three classes; modules with another one have a fixture of their own."""
    with labelled_data(tmp_path) as data:
        yield data


@pytest.fixture
def networks(data):
    """Three networks trained on that data set."""
    return labelled_networks(data)


@pytest.fixture
def proofs(monkeypatch):
    """How often a network was looked at row by row."""
    from ntkflow.empirical import methods

    made = []

    def find(task):
        made.append(task)
        return find_proof(task)

    find_proof = methods.find_proof
    monkeypatch.setattr(methods, "find_proof", find)
    return made
