"""The workflow on a real Slurm without GPUs, and through cancelled and killed jobs."""

import re
import subprocess

import pytest
from cluster import running
from slurm_runs import (
    RESULTS,
    START,
    assert_equal_results,
    build,
    command,
    option,
    rules_of,
)
from workflow import execute

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(slurm_here, tmp_path_factory):
    with running(tmp_path_factory.mktemp("slurm")) as slurm:
        yield slurm


def test_a_cluster_without_gpus_gives_the_same_results(cluster, local, tmp_path, sbatch_calls):
    project = build(tmp_path / "project", [4])
    done = execute(project, *command("experiments"))
    assert done.status == 0, done.output
    assert_equal_results(project, local)
    calls = sbatch_calls()
    # Short jobs that need one another are sent together.
    assert sorted(map(sorted, map(rules_of, calls))) == [
        ["compute_limit_kernel"],
        ["extract_ntk", "train_ensemble"],
        ["measure_initialization"],
    ]
    for call in calls:
        assert not [word for word in call if word.startswith(("--gpus", "--gres"))]
        assert option(call, "-p") == "main"
        assert option(call, "--cpus-per-task") == "1"
        assert int(option(call, "--mem")) >= 1000
        assert int(option(call, "-t")) == 15 * len(rules_of(call))
    assert done.output.count("No SLURM account given") <= 2  # by two threads that submit


# Stands before the work of the jobs; a job of width 2 or 8 tells its number and waits.
FAULTS = """\
    import os
    import time
    from pathlib import Path

    width = cfg["cell"]["width"]
    file = Path(f"wait-{width}")
    if file.exists():  # until the job is cancelled or out of time
        file.write_text(os.environ["SLURM_JOB_ID"])
        time.sleep(600)
    if width in (4, 16):  # bytes: what one attempt has too little of, and any two
        kept = bytearray({4: 900, 16: 3000}[width] * 1_000_000)
        kept[::4096] = b"x" * len(kept[::4096])
        time.sleep(8)
"""


def test_cancelled_killed_and_late_jobs_are_sent_again_and_reported(
    cluster, tmp_path, sbatch_calls
):
    widths = [2, 4, 8, 16]
    project = build(tmp_path / "project", widths)
    script = project / "scripts/train_ensemble.py"
    script.write_text(script.read_text().replace(START, FAULTS + START))
    waiting = {width: project / f"wait-{width}" for width in (2, 8)}
    for file in waiting.values():
        file.touch()
    files = {width: f"{RESULTS}/width~{width}/train/0-0.h5" for width in widths}
    options = ["--retries", "1", "--group-components", "train=1"]
    call = command(*files.values(), *options)
    with (
        open(tmp_path / "output", "w+") as output,
        subprocess.Popen(call, cwd=project, stdout=output, stderr=output) as run,
    ):
        try:
            cancelled, late = (
                cluster.wait_for_job(
                    lambda job, file=file: (
                        job["JobId"] == file.read_text() and job["JobState"] == "RUNNING"
                    )
                )
                for file in waiting.values()
            )
            for file in waiting.values():
                file.unlink()
            cluster.ask("scancel", cancelled)
            cluster.ask("scontrol", "update", f"JobId={late}", "TimeLimit=1")
            run.wait(timeout=500)
        finally:
            run.kill()
        output.seek(0)
        said = output.read()
    assert run.returncode > 0
    assert {width for width, file in files.items() if (project / file).exists()} == {2, 4, 8}, said
    # In the logs of the submissions, which are shown.
    for reason in (
        rf"JOB {cancelled} ON \S+ CANCELLED",
        rf"JOB {late} ON \S+ CANCELLED .* DUE TO TIME LIMIT",
        "exceeded memory limit",
    ):
        assert re.search(reason, said), said
    calls = {width: [] for width in widths}
    for call in sbatch_calls():
        (width,) = set(re.findall(r"cell=width~(\d+),", call[-1]))
        calls[int(width)].append(call)
    for first, second in calls.values():
        for name in ("--mem", "-t"):
            assert int(option(second, name)) == 2 * int(option(first, name))
    # Every failure names the log of its submission, and the job's own: of 16 two, of others one.
    logs = r"Error in group train\n +log: \S+/slurm_logs/group_train\S*/(\d+)\.log"
    failed = re.findall(logs, said)
    assert len(failed) == len(set(failed)) == 5, said
    assert {cancelled, late} < set(failed)
    # Which failure comes last is the queue's affair.
    told = [part for part in said.split("Error in group train") if files[16] in part]
    assert any("kernel_profile/width~16/0-0.log" in part for part in told), said
    assert not list(project.rglob("*.part"))
