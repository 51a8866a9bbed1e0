"""The workflow on a real Slurm whose node has two GPUs."""

import json

import pytest
from cluster import running
from slurm_runs import START, assert_equal_results, build, command, option
from workflow import execute

pytestmark = pytest.mark.slow


def test_every_submission_gets_a_gpu(local, tmp_path, tmp_path_factory, sbatch_calls):
    project = build(tmp_path / "project", [4])
    script = project / "scripts/train_ensemble.py"
    seen = '    print("device", __import__("os").environ.get("CUDA_VISIBLE_DEVICES"))\n'
    script.write_text(script.read_text().replace(START, seen + START))
    with running(tmp_path_factory.mktemp("slurm"), gpus=2) as slurm:
        done = execute(project, *command("experiments", "--resources", "gpu=1"))
        assert done.status == 0, done.output
        jobs = slurm.jobs().values()
    assert_equal_results(project, local)
    assert {job["TresPerJob"] for job in jobs} == {"gres:gpu:1"}
    assert {option(call, "--gpus") for call in sbatch_calls()} == {"1"}
    records = list(project.glob("results/tiny/logs/**/width~4/*.json"))
    assert len(records) == 3
    assert {json.loads(record.read_text())["gpu"] for record in records} == {1}
    (log,) = project.glob("results/tiny/logs/train_ensemble/**/*.log")
    assert log.read_text().splitlines()[0] in ("device 0", "device 1")
