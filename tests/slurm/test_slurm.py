"""The workflow on a real Slurm, without and with GPUs, and through cancelled and killed jobs."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from cluster import install, reason_to_skip, running
from workflow import TINY, copy_project, execute, write_overlay

pytestmark = pytest.mark.slow

RESULTS = Path("results/tiny/kernel_profile")
# What a site sets, and looks at the queue each second or so instead of each minute.
HERE = [
    *("--default-resources", "slurm_partition=main", "mem_mb=2000", "runtime=60"),
    *("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "1"),
    *("--seconds-between-status-checks", "1", "--latency-wait", "20"),
]
# A line at the start of the work of scripts/train_ensemble.py.
START = '    training = cfg["training"]\n'
# Keeps what it is called with, one call a line.
RECORDER = """\
#!{python}
import json, os, sys
with open({record!r}, "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
os.execv({sbatch!r}, [{sbatch!r}, *sys.argv[1:]])
"""


@pytest.fixture(scope="session")
def slurm_here():
    """Slurm's programs, installed where that can be done."""
    if reason := reason_to_skip() or install():
        pytest.skip(reason)


@pytest.fixture(scope="module")
def cpu_cluster(slurm_here, tmp_path_factory):
    with running(tmp_path_factory.mktemp("cpu"), gpus=0) as slurm:
        yield slurm


def tiny(widths):
    """The tiny configuration with a network of each width and one seed, and no figures."""
    block = TINY["experiments"]["kernel_profile"]
    block = block | {"sweep": {"network.width": widths}, "seeds": 1, "initializations": 1}
    block |= {"figures": []}
    return TINY | {"experiments": {"kernel_profile": block}}


def build(folder, widths):
    project = copy_project(folder)
    write_overlay(project, "tiny", tiny(widths))
    return project


def command(*arguments):
    """Snakemake with the profile of Slurm; targets come first."""
    call = [sys.executable, "-m", "snakemake", *arguments, "--profile", "profiles/slurm"]
    return [*call, *HERE, "--configfile", "config/tiny.yaml"]


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


def option(call, name):
    """Value of `-x value` or `--name value`, of `--name=value` too; None if there is none."""
    if name in call:
        return call[call.index(name) + 1]
    values = [word.split("=", 1)[1] for word in call if word.startswith(f"{name}=")]
    return values[0] if values else None


def rule_of(call):
    return re.match(r"rule_([a-z_]+?)(_wildcards_|$)", option(call, "--comment"))[1]


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """A finished run on this machine without a cluster. Not to be changed."""
    project = build(tmp_path_factory.mktemp("local"), [4])
    call = [sys.executable, "-m", "snakemake", "experiments", "--cores", "2"]
    done = execute(project, *call, "--configfile", "config/tiny.yaml")
    assert done.status == 0, done.output
    return project


def assert_equal_results(project, expected):
    tables = [path.relative_to(expected) for path in expected.glob(f"{RESULTS}/tables/*.csv")]
    assert len(tables) >= 5
    for table in tables:
        assert (project / table).read_bytes() == (expected / table).read_bytes()
    for path in expected.glob(f"{RESULTS}/**/*.h5"):
        with h5py.File(path) as first, h5py.File(project / path.relative_to(expected)) as second:
            names = []
            first.visit(names.append)
            for name in names:
                if isinstance(first[name], h5py.Dataset):
                    np.testing.assert_array_equal(second[name][()], first[name][()])


def test_a_cluster_without_gpus_gives_the_same_results(cpu_cluster, local, tmp_path, sbatch_calls):
    project = build(tmp_path / "project", [4])
    done = execute(project, *command("experiments"))
    assert done.status == 0, done.output
    assert_equal_results(project, local)
    calls = sbatch_calls()
    torch_rules = {"train_ensemble", "extract_ntk", "measure_initialization"}
    assert {rule_of(call) for call in calls} == torch_rules | {"compute_limit_kernel"}
    for call in calls:
        assert not [word for word in call if "gpu" in word and not word.startswith("--wrap")]
        assert option(call, "-p") == "main"
        assert option(call, "--cpus-per-task") == "1"
        assert int(option(call, "--mem")) >= 1000
        assert 60 <= int(option(call, "-t")) <= 240
    assert done.output.count("No SLURM account given") <= 1


def test_every_job_of_a_cluster_with_gpus_has_one(
    slurm_here, local, tmp_path, tmp_path_factory, sbatch_calls
):
    project = build(tmp_path / "project", [4])
    script = project / "scripts/train_ensemble.py"
    seen = 'import os, sys\nprint("device", os.environ.get("CUDA_VISIBLE_DEVICES"))\n'
    start = '    training = cfg["training"]\n'
    text = script.read_text()
    assert start in text
    script.write_text(
        text.replace(start, f"    {seen.replace(chr(10), chr(10) + '    ')}\n{start}")
    )
    with running(tmp_path_factory.mktemp("gpu"), gpus=2) as slurm:
        done = execute(project, *command("experiments", "--resources", "gpu=1"))
        assert done.status == 0, done.output
        jobs = slurm.jobs().values()
    assert_equal_results(project, local)
    assert {job["TresPerJob"] for job in jobs} == {"gres:gpu:1"}
    assert {option(call, "--gpus") for call in sbatch_calls()} == {"1"}
    records = list(project.glob("results/tiny/logs/**/width~4/*.json"))
    assert records
    assert {json.loads(record.read_text())["gpu"] for record in records} == {1}
    (log,) = project.glob("results/tiny/logs/train_ensemble/**/*.log")
    assert log.read_text().splitlines()[0] in ("device 0", "device 1")


# Each stands before the work of a job of one width.
FAULTS = """\
    import time
    from pathlib import Path

    width = cfg["cell"]["width"]
    if width == 2 or width == 8:  # until the job is cancelled or out of time
        while Path(f"wait-{width}").exists():
            time.sleep(0.1)
    if width in (4, 16):  # bytes: what one attempt has too little of, and any two
        kept = bytearray({4: 900, 16: 3000}[width] * 1_000_000)
        kept[::4096] = b"x" * len(kept[::4096])
        time.sleep(8)
"""


def test_cancelled_killed_and_late_jobs_are_sent_again_and_reported(
    cpu_cluster, tmp_path, sbatch_calls
):
    widths = [2, 4, 8, 16]
    project = build(tmp_path / "project", widths)
    script = project / "scripts/train_ensemble.py"
    script.write_text(script.read_text().replace(START, FAULTS + START))
    for width in (2, 8):
        (project / f"wait-{width}").touch()
    files = {width: f"{RESULTS}/width~{width}/train/0-0.h5" for width in widths}
    call = [*command(*files.values(), "--retries", "1")]
    with (
        open(tmp_path / "output", "w+") as output,
        subprocess.Popen(call, cwd=project, stdout=output, stderr=output) as run,
    ):
        try:
            numbers = {
                width: cpu_cluster.wait_for_job(
                    lambda job, width=width: (
                        job["JobState"] == "RUNNING" and f"width~{width}_" in job.get("Comment", "")
                    ),
                    seconds=180,
                )
                for width in (2, 8)
            }
            cpu_cluster.ask("scancel", numbers[2])
            cpu_cluster.ask("scontrol", "update", f"JobId={numbers[8]}", "TimeLimit=1")
            cpu_cluster.wait_for_job(
                lambda job: job["JobId"] == numbers[8] and job["JobState"] == "TIMEOUT", 200
            )
            for width in (2, 8):
                (project / f"wait-{width}").unlink()
            status = run.wait(timeout=300)
        finally:
            run.terminate()
        output.seek(0)
        said = output.read()
    assert status != 0
    assert {width for width, file in files.items() if (project / file).exists()} == {2, 4, 8}, said
    for state in ("CANCELLED", "TIMEOUT", "OUT_OF_MEMORY"):
        assert re.search(rf"SLURM-job '\d+' failed, SLURM status is: '{state}'", said), state
    calls = {width: [] for width in widths}
    for call in sbatch_calls():
        calls[int(re.search(r"width~(\d+)_", option(call, "--comment"))[1])].append(call)
    for first, second in calls.values():
        for name in ("--mem", "-t"):
            assert int(option(second, name)) == 2 * int(option(first, name))
    # The report of the one that failed twice: its file, both of its logs.
    last = said[said.rindex("Error in rule train_ensemble") :]
    assert files[16] in last
    assert "results/tiny/logs/train_ensemble/kernel_profile/width~16/0-0.log" in last
    assert re.search(r"slurm_logs/rule_train_ensemble/\S*width~16\S*/\d+\.log", last)
    assert not list(project.rglob("*.part"))
