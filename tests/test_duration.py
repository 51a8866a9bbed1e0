import re
from pathlib import Path

import pytest
import yaml

from ntkstudy.plan.duration import SHORT_S, START_S, UNKNOWN, limit_minutes, seconds
from ntkstudy.plan.entries import read_facts
from ntkstudy.registry import discover

discover()


def config(width=4, points=8, steps=10, measured="profile", kind="mlp"):
    return {
        "network": {"kind": kind, "depth": 2, "width": width},
        "task": {"kind": "gaussian_product", "train_points": points, "probe_points": 4},
        "training": {"dtype": "float32", "steps": steps, "snapshots": 5},
        "measurements": [{"kind": measured, "when": ["initialization", "training", "trained"]}],
    }


def estimate(stage="train", seeds=1, **changes):
    cell = config(**changes)
    return seconds(stage, cell, read_facts(cell), seeds)


@pytest.mark.parametrize("stage", ["train", "initialization", "ntk"])
def test_small_jobs_are_short_and_large_ones_are_not(stage):
    assert START_S <= estimate(stage) < 10
    assert estimate(stage, width=4096, points=9000, steps=10_000, measured="spectrum") > SHORT_S


@pytest.mark.parametrize("change", [dict(steps=10**5), dict(width=65536), dict(points=4000)])
def test_more_work_takes_longer(change):
    assert estimate(measured="spectrum", **change) > 1.2 * estimate(measured="spectrum")


def test_work_grows_with_the_seeds():
    one, two, three = (estimate(width=2048, steps=1000, seeds=seeds) for seeds in (1, 2, 3))
    assert three - two == pytest.approx(two - one)
    assert two > one


def test_only_the_rows_that_are_measured_count():
    def measured(points, **entry):
        cell = config(points=points, measured="block_structure")
        cell["measurements"][0] |= entry
        return seconds("ntk", cell, read_facts(cell), 1)

    assert measured(4000, images=100) < 10 < measured(4000)


@pytest.mark.parametrize("stage", ["dataset", "kernel"])
def test_stages_without_an_estimate(stage):
    assert estimate(stage) is None


def test_convolutions_use_their_weights_on_every_pixel():
    def network(kind, **more):
        cell = config(measured="function", width=64)
        cell["network"] = {"kind": kind, "depth": 1, "width": 64, **more}
        cell["task"] = {"kind": "mnist", "train_points": 1000, "test_points": 10}
        cell["training"]["steps"] = 1000
        return seconds("train", cell, read_facts(cell), 1)

    assert network("cnn", padding="same") > network("mlp")


def test_machines_on_block_kernels_take_longest():
    def machines(fit):
        cell = config(measured="kernel_classifiers")
        cell["task"] = {"kind": "mnist", "train_points": 500, "test_points": 10}
        cell["measurements"] = [{"kind": "kernel_classifiers", "when": ["machines"], "fits": [fit]}]
        return seconds("machines", cell, read_facts(cell), 1)

    assert machines("sample block zero") > machines("limit mean ridge") + 5


@pytest.mark.parametrize(
    ("estimated", "minutes"), [(None, 240), (1.0, 15), (90.0, 15), (300.0, 50), (301.0, 51)]
)
def test_limits_are_ten_times_the_estimate(estimated, minutes):
    assert limit_minutes(estimated, 240) == minutes


def test_jobs_with_an_estimate_go_to_a_queue_in_groups_while_they_are_short():
    rules = Path(__file__).parents[1] / "rules"
    timed, grouped = set(), set()
    for rule in re.split(
        r"^rule ", "".join(f.read_text() for f in rules.glob("*.smk")), flags=re.M
    ):
        timed |= {*re.findall(r'runtime=minutes\("(\w+)"', rule)}
        grouped |= {*re.findall(r'group:\n +short_jobs\("(\w+)"\)', rule)}
    assert grouped == timed - {*UNKNOWN}
    components = yaml.safe_load((rules.parent / "profiles/slurm/config.yaml").read_text())
    assert {each.split("=")[0] for each in components["group-components"]} == grouped


def test_checks_of_theory_take_as_long_as_their_draws():
    one = {"kind": "recursion", "when": ["theory"], "draws": 100}
    cell = config() | {"measurements": [one]}
    facts = read_facts(config())
    few, many = (
        seconds("theory", cell | {"measurements": [one | {"draws": draws}]}, facts, 1)
        for draws in (100, 10_000)
    )
    assert START_S < few < SHORT_S < many
    unknown = {"kind": "network_against_kernel", "when": ["theory"], "draws": 5}
    assert seconds("theory", cell | {"measurements": [one, unknown]}, facts, 1) is None


def test_trainings_to_a_loss_and_checks_of_architectures_are_long():
    trained = {"kind": "trained_to_loss", "when": ["initialization"]}
    at_start = {"kind": "kernel_spread", "when": ["initialization"], "images": 10}
    network = {"kind": "architecture", "architecture": "cnn", "width": 64}
    task = {"kind": "mnist", "train_points": 16, "test_points": 64, "image_size": 7}
    cell = config() | {"network": network, "task": task}
    facts = read_facts(cell)
    short, long = (
        seconds("initialization", cell | {"measurements": [entry]}, facts, 10)
        for entry in (at_start, trained)
    )
    assert long > 5 + short
    fewer = cell | {"measurements": [trained | {"most_steps": 40}]}
    assert seconds("initialization", fewer, facts, 10) < long - 3
    for kind in ("architecture_regression", "pick_architecture"):
        checks = cell | {"measurements": [{"kind": kind, "when": ["theory"], "draws": 5}]}
        assert seconds("theory", checks, facts, 1) > 30
