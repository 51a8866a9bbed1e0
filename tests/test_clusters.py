"""Other ways to run than this machine and Slurm: plans, a queue of another kind, containers."""

import re
import shutil
import sys

import pytest
import yaml
from workflow import PROJECT, TINY, copy_project, execute, write_overlay

pytestmark = pytest.mark.slow

# A queue that runs a job at once, and keeps how it was asked for.
QUEUE = """\
#!/bin/sh
echo "$@" >> asked
shift $(($# - 1))
sh "$1" > /dev/null 2>&1 &
echo $!
"""


@pytest.fixture
def project(tmp_path):
    """The project with the tiny configuration."""
    folder = copy_project(tmp_path / "project")
    write_overlay(folder, "tiny", TINY)
    return folder


def run(project, *arguments):
    """Snakemake with nothing but these arguments, targets first, and the tiny configuration."""
    call = [sys.executable, "-m", "snakemake", *arguments, "--configfile", "config/tiny.yaml"]
    return execute(project, *call)


@pytest.mark.parametrize("name", ["slurm", "cluster-generic", "kubernetes"])
def test_a_profile_plans_the_jobs_of_a_local_run(project, tmp_path, name):
    options = ["--profile", f"profiles/{name}", "--dry-run"]
    if name == "kubernetes":  # a folder in place of a bucket, with the project in it
        store = tmp_path / "store"
        shutil.copytree(project, store)
        options += ["--default-storage-provider", "fs", "--default-storage-prefix", str(store)]
    local, remote = run(project, "--cores", "2", "--dry-run"), run(project, *options)
    assert remote.status == 0, remote.output
    assert f"profiles/{name}" in remote.output
    assert remote.jobs == local.jobs
    assert remote.jobs["train_ensemble"] == 2


def test_a_queue_of_another_kind_gets_memory_time_and_threads(project):
    (project / "queue").write_text(QUEUE)
    (project / "queue").chmod(0o755)
    profile = yaml.safe_load((project / "profiles/cluster-generic/config.yaml").read_text())
    command = profile["cluster-generic-submit-cmd"].replace("qsub", "./queue")
    file = "results/tiny/kernel_profile/width~4/train/0-1.h5"
    options = ["--profile", "profiles/cluster-generic", "--cluster-generic-submit-cmd", command]
    options += ["--seconds-between-status-checks", "1", "--latency-wait", "20"]
    done = run(project, file, *options)
    assert done.status == 0, done.output
    assert (project / file).exists()
    (asked,) = (project / "asked").read_text().splitlines()
    memory = re.match(r"-terse -V -cwd -pe smp 1 -l h_vmem=(\d+)M,h_rt=0:\d+:0 \S+\.sh$", asked)
    assert int(memory[1]) >= 1000


@pytest.mark.parametrize("name", ["slurm", "cluster-generic", "kubernetes"])
def test_a_profile_asks_for_gpus_only_on_demand(name):
    profile = yaml.safe_load((PROJECT / f"profiles/{name}/config.yaml").read_text())
    assert profile["resources"] == ["gpu=0"]
    assert profile["set-resource-scopes"] == ["gpu=local"]
    assert profile["retries"] >= 1


# Containers


def test_recipe_for_docker_is_clean():
    linter = shutil.which("hadolint", path=str(PROJECT / ".venv/bin")) or shutil.which("hadolint")
    done = execute(PROJECT, linter, "containers/Dockerfile")
    assert (done.status, done.output) == (0, "")


def test_both_recipes_install_the_pins_on_the_python_of_the_environments():
    docker = (PROJECT / "containers/Dockerfile").read_text()
    apptainer = (PROJECT / "containers/ntkflow.def").read_text()
    image = re.search(r"^FROM (.+)$", docker, re.M)[1]
    assert re.search(r"^From: (.+)$", apptainer, re.M)[1] == image
    python = yaml.safe_load((PROJECT / "envs/torch.yaml").read_text())["dependencies"][0]
    assert image.startswith(python.replace("=", ":") + "-")
    install = re.search(r"^RUN (.+)$", docker, re.M)[1]
    assert re.search(r"^%post\n    (.+)$", apptainer, re.M)[1] == install
    copied = re.search(r"^COPY (.+)$", docker, re.M)[1]
    assert re.search(r"^%files\n    (.+)$", apptainer, re.M)[1] == copied
    assert copied.split()[0] == "requirements.txt"
    assert install.endswith(f"--requirement {copied.split()[1]}")
