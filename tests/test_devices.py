import json
import os
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import pytest
from workflow import TINY, copy_project, execute, write_overlay

from ntkstudy.plan.devices import allotted_devices, limit_gpus

SCRIPTS = Path(__file__).parents[1] / "scripts"
HOLDER = """\
import sys
from pathlib import Path
from ntkstudy.plan.devices import hold_device
print(hold_device(Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holders(tmp_path):
    """Start processes that hold a device; all end with the test."""
    started = []

    def hold(**environment):
        call = [sys.executable, "-c", HOLDER, str(tmp_path)]
        plain = {name: os.environ[name] for name in os.environ if not name.startswith("SLURM")}
        process = subprocess.Popen(
            call,
            env=plain | {"PYTHONPATH": str(SCRIPTS)} | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process, process.stdout.readline().strip()

    yield hold
    for process in started:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


@pytest.mark.parametrize(
    ("environment", "devices"),
    [
        ({}, ["0", "1", "10"]),
        ({"CUDA_VISIBLE_DEVICES": "3, GPU-8932f937"}, ["3", "GPU-8932f937"]),
        ({"CUDA_VISIBLE_DEVICES": ""}, []),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, []),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, []),
        # A login node's setting comes with the job, and the job asked for no GPU.
        ({"CUDA_VISIBLE_DEVICES": "0", "SLURM_JOB_ID": "7"}, []),
        ({"CUDA_VISIBLE_DEVICES": "0,1", "SLURM_JOB_ID": "7", "SLURM_JOB_GPUS": "2,3"}, ["0", "1"]),
        ({"CUDA_VISIBLE_DEVICES": "0", "SLURM_JOB_ID": "7", "SLURM_GPUS_ON_NODE": "1"}, ["0"]),
    ],
)
def test_devices_of_a_process(tmp_path, environment, devices):
    for name in ("nvidia10", "nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    assert allotted_devices(environment, tmp_path) == devices


@pytest.mark.parametrize(
    ("given", "main", "visible", "limit"),
    [
        ({"gpu": 0}, True, "0,1", 0),
        ({"gpu": 8}, True, "0,1", 8),
        ({}, True, "0,1", 2),
        ({}, True, "", None),
        ({}, False, "0,1", 2),
        ({}, False, "", 0),
    ],
)
def test_limit_of_gpus(given, main, visible, limit):
    limits = dict(given)
    workflow = SimpleNamespace(
        global_resources=limits, is_main_process=main, register_resource=limits.__setitem__
    )
    limit_gpus(workflow, {"CUDA_VISIBLE_DEVICES": visible})
    assert limits.get("gpu") == limit


def test_every_process_holds_a_device_of_its_own(holders):
    first, device = holders(CUDA_VISIBLE_DEVICES="GPU-a,GPU-b")
    assert device == "GPU-a"
    assert holders(CUDA_VISIBLE_DEVICES="GPU-a,GPU-b")[1] == "GPU-b"
    first.kill()
    first.wait()
    assert holders(CUDA_VISIBLE_DEVICES="GPU-a,GPU-b")[1] == "GPU-a"
    # More processes than devices share them evenly.
    shared = {holders(CUDA_VISIBLE_DEVICES="GPU-a,GPU-b")[1] for _ in range(2)}
    assert shared == {"GPU-a", "GPU-b"}


def test_without_a_device_nothing_is_held(holders, tmp_path):
    assert holders(CUDA_VISIBLE_DEVICES="")[1] == "None"
    assert not list(tmp_path.iterdir())


# Stands at the start of the work of each job: its device, and when it had it.
WATCH = """\
    import json, os, time

    start = time.monotonic()
    time.sleep(2)
    seen = {"device": os.environ["CUDA_VISIBLE_DEVICES"], "start": start, "end": time.monotonic()}
    with open("devices", "a") as file:
        file.write(json.dumps(seen) + "\\n")
"""


@pytest.mark.slow
def test_jobs_side_by_side_see_one_device_each(tmp_path):
    project = copy_project(tmp_path / "project")
    block = TINY["experiments"]["kernel_profile"] | {"seeds": 6, "seeds_per_job": 1}
    block |= {"sweep": {"network.width": [4]}}
    write_overlay(project, "tiny", TINY | {"experiments": {"kernel_profile": block}})
    script = project / "scripts/train_ensemble.py"
    start = '    training = cfg["training"]\n'
    text = script.read_text()
    assert start in text
    script.write_text(text.replace(start, WATCH + start))
    files = [f"results/tiny/kernel_profile/width~4/train/{seed}-{seed}.h5" for seed in range(6)]
    fake = os.environ | {"CUDA_VISIBLE_DEVICES": "GPU-fake-a,GPU-fake-b"}
    # No limit is given: it is the number of devices, below that of the cores.
    call = [sys.executable, "-m", "snakemake", *files, "--cores", "4"]
    done = execute(project, *call, "--configfile", "config/tiny.yaml", env=fake)
    assert done.status == 0, done.output
    seen = [json.loads(line) for line in (project / "devices").read_text().splitlines()]
    assert len(seen) == 6
    assert {job["device"] for job in seen} == {"GPU-fake-a", "GPU-fake-b"}
    beside = [
        (first["device"], second["device"])
        for first, second in combinations(seen, 2)
        if first["start"] < second["end"] and second["start"] < first["end"]
    ]
    assert beside
    assert all(first != second for first, second in beside)
