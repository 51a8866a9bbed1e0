"""Overrides that select several cells, or leave cells out."""

import pytest
from plans import SCHEMA, study_plan

from ntkstudy.plan.planning import Plan

OVERRIDES = [
    {"where": {"network.width": [4, 8]}, "set": {"training.engine": "dense"}},
    {"where": {"network.width": 16, "training.learning_rate": [0.5]}, "set": {"seeds": 0}},
]


@pytest.fixture
def swept():
    plan = study_plan("quick.yaml")
    block = plan.block("fourier_mixture") | {
        "sweep": {"network.width": [4, 8, 16], "training.learning_rate": [1.0, 0.5]},
        "overrides": OVERRIDES,
    }
    config = plan.config | {"experiments": {"e": block}}
    return Plan(config, SCHEMA)


def test_an_override_selects_by_a_list_of_values(swept):
    engines = {
        cell.axes["width"]: cell.config["training"]["engine"] for cell in swept.cells("e", "train")
    }
    assert engines == {4: "dense", 8: "dense", 16: "auto"}


def test_no_seeds_leave_a_cell_out(swept):
    trained = [file for file in swept.stage_files("train", "e") if "width~16" in file]
    assert [file.split("/")[4] for file in trained] == ["learning_rate~1"]
    assert len(swept.stage_files("prediction", "e")) == 2


def test_memory_of_a_task_on_the_whole_grid(swept):
    swept.block("e")["task"]["train_points"] = None
    label = swept.cells("e", "train")[0].label
    assert swept.memory_mb("train", "e", label, "0-9999") > 600


def test_checks_of_theory_train_networks_of_their_own():
    plan = study_plan()
    assert not plan.has_stage("linear_training", "train")
    assert plan.has_stage("linear_training", "theory")
    assert {"theory_step_sweep", "theory_convexity"} <= plan.tables("linear_training").keys()
    assert plan.stage_files("theory", "limit_recursion") == [
        "results/default/limit_recursion/all/theory.h5"
    ]
    assert plan.has_stage("quantile_bands", "train")
    assert plan.has_stage("quantile_bands", "theory")
    assert not plan.has_stage("principal_component", "train")


def test_summaries_follow_from_the_tables_that_they_need():
    plan = study_plan()
    assert {"lazy_summary", "kappa_summary"} <= set(plan.table_names("laziness"))
    assert "rates_summary" in plan.table_names("ellipses")
    assert "kappa_summary" not in plan.table_names("output_scale")


def test_collected_tables_stand_behind_one_file_and_derived_ones_for_themselves():
    plan = study_plan()
    folder = f"{plan.results}/laziness"
    contents, derived = f"{folder}/tables/contents.json", f"{folder}/derived/lazy_summary.csv"
    assert plan.table_sources("laziness", []) == []
    assert plan.table_sources("laziness", ["losses", "networks"]) == [contents]
    assert plan.table_sources("laziness", ["lazy_summary"]) == [derived]
    assert plan.table_sources("laziness", ["lazy_summary", "losses"]) == [contents, derived]
    assert plan.table_file("laziness", "losses") == f"{folder}/tables/losses.csv"
