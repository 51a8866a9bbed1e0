"""The check for accelerators, on the CPU and at tiny sizes."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import gpu  # noqa: E402
import gpu_check  # noqa: E402
from gpu import (  # noqa: E402
    checking,
    kernel_checks,
    measuring,
    peers,
    results,
    running,
    table,
    training_checks,
    works,
)
from gpu.all_parts import PARTS  # noqa: E402
from gpu.parts import Part, Setting, Skip, Step  # noqa: E402
from gpu.resnet import resnet18  # noqa: E402

SMOKE = Setting("cpu", smoke=True)


QUICK = ("limits", "arcs", "dynamics")


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in PARTS],
)
def test_every_part_runs(name):
    part = PARTS[name]
    outcomes = {step.label: running.run_step(step, SMOKE) for step in part.steps}
    record = running.record(part, outcomes)
    assert record["status"] == "passed", record["problem"]
    assert all(o.status in ("passed", "skipped") for o in outcomes.values())
    if part.measures:
        ours, *others = [outcome for outcome in outcomes.values() if outcome.rows]
        assert others
        assert all(peer.rows[0]["ratio"] > 0 for peer in others)
        assert ours.rows[0]["sizes"]


def test_all_parts_fit_into_four_minutes():
    limits = [step.seconds for part in PARTS.values() for step in part.steps]
    assert sum(limits) + 15 <= gpu_check.LIMIT <= 230


# Checks whose results, or whose way to them, depend on values.
NEED_VALUES = {
    "eigenvalues",
    "gradient descent, at all times",
    "momentum, at all times",
    "early stopping",
    "laziness",
    "spectra of tensors on the device",
    "batched eigenvalues",
}


@pytest.mark.slow
def test_checks_compute_on_the_device_that_they_are_given(monkeypatch):
    checks = []
    for module in (kernel_checks, training_checks):
        monkeypatch.setattr(module, "run_checks", lambda found, setting: checks.extend(found))
        for each in module.PARTS:
            each.steps[0].run(SMOKE)
    meta = torch.device("meta")
    ready = [check for check in checks if check.name not in NEED_VALUES]
    assert len(checks) - len(ready) == len(NEED_VALUES)
    for check in ready:
        assert all(values.is_meta for values in check.found(meta, torch.float32)), check.name


# Parts that go wrong, in processes of their own


def fails(setting):
    raise ValueError("broken")


def rows(setting):
    return [{"check": "a", "dtype": "float64", "error": 0.0, "tolerance": 0.0, "passed": True}]


def wrong_rows(setting):
    return [*rows(setting), {"check": "b", "dtype": "float64", "error": 1.0, "passed": False}]


def hangs(setting):
    time.sleep(600)


def dies(setting):
    os._exit(3)


def needs_memory(setting):
    raise torch.OutOfMemoryError("CUDA out of memory")


def is_absent(setting):
    raise Skip("nobody is there")


def measured(setting):
    return [measuring.measure(lambda: torch.ones(4), setting.place)]


def measured_otherwise(setting):
    return [measuring.measure(lambda: torch.ones(5), setting.place)]


def part(name, *steps):
    return Part(name, name.title(), steps)


def run(*parts, limit=100):
    # Real times, not those of the smoke run: a step that hangs shall not take long.
    found = running.run_parts(parts, Setting("cpu"), time.monotonic() + limit)
    return {each.name: record for each, record in found}


def here(*steps):
    """Record of a part whose steps run in this process."""
    outcomes = {step.label: running.run_step(step, SMOKE) for step in steps}
    return running.record(part("work", *steps), outcomes)


def test_what_fails_says_why():
    assert "ValueError: broken (fails, line" in here(Step("checks", fails, 1))["problem"]
    wrong = here(Step("checks", wrong_rows, 1))
    assert wrong["status"] == "failed"
    assert wrong["problem"] == "checks: 1 of 2 checks, the first: b (float64)"
    assert len(wrong["steps"]["checks"]["rows"]) == 2


@pytest.mark.slow
def test_what_dies_or_hangs_is_recorded_and_stops_no_other():
    bad = part("dies", Step("checks", dies, 60)), part("hangs", Step("checks", hangs, 1))
    found = run(*bad, part("good", Step("checks", rows, 60)))
    assert found["dies"]["problem"] == "checks: its process died"
    assert found["hangs"]["problem"] == "checks: more than 1 s"
    assert [each["status"] for each in found.values()] == ["failed", "failed", "passed"]


@pytest.mark.slow
def test_peers_may_run_out_of_memory_or_time_or_be_absent():
    ours, slow = Step("ours", measured, 60), Step("slow", hangs, 1, peer=True)
    large, absent = Step("large", needs_memory, 60, True), Step("absent", is_absent, 60, True)
    record = run(part("work", ours, large, absent, slow))["work"]
    assert record["status"] == "passed"
    states = [record["steps"][label]["status"] for label in ("large", "absent", "slow")]
    assert states == ["out of memory", "skipped", "out of time"]


def test_ours_may_not():
    assert here(Step("ours", needs_memory, 1))["status"] == "failed"
    late = {"ours": running.Outcome(running.NO_TIME, "more than 1 s")}
    assert running.record(part("work", Step("ours", hangs, 1)), late)["status"] == "failed"


def test_a_peer_that_computes_something_else_is_a_failure():
    record = here(Step("ours", measured, 1), Step("peer", measured_otherwise, 1, peer=True))
    assert record["problem"] == "peer: its result has the norm 2.236068, ours 2"


def test_a_peer_alone_with_its_result_is_told():
    """Torch itself may be inaccurate."""
    odd = Step("odd", measured_otherwise, 1, peer=True)
    record = here(Step("ours", measured, 1), Step("peer", measured, 1, peer=True), odd)
    assert (record["status"], record["steps"]["odd"]["status"]) == ("passed", "other result")


def test_a_peer_may_crash():
    record = here(Step("ours", measured, 1), Step("peer", fails, 1, peer=True))
    assert (record["status"], record["steps"]["peer"]["status"]) == ("passed", "failed")
    assert here(Step("ours", fails, 1))["status"] == "failed"


def test_ours_alone_with_its_result_is_a_failure():
    peers = Step("peer", measured, 1, peer=True), Step("other", measured, 1, peer=True)
    assert here(Step("ours", measured_otherwise, 1), *peers)["status"] == "failed"


def test_nothing_begins_after_the_deadline():
    assert run(part("a", Step("checks", rows, 60)), limit=0) == {}
    begun = run(part("a", Step("checks", hangs, 60)), limit=1)
    assert begun == {}  # cut off by the deadline, not by its own: to be run again


# The command


def command(*arguments, path=(), **options):
    call = [sys.executable, BENCHMARKS / "gpu_check.py", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))}
    return subprocess.run(call, capture_output=True, text=True, env=environment, **options)


@pytest.mark.slow
def test_second_call_runs_only_what_failed_or_is_missing(tmp_path):
    options = ("--device", "cpu", "--smoke", "--results", tmp_path)
    first = command(*options, "--part", "arithmetic")
    assert first.returncode == 0, first.stderr
    (file,) = tmp_path.glob("*.json")
    found = json.loads(file.read_text())
    assert found["versions"]["torch"] == torch.__version__
    assert found["device"] == "cpu"
    record = found["parts"]["arithmetic"]
    assert record["steps"]["checks"]["rows"][1]["tolerance"] == 3e-6
    assert record["code"] == results.code()
    # As if all others had passed but one, and one were missing.
    found["parts"] = {name: record for name in PARTS if name != "dense"}
    found["parts"]["block"] = record | {"status": "failed"}
    file.write_text(json.dumps(found))
    second = command(*options)
    assert second.returncode == 0, second.stdout + second.stderr
    lines = second.stdout.splitlines()
    assert lines[0].endswith("2 parts to run, 15 have passed")
    assert [line.split() for line in lines[1:3]] == [["passed", "dense"], ["passed", "block"]]
    assert list(tmp_path.glob("*.json")) == [file]


def test_exit_status_tells_of_a_failure(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu_check, "START", time.monotonic())
    monkeypatch.setitem(PARTS, "arithmetic", part("arithmetic", Step("checks", fails, 60)))
    options = ["--device", "cpu", "--smoke", "--results", str(tmp_path), "--part", "arithmetic"]
    assert gpu_check.main(options) == 1
    assert "failed  arithmetic checks: ValueError: broken" in capsys.readouterr().out


def test_no_device_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu_check.main([]) == 2
    assert capsys.readouterr().out.startswith("device: 'cuda' is not there")


@pytest.mark.slow
def test_runs_without_what_the_machine_may_lack(tmp_path):
    for name in ("jaxtyping", "numba", "h5py", "beartype", "torchvision", "jax"):
        (tmp_path / f"{name}.py").write_text("raise ModuleNotFoundError('not on this machine')")
    options = ("--device", "cpu", "--smoke", "--results", tmp_path)
    names = ("limits", "arcs", "training-1000")
    parts = [word for name in names for word in ("--part", name)]
    done = command(*options, *parts, path=[tmp_path])
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = tmp_path.glob("*.json")
    found = json.loads(file.read_text())["parts"]
    assert found["arcs"]["steps"]["checks"]["problem"].startswith("numba is not installed")
    assert found["training-1000"]["steps"]["jax"]["problem"] == "jax is not installed"
    assert found["training-1000"]["steps"]["torch.func"]["status"] == "passed"


def test_make_uses_the_python_it_is_given():
    made = subprocess.run(
        ["make", "--no-print-directory", "-n", "gpu-check", "PYTHON=any"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert made.stdout == "any benchmarks/gpu_check.py\n"


# Pieces


def test_difference_is_relative_to_the_largest_entry():
    found, wanted = torch.tensor([1.0, 100.5]), torch.tensor([1.0, 100.0])
    cpu = torch.device("cpu")
    assert checking.difference([found], [wanted], cpu) == pytest.approx(0.005)
    with pytest.raises(ValueError, match="not finite"):
        checking.difference([found / 0], [wanted], cpu)
    with pytest.raises(ValueError, match="is on meta, not on cpu"):
        checking.difference([found.to("meta")], [wanted], cpu)


def test_an_error_in_a_check_is_a_row():
    def broken(place, dtype):
        raise RuntimeError("no kernel image")

    check = checking.Check("a", broken, lambda: [], {torch.float64: 1e-9})
    (row,) = checking.run_checks([check], SMOKE)
    assert row["problem"] == "RuntimeError: no kernel image"
    assert not row["passed"]


def test_resnet_has_the_published_size():
    with torch.device("meta"):
        network = resnet18()
    assert sum(p.numel() for p in network.parameters()) == 11_689_512
    assert network(torch.empty(2, 3, 224, 224, device="meta")).shape == (2, 1000)


def test_peers_are_the_library_kernels():
    network, x, _ = works.dense_problem(SMOKE, 3, 2)
    network, x = network.double(), x.double()
    block = works.ours(network, x)
    for peer in (peers.contraction, peers.products):
        torch.testing.assert_close(peer(network, x).permute(2, 3, 0, 1), block)


def test_real_sizes_are_those_of_the_table():
    with torch.device("meta"):
        sizes = [works.resnet_problem(Setting("meta"), 8, 8).sizes]
        sizes += [works.block_problem(Setting("meta"), 5000, 10).sizes]
        sizes += [works.dense_problem(Setting("meta"), 1, 1000).sizes]
    assert [each["N"] for each in sizes] == [8, 5000, 1]
    assert [each["O"] for each in sizes] == [8, 10, 1000]
    assert sizes[1]["P"] == 784 * 100 + 2 * 100 * 100 + 100 * 10 + 310


def test_stand_in_annotates_anything():
    module = gpu.stand_in()
    assert module.Float[torch.Tensor, "n m"] is module.Int[torch.Tensor, ""]


# The page


def test_page_is_that_of_the_newest_results():
    newest = results.newest(results.RESULTS, device="cuda", smoke=False)
    page = (ROOT / "docs" / "gpu.md").read_text()
    assert page == table.page(list(PARTS.values()), newest)


def test_page_without_results_says_so_in_every_row():
    page = table.page(list(PARTS.values()), None)
    cells = [line for line in page.splitlines() if line.startswith(("| ", "|  |"))]
    cells = [line for line in cells if not line.startswith(("| part |", "| work |"))]
    methods = sum(len(part.steps) for part in PARTS.values() if part.measures)
    checks = sum(not part.measures for part in PARTS.values())
    assert sum(table.NOTHING in line for line in cells) == len(cells) == methods + checks


def test_page_shows_what_was_measured(tmp_path):
    ours, peer = Step("ours", measured, 60), Step("peer", measured, 60, peer=True)
    large = Step("large", needs_memory, 60, peer=True)
    work, check = part("work", ours, peer, large), part("check", Step("checks", wrong_rows, 60))
    outcome = running.Outcome
    row = {"seconds": 0.5, "peak_mb": 1234.5, "norm": 2.0}
    done = {
        "ours": outcome("passed", rows=[dict(row)]),
        "peer": outcome("passed", rows=[row | {"seconds": 2.0, "peak_mb": None}]),
        "large": outcome("out of memory", "OutOfMemoryError: CUDA"),
    }
    bad = {"check": "a", "dtype": "float64", "error": 1e-3, "tolerance": 1e-9, "passed": False}
    versions = {"torch": "2.11", "cuda": "13.0", "jax": "0.1"}
    here = {"device": "cuda", "smoke": False, "card": "Card, 80 GiB", "driver": "580"}
    found = results.begin(tmp_path, here | {"versions": versions})
    found["parts"] = {
        "work": running.record(work, done),
        "check": running.record(check, {"checks": outcome("failed", "1 of 1", rows=[bad])}),
    }
    results.save(found)
    newest = results.newest(tmp_path, device="cuda", smoke=False)
    page = table.page([work, check], newest)
    assert "Card, 80 GiB, driver 580, torch 2.11, cuda 13.0, jax 0.1, 20" in page
    assert "| Work | ours | 0.5 | 1,234 |\n|  | peer | 2 (4 x) |  |\n" in page
    assert "|  | large | out of memory |  |" in page
    assert "| Check | 1 of 1 failed | 1.0e-03 (1e-09) |  |" in page
