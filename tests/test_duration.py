import pytest

from ntkstudy.plan.duration import limit_minutes, seconds
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
    assert 5 < estimate(stage) < 30
    assert estimate(stage, width=4096, points=4000, steps=10_000, measured="spectrum") > 120


@pytest.mark.parametrize("change", [dict(steps=10**5), dict(width=8192), dict(points=2000)])
def test_more_work_takes_longer(change):
    assert estimate(measured="spectrum", **change) > 1.2 * estimate(measured="spectrum")


def test_work_grows_with_the_seeds():
    one, two, three = (estimate(width=2048, steps=1000, seeds=seeds) for seeds in (1, 2, 3))
    assert three - two == pytest.approx(two - one)
    assert two > one


@pytest.mark.parametrize("stage", ["machines", "theory", "tile", "assembled"])
def test_stages_without_an_estimate(stage):
    assert estimate(stage) is None


def test_convolutions_have_no_estimate():
    cell = config(measured="function")
    cell["network"] = {"kind": "cnn", "depth": 1, "width": 4, "padding": "same"}
    cell["task"] = {"kind": "mnist", "train_points": 10, "test_points": 10}
    assert seconds("train", cell, read_facts(cell), 1) is None


@pytest.mark.parametrize(
    ("estimated", "minutes"), [(None, 240), (1.0, 15), (180.0, 15), (600.0, 50), (601.0, 51)]
)
def test_limits_are_five_times_the_estimate(estimated, minutes):
    assert limit_minutes(estimated, 240) == minutes
