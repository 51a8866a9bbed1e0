import json
from pathlib import Path

from ntkstudy.report.records import (
    TIMES,
    Job,
    describe_machine,
    makers,
    read_jobs,
    read_times,
    rule_edges,
    summarise_times,
)

JOBS = [
    Job("make", frozenset(), frozenset({"a.h5"})),
    Job("train", frozenset({"a.h5"}), frozenset({"b.h5"})),
    Job("train", frozenset({"a.h5", "b.h5"}), frozenset({"c.h5"})),
    Job("draw", frozenset({"b.h5", "elsewhere.csv"}), frozenset({"d.svg"})),
]


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_times_of_nothing(tmp_path):
    times = read_times(tmp_path / "nowhere", [])
    assert list(times) == TIMES
    assert summarise_times(times, "rule") == []


def test_times_are_summed_by_rule_and_by_experiment(tmp_path):
    write(tmp_path / "train/e/a.tsv", "s\tmax_rss\tcpu_time\n61.5\t100\t50\n")
    write(tmp_path / "train/f/b.tsv", "s\tmax_rss\tcpu_time\n2\t-\t1.5\n")
    write(tmp_path / "render.tsv", "s\th:m:s\tmax_rss\n1.0\t0:00:01\t-\n")
    times = read_times(tmp_path, ["e", "f"])
    train, render = summarise_times(times, "rule")
    assert train == {
        "name": "train", "jobs": 2, "seconds": 63.5, "cpu_seconds": 51.5, "max_rss_mb": 100.0,
    }  # fmt: skip
    assert (render["name"], render["cpu_seconds"], render["max_rss_mb"]) == ("render", 0.0, 0.0)
    assert [one["name"] for one in summarise_times(times, "experiment")] == ["e", "f"]


def test_rules_are_joined_by_the_files_that_jobs_read():
    assert rule_edges(JOBS) == {("make", "train"), ("train", "draw")}
    assert makers(JOBS)["c.h5"] == "train"


def test_jobs_are_read_from_the_records_beside_their_logs(tmp_path):
    record = {"input": {"x": "a", "y": ["b", "c"]}, "output": {"z": "d"}, "cfg": {}}
    write(tmp_path / "train/e/0-9.json", json.dumps(record))
    write(tmp_path / "judge.json", json.dumps(record | {"input": {}}))
    judge, train = read_jobs(tmp_path, ["e"])
    assert train == Job("train", frozenset({"a", "b", "c"}), frozenset({"d"}))
    assert (judge.rule, judge.inputs) == ("judge", frozenset())


def test_the_machine_is_described(tmp_path):
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Some CPU @ 2.1GHz\n")
    machine = describe_machine(info)
    assert machine["Processor"] == "Some CPU @ 2.1GHz"
    assert machine["Cores"].split()[0].isdecimal()
    assert describe_machine(tmp_path / "absent")["Processor"]


def test_damaged_records_are_left_out(tmp_path):
    write(tmp_path / "times/train/e/a.tsv", "s\tmax_rss\tcpu_time\n2\t100\t1.5\n")
    for place, text in enumerate(["", "s\tmax_rss\tcpu_time\n", "s\tmax_rss\n\0\0\n"]):
        write(tmp_path / f"times/train/e/{place}.tsv", text)
    assert read_times(tmp_path / "times", ["e"])["s"].sum() == 2.0
    write(tmp_path / "logs/train/e/a.json", json.dumps({"input": {"x": "a"}, "output": {"y": "b"}}))
    write(tmp_path / "logs/train/e/b.json", "")
    assert read_jobs(tmp_path / "logs", ["e"]) == [Job("train", frozenset({"a"}), frozenset({"b"}))]


def test_records_of_other_runs_in_the_same_folder_are_left_out(tmp_path):
    for place in ("train/e/a", "train/other/a", "download_mnist/images", "judge"):
        write(tmp_path / f"{place}.tsv", "s\tmax_rss\tcpu_time\n2\t100\t1.5\n")
        write(tmp_path / f"{place}.json", json.dumps({"input": {}, "output": {"y": place}}))
    times = read_times(tmp_path, ["e"])
    assert list(zip(times["rule"], times["experiment"], strict=True)) == [
        ("download_mnist", ""), ("judge", ""), ("train", "e"),
    ]  # fmt: skip
    made = makers(read_jobs(tmp_path, ["e"]))
    assert made == {
        "download_mnist/images": "download_mnist",
        "judge": "judge",
        "train/e/a": "train",
    }
