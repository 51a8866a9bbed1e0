"""Tiles as jobs of the workflow: what is lost is made again, and only that."""

import os

import h5py
import pytest
from workflow import copy_project, plan, snakemake, write_overlay

from ntkstudy.data.tables import read_table

pytestmark = pytest.mark.slow

# Two rows of tiles: three jobs.
TILES = {
    "results": "results/tiny",
    "threads": 1,
    "only": ["tiled_regression"],
    "experiments": {
        "tiled_regression": {
            "task": {"train_points": 12, "test_points": 6, "image_size": 4},
            "tiles": {"size": 8},
            "sweep": {"tiles.size": [8]},
            "figures": [],
        }
    },
}
CELL = "results/tiny/tiled_regression/size~8"


def times(project):
    """When each file of the cell was made."""
    return {path.name: path.stat().st_mtime_ns for path in (project / CELL).rglob("*.h5")}


def test_a_lost_tile_is_made_again_and_no_other(tmp_path):
    project = copy_project(tmp_path / "project")
    write_overlay(project, "tiny", TILES)
    done = snakemake(project, "experiments")
    assert done.status == 0, done.output
    assert done.jobs["compute_kernel_tile"] == 3
    before = times(project)
    assert before.keys() == {"0-0.h5", "0-1.h5", "1-1.h5", "kernel.h5", "assembled.h5"}
    assert plan(project, "experiments").idle

    lost = project / CELL / "tile" / "0-1.h5"
    with h5py.File(lost) as file:
        values = file["kernel"][()]
    os.remove(lost)
    done = snakemake(project, "experiments")
    assert done.status == 0, done.output
    expected = {"compute_kernel_tile": 1, "assemble_kernel": 1, "measure_assembled_kernel": 1}
    assert done.jobs == expected | {"aggregate_experiment": 1}
    after = times(project)
    made = {name for name in after if after[name] != before[name]}
    assert made == {"0-1.h5", "kernel.h5", "assembled.h5"}
    with h5py.File(lost) as file:
        assert (file["kernel"][()] == values).all()
    costs = read_table(project / "results/tiny/tiled_regression/derived/tile_costs.csv")
    assert costs["nodes"].tolist() == [1, 10, 100]
    assert (costs["seconds_per_job"] >= costs["seconds_per_tile"]).all()
    assert plan(project, "experiments").idle
