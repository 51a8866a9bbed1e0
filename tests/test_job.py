import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import job
from ntkflow.errors import StorageError

SCRIPTS = Path(__file__).parents[1] / "scripts"


class Names(dict):
    """Named files as Snakemake gives them: a mapping whose items are its names."""


def build_snakemake(folder: Path, **changes):
    values = {
        "input": Names(dataset="a.h5", files=["b", "c"]),
        "output": Names(table=str(folder / "out.txt")),
        "params": SimpleNamespace(cfg={"x": 1}),
        "threads": 1,
        "resources": {"gpu": 0},
        "log": [str(folder / "logs" / "job.log")],
    }
    return SimpleNamespace(**(values | changes))


def run(folder: Path, main) -> tuple[str, int]:
    """Text of the log and exit status of a job."""
    status = 0
    try:
        job.run_job(main, {"__name__": "__main__", "snakemake": build_snakemake(folder)})
    except SystemExit as end:
        status = end.code
    return (folder / "logs" / "job.log").read_text(encoding="utf-8"), status


def test_main_gets_the_names_that_it_asks_for(tmp_path):
    seen = {}

    def main(input, output, cfg):
        seen.update(input=input, output=output, cfg=cfg)

    assert run(tmp_path, main) == ("", 0)
    assert seen == {
        "input": {"dataset": "a.h5", "files": ["b", "c"]},
        "output": {"table": str(tmp_path / "out.txt")},
        "cfg": {"x": 1},
    }
    record = json.loads((tmp_path / "logs" / "job.json").read_text())
    assert record == seen | {"threads": 1, "gpu": 0}


def test_output_goes_to_the_log_and_to_where_it_went(tmp_path, capsys):
    def main():
        print("width 4: Θ")
        print("careful", file=sys.stderr)
        assert not sys.stdout.isatty()

    before = sys.stdout
    log, _ = run(tmp_path, main)
    assert sys.stdout is before
    assert log == "width 4: Θ\ncareful\n"
    assert tuple(capsys.readouterr()) == ("width 4: Θ\n", "careful\n")


def test_a_user_mistake_is_the_last_line_of_the_log(tmp_path, capsys):
    def main():
        print("started")
        raise StorageError("a.h5: is a file of stage 'x'; expected stage 'y'")

    log, status = run(tmp_path, main)
    line = "StorageError: a.h5: is a file of stage 'x'; expected stage 'y'"
    assert (log, status) == (f"started\n{line}\n", 1)
    assert capsys.readouterr().err == f"{line}\n"


def test_a_mistake_is_one_write(tmp_path, monkeypatch):
    """Lines of two jobs that fail at once would mix, where Python does not buffer its output."""
    wrote = []
    stream = SimpleNamespace(write=wrote.append, flush=lambda: None)
    monkeypatch.setattr(sys, "stderr", stream)

    def main():
        raise StorageError("a.h5: is damaged")

    run(tmp_path, main)
    assert wrote == ["StorageError: a.h5: is damaged\n"]


def test_a_bug_leaves_its_traceback_in_the_log(tmp_path):
    def main():
        raise KeyError("theta")

    before = sys.stdout
    log, status = run(tmp_path, main)
    assert log.startswith("Traceback")
    assert log.endswith("KeyError: 'theta'\n")
    assert status == 1
    assert sys.stdout is before


@pytest.mark.parametrize("gpu", [0, 1])
def test_a_device_is_prepared_where_it_is_asked_for(gpu, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    seen, threads, flushed = {}, [], []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    monkeypatch.setattr(torch, "set_flush_denormal", flushed.append)
    monkeypatch.delenv("MKL_CBWR")
    job._call(lambda device: seen.update(device=device), {"threads": 2, "gpu": gpu})
    assert flushed == [True]
    assert seen == {"device": "cuda" if gpu else "cpu"}
    assert threads == [2]
    assert os.environ["MKL_CBWR"] == "AUTO,STRICT"
    assert torch.get_float32_matmul_precision() == "highest"
    assert not torch.backends.cudnn.allow_tf32


def test_nothing_happens_on_import():
    job.run_job(lambda: pytest.fail("ran"), {"__name__": "judge_claims"})


def test_a_job_runs_again_from_its_record(tmp_path):
    record = {
        "input": {},
        "output": {"dataset": str(tmp_path / "results" / "dataset.h5")},
        "cfg": {
            "stage": "dataset", "experiment": "e", "cell": {},
            "modules": ["ntkstudy.tasks.gaussian"],
            "task": {
                "kind": "gaussian_product", "data_seed": 0, "train_points": 3, "probe_points": 4
            },
        },
        "threads": 1,
        "gpu": 0,
    }  # fmt: skip
    (tmp_path / "job.json").write_text(json.dumps(record))
    script = [sys.executable, str(SCRIPTS / "make_dataset.py"), str(tmp_path / "job.json")]
    subprocess.run([*script, "--output-dir", str(tmp_path / "debug")], check=True)
    assert (tmp_path / "debug" / "dataset.h5").exists()
    assert not (tmp_path / "results").exists()
    subprocess.run(script, check=True)
    assert (tmp_path / "results" / "dataset.h5").exists()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 8 GiB for an array"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA out of memory. Tried to allocate 20 GiB. And much more."),
    ],
)
def test_a_lack_of_memory_is_one_line(tmp_path, error):
    def main():
        raise error

    log, status = run(tmp_path, main)
    assert status == 1
    assert log.startswith("MemoryError: ")
    assert log.endswith(f"; {job.LESS_MEMORY}\n")
    assert log.count("\n") == 1


def test_an_illegal_memory_access_is_a_bug(tmp_path):
    def main():
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    assert run(tmp_path, main)[0].startswith("Traceback")


def test_a_stopped_job_says_so(tmp_path):
    def main():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    assert run(tmp_path, main) == ("The job was stopped by SIGTERM and wrote nothing.\n", 1)
