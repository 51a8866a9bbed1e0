from plans import ROOT, study_plan

from ntkstudy.plan.changes import changed_keys
from ntkstudy.plan.loading import read_defaults

CONFIG = ROOT / "config"
BLOCK = {"seeds": 10, "network": {"width": 100, "depth": 3}, "sweep": {"network.width": [1, 2]}}


def config(threads: int = 1, **changes) -> dict:
    return {"results": "results/x", "threads": threads, "experiments": {"e": BLOCK | changes}}


def test_equal_configurations_differ_in_nothing():
    assert changed_keys(config(), config() | {"results": "results/y"}, ["e"]) == []


def test_keys_that_differ_are_told_with_both_values():
    here = config(2, seeds=8, sweep={"network.depth": [3]})
    assert changed_keys(here, config(), ["e"]) == [
        ("", "threads", 1, 2),
        ("e", "seeds", 10, 8),
        ("e", "sweep.network.depth", None, [3]),
        ("e", "sweep.network.width", [1, 2], None),
    ]
    assert changed_keys(here, config(), []) == [("", "threads", 1, 2)]


def test_the_quick_scale_says_what_it_changes():
    plan = study_plan("quick.yaml")
    defaults = read_defaults(CONFIG / "config.yaml", plan.schema)
    changes = changed_keys(plan.config, defaults, plan.experiments)
    assert ("kernel_profile", "sweep.network.width", [100, 500, 2048], [32, 128]) in changes
    whole = study_plan()
    assert changed_keys(whole.config, defaults, whole.experiments) == []
