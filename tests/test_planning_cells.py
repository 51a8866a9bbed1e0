"""Overrides that select several cells, or leave cells out."""

from pathlib import Path

import pytest

from ntkflow.configuration import read_schema
from ntkflow.planning import Plan, load_plan

CONFIG = Path(__file__).parents[1] / "config"
OVERRIDES = [
    {"where": {"network.width": [4, 8]}, "set": {"training.engine": "dense"}},
    {"where": {"network.width": 16, "training.learning_rate": [0.5]}, "set": {"seeds": 0}},
]


@pytest.fixture
def swept():
    plan = load_plan([CONFIG / "config.yaml", CONFIG / "quick.yaml"], CONFIG / "schema.yaml")
    block = plan.block("fourier_mixture") | {
        "sweep": {"network.width": [4, 8, 16], "training.learning_rate": [1.0, 0.5]},
        "overrides": OVERRIDES,
    }
    config = plan.config | {"experiments": {"e": block}}
    return Plan(config, read_schema(CONFIG / "schema.yaml"))


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
