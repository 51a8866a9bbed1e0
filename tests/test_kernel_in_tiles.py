"""A kernel whose tiles are jobs: plan, kernels, scripts, and what they cost."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from plans import build_plan
from study_cases import in_float64
from torch.func import functional_call, jacrev

import assemble_kernel
import compute_kernel_tile
import measure_assembled_kernel
import project_tile_costs
from figures import tile_costs as figure
from ntkflow import limit_kernels
from ntkflow.empirical.stored import open_square_tiles
from ntkflow.errors import ConfigurationError, StorageError
from ntkflow.networks import draw_parameters, member, mlp
from ntkstudy.data.collected import Tables
from ntkstudy.data.tables import axes_of, read_groups, read_table, with_axes, write_table
from ntkstudy.derived.tile_costs import tile_costs
from ntkstudy.plan.planning import Plan
from ntkstudy.report.plotting import use_style
from ntkstudy.subjects.networks import build_network
from ntkstudy.subjects.tiles import TiledKernel

LABELS = {"kind": "mnist", "train_points": 8, "test_points": 6, "image_size": 4}
RIDGE = {"kind": "kernel_ridge", "when": ["assembled"], "ridges": [0.1]}


def tiled(**changes) -> Plan:
    """A plan of one experiment with a kernel in tiles, by default of 8 rows in tiles of 3."""
    block = {"task": LABELS, "tiles": {"size": 3}, "measurements": [RIDGE]}
    return build_plan(**{"sweep": {"network.width": [4, 8]}, "seeds": 1} | block | changes)


# What a plan makes of it


def test_tiles_are_those_on_and_above_the_diagonal():
    plan, label = tiled(), "width~4"
    assert plan.blocks("e", "tile", label) == ["0-0", "0-1", "0-2", "1-1", "1-2", "2-2"]
    assert plan.stage_files("tile", "e")[:2] == [
        "results/x/e/width~4/tile/0-0.h5",
        "results/x/e/width~4/tile/0-1.h5",
    ]
    assert plan.stage_files("kernel", "e")[0] == "results/x/e/width~4/kernel.h5"
    assert (
        plan.upstream_file("assembled", "kernel", "e", label) == plan.stage_files("kernel", "e")[0]
    )
    assert plan.kernel_tiles("assembled", "e", label) == plan.stage_files("tile", "e")[:6]
    assert plan.benchmark_files("tile", "e")[1] == (
        "results/x/benchmarks/compute_kernel_tile/e/width~4/0-1.tsv"
    )


def test_sizes_of_tiles_can_be_swept():
    plan = tiled(sweep={"tiles.size": [4, 8]})
    assert [len(plan.kernel_tiles("kernel", "e", f"size~{size}")) for size in (4, 8)] == [3, 1]


def test_a_job_knows_its_place_and_nothing_of_projections():
    plan = tiled()
    cfg = plan.job_config("tile", "e", "width~8", "1-2")
    assert cfg["place"] == [1, 2]
    assert cfg["tiles"] == {"dtype": "float32", "kernel": "limit", "size": 3}
    assert cfg["network"]["width"] == 8
    assert not {"seeds", "measurements"} & cfg.keys()
    assert plan.costs_config("e") == {"nodes": [1, 10, 100], "projected_rows": 60000}


def test_tables_of_tiles_are_there_where_tiles_are():
    assert {"tiles", "tile_costs", "assembled_kernel_ridge"} <= set(tiled().table_names("e"))
    plan = build_plan()
    assert not {"tiles", "tile_costs"} & set(plan.table_names("e"))
    assert not any(plan.has_stage("e", stage) for stage in ("tile", "kernel", "assembled"))


def test_a_partial_run_has_no_kernel_with_a_lost_tile(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = tiled(sweep={"tiles.size": [4]})
    stages = ("tile", "kernel", "assembled")
    whole = [file for stage in stages for file in plan.stage_files(stage, "e")]
    for file in (*whole, *plan.stage_files("dataset", "e")):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).touch()
    plan.config["partial"] = True
    assert [file for stage in stages for file in plan.stage_files(stage, "e")] == whole
    Path(whole[1]).unlink()
    assert plan.stage_files("tile", "e") == [whole[0], whole[2]]
    assert plan.stage_files("kernel", "e") == plan.stage_files("assembled", "e") == []
    assert len(plan.benchmark_files("tile", "e")) == 2


def test_memory_grows_with_the_tile_and_the_outputs():
    task = LABELS | {"train_points": 4000}
    small, large, block = (
        tiled(task=task, tiles=tiles).memory_mb("tile", "e", "width~4", "0-0")
        for tiles in ({"size": 100}, {"size": 2000}, {"size": 200, "kernel": "empirical"})
    )
    assert large - small == pytest.approx(6 * (2000**2 - 100**2) * 8 / 1e6, abs=2)
    assert block == large
    kinds = ({"size": 100}, {"size": 100, "kernel": "empirical"})
    limit, block = (
        tiled(task=task, tiles=tiles).memory_mb("assembled", "e", "width~4", "") for tiles in kinds
    )
    assert block - limit == pytest.approx(6 * 4000**2 * (10**2 - 1) * 8 / 1e6, abs=2)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"network": {"kind": "mlp", "depth": 1, "width": 4, "parameterization": "pytorch"}},
         "experiments.e.tiles.kernel: 'limit' is not allowed here: it needs a known infinite"),
        ({"network": {"kind": "mlp", "depth": 1, "width": 4, "dropout": 0.5},
          "tiles": {"size": 3, "kernel": "empirical"}, "measurements": []},
         "experiments.e.tiles.kernel: 'empirical' is not allowed here: it needs a network without"),
    ],
)  # fmt: skip
def test_kernels_that_cannot_be_made_are_refused(changes, problem):
    with pytest.raises(ConfigurationError) as error:
        tiled(**changes)
    assert problem in str(error.value)


def test_an_assembled_kernel_needs_tiles():
    with pytest.raises(ConfigurationError, match=r"'kernel_ridge' .* it needs a tiles block"):
        build_plan(task=LABELS, measurements=[RIDGE])


# Kernels


def settings(kind, **tiles):
    # With one hidden layer outputs could be exchanged.
    network = {"kind": "mlp", "depth": 2, "width": 7, "sigma_b": 0.1}
    return {"network": network, "tiles": {"size": 3, "kernel": kind, "dtype": "float64"} | tiles}


def test_tiles_of_the_limit_are_parts_of_it(data):
    kernel = TiledKernel.prepare(settings("limit"), data, "cpu")
    x = in_float64(data)[0]
    whole = limit_kernels(mlp(5, [1, 1], 3, sigma_b=0.1, device="meta"), x).ntk
    assert (kernel.size, kernel.tile) == (8, 3)
    for row, column in ((0, 0), (0, 2), (1, 2)):
        i, j = (slice(3 * each, 3 * each + 3) for each in (row, column))
        torch.testing.assert_close(kernel.at(row, column), whole[i, j])


def test_rows_of_an_empirical_kernel_are_pairs_of_an_input_and_an_output(data):
    cfg = settings("empirical")
    kernel, x = TiledKernel.prepare(cfg, data, "cpu"), in_float64(data)[0]
    network = build_network(cfg["network"], 5, 3)
    weights = member(draw_parameters(network, [0], dtype=torch.float64), 0)
    rows = jacrev(lambda weights: functional_call(network, weights, (x,)))(weights)
    jacobian = torch.cat([each.reshape(8 * 3, -1) for each in rows.values()], 1)
    whole = jacobian @ jacobian.T
    assert (kernel.size, kernel.tile) == (24, 9)
    for row, column in ((0, 0), (0, 2), (1, 2)):
        i, j = (slice(9 * each, 9 * each + 9) for each in (row, column))
        torch.testing.assert_close(kernel.at(row, column), whole[i, j])


# Scripts


def make(folder: Path, data, kind: str, **tiles) -> tuple[dict, list[str], dict]:
    """Tiles and the assembled kernel of a data set: inputs of a measurement, and its cfg."""
    base = {"experiment": "e", "cell": {}, "modules": [], **settings(kind, **tiles)}
    places = [(a, b) for a in range(3) for b in range(a, 3)]
    files = [str(folder / "tile" / f"{a}-{b}.h5") for a, b in places]
    given = {"dataset": str(data.file.path)}
    for place, file in zip(places, files, strict=True):
        cfg = base | {"stage": "tile", "place": list(place)}
        compute_kernel_tile.main(given, {"tile": file}, cfg, "cpu")
    given["kernel"] = str(folder / "kernel.h5")
    assemble_kernel.main({"tiles": files}, {"kernel": given["kernel"]})
    return given, files, base | {"stage": "assembled", "measurements": [RIDGE]}


@pytest.mark.parametrize("kind", ["limit", "empirical"])
def test_regression_with_tiles_is_that_with_one_kernel(tmp_path, data, kind):
    given, files, cfg = make(tmp_path, data, kind, dtype="float32")
    made = str(tmp_path / "assembled.h5")
    measure_assembled_kernel.main(given, {"measurements": made}, cfg, "cpu")
    row = read_groups([made], "assembled", "kernel_ridge").iloc[0]
    assert row["disagreement"] < 1e-5
    assert 0 < row["kernel_error"] < 1e-6
    assert row["residual"] < 1e-6
    x, y, probe, targets = in_float64(data)
    kernel = TiledKernel.prepare(settings(kind), data, "cpu")
    gram, cross = kernel.between(x).numpy(), kernel.between(probe, x).numpy()
    wanted = y.numpy() if kind == "limit" else y.numpy().reshape(-1)
    ridge = 0.1 * np.diag(gram).mean()
    f = cross @ np.linalg.solve(gram + ridge * np.eye(len(gram)), wanted)
    f, targets = f.reshape(6, 3), targets.numpy()
    assert row["accuracy"] == pytest.approx((f.argmax(1) == targets.argmax(1)).mean())
    assert row["squared_error"] == pytest.approx(((f - targets) ** 2).sum(1).mean(), rel=1e-4)

    tiles = read_groups(files, "tile", "tiles")
    assert axes_of(tiles) == ["row", "column"]
    side = 3 if kind == "limit" else 9
    assert tiles["entries"].tolist()[:3] == [side**2, side**2, side**2 * 2 // 3]
    assert (tiles["seconds"] > 0).all()
    sizes = [Path(file).stat().st_size for file in files]
    assert all(4 * tiles["entries"] < sizes)


def test_a_tile_of_another_kernel_is_named(tmp_path, data):
    _, files, _ = make(tmp_path, data, "limit")
    strange = settings("limit", dtype="float32") | {"modules": [], "cell": {}, "experiment": "e"}
    cfg = strange | {"stage": "tile", "place": [1, 1]}
    compute_kernel_tile.main({"dataset": str(data.file.path)}, {"tile": files[3]}, cfg, "cpu")
    kernel = str(tmp_path / "kernel.h5")
    with pytest.raises(StorageError, match=r"not the tile that it was assembled of"):
        open_square_tiles(kernel)
    with pytest.raises(StorageError, match=r"/tile/1-1.h5: dtype is 'float32' in the file, not"):
        assemble_kernel.main({"tiles": files}, {"kernel": kernel})


# Costs


def tiles_table(**axes) -> pd.DataFrame:
    """Two cells of tiles; the last tile of each is smaller."""
    rows = [
        (size, 0, 0, size**2, 1000 + size**2, repeats, size / 10)
        for size, repeats in ((10, 1), (20, 1))
    ]
    rows += [(10, 0, 1, 50, 600, 1, 3.0), (20, 0, 1, 100, 900, 1, 6.0)]
    names = ["size", "row", "column", "entries", "bytes", "repeats", "seconds"]
    return with_axes(pd.DataFrame(rows, columns=names), ["size", "row", "column"])


def test_costs_are_rounds_of_jobs():
    tiles = tiles_table()
    jobs = pd.Series([4.0, 5.0, 6.0, 7.0])  # mean 5.5, beside tiles of 3 s on average
    costs = tile_costs(tiles, jobs, projected_rows=95, nodes=[1, 4])
    assert axes_of(costs) == ["size", "nodes"]
    first, second = costs[costs["size"] == 10].to_dict("records")
    assert (first["kernel_rows"], first["tile_rows"], first["jobs"]) == (95, 10, 55)
    # 10 tiles on the diagonal of 1 s; beside it 45 of 6 s, as one that was cut in half took 3 s.
    assert first["seconds_per_tile"] == pytest.approx((10 * 1 + 45 * 6) / 55)
    assert first["seconds_per_job"] == pytest.approx((10 * 1 + 45 * 6) / 55 + 2.5)
    assert first["hours"] == pytest.approx((10 * 3.5 + 45 * 8.5) / 3600)
    assert second["hours"] == pytest.approx((3 * 3.5 + 12 * 8.5) / 3600)  # on 4 nodes
    assert first["gigabytes"] == pytest.approx(55 * 1100 / 1e9)
    assert costs[costs["size"] == 20]["jobs"].tolist() == [15, 15]


def test_tiles_on_the_diagonal_do_not_stand_for_those_beside_it():
    rows = [(0, 0, 100, 1000, 1, 0.5), (0, 1, 100, 1000, 1, 1.0), (1, 1, 100, 1000, 1, 0.5)]
    names = ["row", "column", "entries", "bytes", "repeats", "seconds"]
    tiles = with_axes(pd.DataFrame(rows, columns=names), ["row", "column"])
    costs = tile_costs(tiles, tiles["seconds"], projected_rows=600, nodes=[1])
    assert costs["hours"].tolist() == [pytest.approx((60 * 0.5 + 1770 * 1.0) / 3600)]


def test_costs_of_a_block_kernel_count_outputs():
    tiles = tiles_table().assign(repeats=5)
    costs = tile_costs(tiles, pd.Series([5.0]), projected_rows=95, nodes=[2])
    assert costs["kernel_rows"].tolist() == [475, 475]
    assert costs["jobs"].tolist() == [48 * 49 // 2, 24 * 25 // 2]


def test_costs_are_read_from_the_records_of_the_jobs(tmp_path):
    write_table(tmp_path / "tiles.csv", tiles_table().query("size == 10").drop(columns="size").pipe(
        with_axes, ["row", "column"]
    ))  # fmt: skip
    records = []
    for name, seconds in (("0-0", 4.0), ("0-1", 6.0)):
        records.append(str(tmp_path / f"{name}.tsv"))
        Path(records[-1]).write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:00:04\t-\n")
    given = {"tables": [str(tmp_path / "tiles.csv")], "benchmarks": records}
    project_tile_costs.main(
        given, {"table": str(tmp_path / "costs.csv")}, {"projected_rows": 20, "nodes": [1]}
    )
    costs = read_table(tmp_path / "costs.csv")
    assert axes_of(costs) == ["nodes"]
    # Jobs of 5 s whose tiles take 2 s on average: 1 s on the diagonal, 6 s beside it if whole.
    assert costs["hours"].tolist() == [pytest.approx((2 * (1 + 3.0) + 6 + 3.0) / 3600)]
    assert list(Tables(given["tables"])) == ["tiles"]


def test_the_figure_draws_a_line_for_each_size():
    costs = tile_costs(tiles_table(), pd.Series([5.0]), projected_rows=95, nodes=[1, 10, 100])
    use_style()
    drawn = figure.draw({"tile_costs": costs}, {})
    drawn.draw_without_rendering()
    (axes,) = drawn.axes
    assert axes.get_ylabel() == "hours for 95 rows"
    for line, (_, rows) in zip(axes.lines, costs.groupby("tile_rows"), strict=True):
        np.testing.assert_allclose(line.get_ydata(), rows["hours"])
        np.testing.assert_allclose(line.get_xdata(), [1, 10, 100])
    plt.close(drawn)
