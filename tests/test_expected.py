"""What jobs are expected to cost, and which of them is started first."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from plans import build_plan

import estimate_costs
import run_workflow
from ntkstudy.plan.expected import (
    LEAST_S,
    LIGHT_MB,
    UNKNOWN_S,
    Cost,
    duration,
    expected_cost,
    experiment_cost,
    recorded,
    run_cost,
)
from ntkstudy.plan.order import AFTER_S, TABLES_S, Order
from ntkstudy.plan.scheduling import EXPECTED, say_cost

HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


@pytest.fixture
def plan(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return build_plan()


def record(file, processor_s, peak_mb, seconds=99.0):
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    Path(file).write_text(
        f"{HEADER}{seconds}\t0:01:39\t{peak_mb}\t1\t1\t1\t0\t0\t90\t{processor_s}\n"
    )


def label_of(plan, stage):
    return plan.cells("e", stage)[0].label


def test_a_record_comes_before_an_estimate(plan):
    label = label_of(plan, "train")
    before = expected_cost(plan, "train", "e", label, "0-1")
    assert before.seconds == LEAST_S  # a network of width 4, what it imports left aside
    assert before.peak_mb == plan.memory_mb("train", "e", label, "0-1")
    record(plan.benchmark_file("train", "e", label, "0-1"), 12.5, 345.0)
    after = expected_cost(plan, "train", "e", label, "0-1")
    assert (after.seconds, after.peak_mb, after.recorded) == (12.5, 345.0, 1)
    other = expected_cost(plan, "train", "e", label, "2-3")
    assert (other.seconds, other.recorded) == (before.seconds, 0)


@pytest.mark.parametrize(
    "text",
    [
        *("", HEADER, f"{HEADER}0.4\t0:00:00" + 8 * "\tNA" + "\n", "s\n1\n", f"{HEADER}0.4\n"),
        *(HEADER + 10 * f"{number}\t" + "\n" for number in ("nan", "inf", "-1")),
        f"{HEADER}{200_000 * 'x'}\n",
    ],
)
def test_records_without_times_are_none(tmp_path, text):
    file = tmp_path / "a.tsv"
    assert recorded(str(file)) is None
    file.write_text(text)
    assert recorded(str(file)) is None


def test_a_job_too_short_for_its_processor_time_has_its_own(tmp_path):
    record(tmp_path / "a.tsv", 0.0, 5.0, seconds=0.4)
    assert recorded(str(tmp_path / "a.tsv")) == (0.4, 5.0)


def test_files_count_as_they_lie_there_or_by_their_weights(plan):
    label = label_of(plan, "train")
    weights = expected_cost(plan, "train", "e", label, "0-1").disk_bytes
    assert weights > expected_cost(plan, "train", "e", label, "4-4").disk_bytes
    path = plan.stage_file("train", "e", label, "0-1")
    record(path, 0, 0)
    assert expected_cost(plan, "train", "e", label, "0-1").disk_bytes < weights


def test_all_of_an_experiment_is_counted(plan):
    stages = ("dataset", "train", "initialization", "ntk", "limit")
    files = sum(len(plan.stage_files(stage, "e")) for stage in stages)
    cost = experiment_cost(plan, "e")
    assert cost.jobs == files + 1  # its tables
    assert cost.seconds > 0
    assert cost.recorded == 0


def test_a_run_is_what_is_left(plan):
    label = label_of(plan, "train")
    jobs = [("train_ensemble", plan.benchmark_file("train", "e", label, "0-1"))]
    train = expected_cost(plan, "train", "e", label, "0-1")
    assert run_cost(plan, jobs) == train
    report = run_cost(plan, [*jobs, ("render_report", "results/x/benchmarks/render_report.tsv")])
    assert (report.jobs, report.seconds) == (2, train.seconds + LEAST_S)


def test_costs_add_up_and_say_so():
    total = Cost(1, 100.0, 500.0, 1e9, 1) + Cost(2, 200.0, 3000.0, 2e9)
    assert total == Cost(3, 300.0, 3000.0, 3e9, 1)
    assert str(total) == (
        "3 jobs, about 5 min of processor time (1 as recorded by an earlier run); "
        "3.0 GB of memory for the largest, 3 GB on disk"
    )
    assert str(Cost(1, 5.0, LIGHT_MB, 1e6)).startswith("1 job, about 5 s of processor time; 0.4 GB")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0 s"), (99.0, "99 s"), (600.0, "10 min"), (7200.0, "2.0 h")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_a_run_says_what_it_costs(plan, capsys):
    job = SimpleNamespace(
        rule=SimpleNamespace(name="train_ensemble"),
        benchmark=plan.benchmark_file("train", "e", label_of(plan, "train"), "0-1"),
    )
    target = SimpleNamespace(rule=SimpleNamespace(name="all"), benchmark=None)
    workflow = SimpleNamespace(
        dag=SimpleNamespace(needrun_jobs=lambda: iter([job, target])),
        resource_settings=SimpleNamespace(cores=2),
        local_exec=True,
        is_main_process=True,
    )
    say_cost(workflow, plan)
    said = capsys.readouterr().out
    assert said.startswith(f"{EXPECTED}1 job, about ")
    assert said.endswith(" or more on 2 cores\n")
    assert run_workflow.Progress().feed(said) == said
    workflow.is_main_process = False
    say_cost(workflow, plan)
    assert capsys.readouterr().out == ""


# Order


def test_a_job_comes_with_all_that_waits_for_it(plan):
    order, label = Order(plan), label_of(plan, "train")
    record(plan.benchmark_file("train", "e", label, "0-1"), 7.0, 1.0)
    record(plan.benchmark_file("ntk", "e", label, "0-1"), 20.0, 1.0)
    assert order.way("ntk", "e", label, "0-1") == 20.0 + TABLES_S
    assert order.way("train", "e", label, "0-1") == 27.0 + TABLES_S
    data = order.way("dataset", "e", label_of(plan, "dataset"), "")
    assert data == pytest.approx(27.1 + TABLES_S)


def test_the_longest_way_decides(plan):
    order, label = Order(plan), label_of(plan, "train")
    record(plan.benchmark_file("ntk", "e", label, "2-3"), 500.0, 1.0)
    short, long = (order.way("train", "e", label, block) for block in ("0-1", "2-3"))
    assert long > short + 400
    assert order.way("dataset", "e", label_of(plan, "dataset"), "") > long


def test_what_nobody_plans_has_no_place(plan):
    assert Order(plan).way("train", "e", label_of(plan, "train"), "0-99") == 0.0


def test_pictures_wait_for_everything_else():
    assert all(after < TABLES_S for after in AFTER_S.values())
    assert UNKNOWN_S > TABLES_S


# `make plan`


def test_the_dearest_experiments_are_listed():
    costs = {f"e{n}": Cost(1, 10.0 * n, 100.0, 1e6) for n in range(12)}
    first, shared, *rest = estimate_costs.describe_costs(costs, 2)
    assert first.startswith("12 jobs, about 11 min")
    assert shared == "On 2 cores: 6 min or more."
    assert [line.split()[-1] for line in rest] == [f"e{n}" for n in range(11, 1, -1)]


def test_mistakes_are_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.yaml").write_text("threads: 1\n")
    monkeypatch.setattr("sys.argv", ["estimate_costs.py"])
    assert estimate_costs.main() == 2
    assert capsys.readouterr().out.startswith("config/config.yaml: results: missing; allowed: ")
