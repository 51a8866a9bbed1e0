from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import fit_kernel_machines
import make_dataset
from ntkflow.empirical import empirical_ntk
from ntkflow.limits import limit_kernels
from ntkflow.linalg.spectra import block_matrix
from ntkflow.networks import draw_parameters, member
from ntkflow.training import train_ensemble
from ntkstudy.data.mnist_files import image_files
from ntkstudy.data.storage import Array, open_file, write_file
from ntkstudy.measurements import kernel_classifiers as kernel_classifiers_module
from ntkstudy.measurements.blocks import block_structure, kernel_corner, limit_distance, limit_gap
from ntkstudy.measurements.kernel_classifiers import (
    Digits,
    Kernels,
    _score,
    kernel_classifiers,
    limit_network,
)
from ntkstudy.measurements.kernel_cost import kernel_cost, loop_kernel, vmap_kernel
from ntkstudy.measurements.members import Ensemble
from ntkstudy.measurements.networks import Member
from ntkstudy.networks import build_network

ROOT = Path(__file__).parents[1]
TASK = {
    "kind": "mnist", "source": "bundled", "directory": None, "train_points": 30, "test_points": 20,
    "test_from": "train", "selection": "random", "balanced": False, "image_size": 7,
    "scaling": "normalised", "data_seed": 1,
}  # fmt: skip
NETWORK = {
    "kind": "mlp", "depth": 2, "width": 12, "activation": "relu", "activation_first": "linear",
    "parameterization": "pytorch", "sigma_w": 1.0, "sigma_w_last": None, "sigma_b": 0.0,
    "bias": "normal",
}  # fmt: skip
ENTRY = {
    "kind": "kernel_classifiers", "sample_width": 12, "samples": 2, "starts": 2,
    "learning_rate": 0.05, "steps": 30, "tolerance": 0.0, "ridges": [0.01, 1.0], "held_out": 0.2,
}  # fmt: skip
TRAINING = {"dtype": "float32", "learning_rate": 0.1, "steps": 3}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    file = str(tmp_path_factory.mktemp("mnist") / "dataset.h5")
    cfg = {"task": TASK, "experiment": "e", "stage": "dataset", "cell": {}}
    images = [str(ROOT / name) for name in image_files(TASK, "")]
    make_dataset.main({"images": images}, {"dataset": file}, cfg)
    with open_file(file, "dataset") as opened:
        yield opened


def build(seeds=1, **changes) -> Ensemble:
    network = build_network(NETWORK | changes, 49, 10)
    drawn = draw_parameters(network, range(seeds))
    moved = {name: p + 0.05 * torch.sign(p) for name, p in drawn.items()}
    return Ensemble(network, moved, drawn, TRAINING, 3)


def fit(data, fits, **changes) -> dict[str, dict[str, float]]:
    one = build(**changes).members()[0]
    arrays = kernel_classifiers(ENTRY | {"fits": fits}, NETWORK | changes, one, data, seed=5)
    names = [name.decode() for name in arrays["kernel_classifiers/fit"].values]
    assert names == ["network", *fits]
    return {
        name: {key.split("/")[1]: array.values[i] for key, array in arrays.items()}
        for i, name in enumerate(names)
    }


def test_every_fit_has_its_row(data):
    fits = ["initial block random", "initial block zero", "trained mean ridge", "limit mean ridge"]
    rows = fit(data, fits)
    assert rows["network"]["disagreement"] == 0
    assert rows["initial block zero"]["updates"] == 30
    assert rows["limit mean ridge"]["ridge"] in ENTRY["ridges"]
    assert np.isnan(rows["limit mean ridge"]["updates"])
    for row in rows.values():
        assert 0 <= row["test_accuracy"] <= 1
    assert rows["limit mean ridge"]["train_accuracy"] > 0.9


def test_scores_of_random_starts_are_averaged(data, monkeypatch):
    each = []

    def score(outputs, network, digits):
        each.append([_score([one], network, digits)["test_accuracy"] for one in outputs])
        return _score(outputs, network, digits)

    monkeypatch.setattr(kernel_classifiers_module, "_score", score)
    found = fit(data, ["initial block random", "initial block zero"])
    assert [len(starts) for starts in each] == [1, 2, 1]
    assert each[1][0] != each[1][1]
    assert found["initial block random"]["test_accuracy"] == np.mean(each[1])


def test_sampled_kernels_are_averages_over_networks(data):
    one = build().members()[0]
    digits = Digits.load(data, **one.where)
    make = Kernels(ENTRY, NETWORK, one, digits, (49, 10), seed=5)
    drawn = draw_parameters(one.network, [1_005_000, 1_005_001])
    blocks = [
        empirical_ntk(one.network, digits.test_x, digits.x, parameters=member(drawn, i)).values
        for i in range(2)
    ]
    averaged = (blocks[0] + blocks[1]) / 2
    close = dict(rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        make.kernels("sample", ["block"])["block"].cross, block_matrix(blocks[0])
    )
    found = make.kernels("average", ["block"])["block"]
    torch.testing.assert_close(found.cross, block_matrix(averaged), **close)
    torch.testing.assert_close(found.gram, found.gram.T)
    mean = averaged.diagonal().mean(-1)
    for wanted in (["mean"], ["block", "mean"]):
        torch.testing.assert_close(make.kernels("average", wanted)["mean"].cross, mean, **close)
    own = [make.kernels(name, ["mean"])["mean"].gram for name in ("initial", "trained")]
    for kernel, parameters in zip(own, (one.start, one.parameters), strict=True):
        expected = empirical_ntk(one.network, digits.x, parameters=parameters, outputs="mean")
        torch.testing.assert_close(kernel, expected.values)


def test_the_script_writes_one_row_a_seed(data, tmp_path):
    cfg = {
        "task": TASK, "network": NETWORK, "training": TRAINING, "experiment": "e", "cell": {},
        "measurements": [ENTRY | {"fits": ["sample mean ridge"]}], "seeds": [3, 4],
        "stage": "machines",
    }  # fmt: skip
    trained = build(seeds=2)
    arrays = {
        f"weights/{name}": Array(p.numpy(), ["seed", *map(str, range(p.ndim - 1))])
        for name, p in trained.parameters.items()
    }
    write_file(tmp_path / "train.h5", cfg | {"stage": "train"}, arrays)
    files = {"dataset": str(data.path), "networks": str(tmp_path / "train.h5")}
    fit_kernel_machines.main(files, {"measurements": str(tmp_path / "m.h5")}, cfg, "cpu")
    with open_file(tmp_path / "m.h5", "machines") as found:
        accuracies = found.array("kernel_classifiers/test_accuracy").values
    x, labels = data.array("probe/x").values, data.array("probe/y").values.argmax(1)
    f = trained.members()[1].outputs(torch.as_tensor(x).float())
    assert accuracies.shape == (2, 2)
    assert accuracies[1, 0] == pytest.approx(float((f.argmax(1).numpy() == labels).mean()))


def test_the_limit_network_has_the_functions_of_pytorchs_initialisation():
    changes = {"activation_first": None, "depth": 1}
    network = limit_network(NETWORK | changes, 49, 1)
    x = torch.randn(2, 49, dtype=torch.float64)
    # Wide: biases of variance 1 / (3 fan_in) hardly matter.
    wide = build_network(NETWORK | changes | {"width": 200}, 49, 1)
    drawn = draw_parameters(wide, range(800), dtype=torch.float64)
    f = torch.func.vmap(lambda p: torch.func.functional_call(wide, p, (x,)).squeeze(-1))(drawn)
    covariance = f.T @ f / 800
    torch.testing.assert_close(covariance, limit_kernels(network, x).nngp, rtol=0.25, atol=0.02)


# Block kernels


def test_coupling_is_that_of_the_blocks(data):
    one = build().members()[0]
    arrays = block_structure({"images": 12}, one, data)
    x = torch.as_tensor(data.array("train/x", slice(12)).values, dtype=torch.float32)
    block = empirical_ntk(one.network, x, parameters=one.parameters).values.double()
    off = sum(block[o, p].square().sum() for o in range(10) for p in range(10) if o != p)
    on = sum(block[o, o].square().sum() for o in range(10))
    found = {name.split("/")[1]: float(array.values) for name, array in arrays.items()}
    assert found["coupling"] == pytest.approx(float((off / on).sqrt()), rel=1e-9)
    assert found["largest"] == pytest.approx(float(block[..., :10, :10].max()))
    assert found["parameters"] == 49 * 12 + 12 + 12 * 12 + 12 + 12 * 10 + 10
    corner = kernel_corner({"images": 12}, one, data)["kernel_corner/entry"].values
    assert corner[3 * 10 + 4, 5 * 10 + 6] == pytest.approx(float(block[4, 6, 3, 5]))


def test_distance_from_the_limit_falls_with_the_width(data):
    options = {"parameterization": "ntk", "activation_first": None}
    narrow, wide = (
        limit_distance({"images": 10}, build(8, width=width, **options), data) for width in (8, 512)
    )
    for name in ("sample", "mean_square"):
        key = f"limit_distance/{name}"
        assert abs(wide[key].values.mean()) < abs(narrow[key].values.mean())
    assert wide["limit_distance/sample"].values.max() < 0.5


def test_wide_networks_are_near_their_limit_after_training(data):
    options = {"parameterization": "ntk", "activation_first": None, "width": 4000, "depth": 1}
    ensemble = build(**options)
    still = Ensemble(ensemble.network, ensemble.start, ensemble.start, TRAINING | {"centred": True})
    assert np.isnan(limit_gap({}, still, data)["limit_gap/gap"].values).all()
    x, y = (torch.as_tensor(data.array(f"train/{name}").values).float() for name in "xy")
    rate = {"learning_rate": 0.1, "steps": 20}
    run = train_ensemble(ensemble.network, ensemble.start, x, y, centred=True, **rate)
    training = rate | {"centred": True}
    after = Ensemble(ensemble.network, run.parameters, ensemble.start, training, 20)
    assert limit_gap({}, after, data)["limit_gap/gap"].values[0] < 0.1


# Cost


def test_three_ways_give_one_kernel(data):
    one = build().members()[0]
    x = torch.as_tensor(data.array("train/x", slice(4)).values)
    parameters = {name: p.double() for name, p in one.parameters.items()}
    ours = empirical_ntk(one.network, x, parameters=parameters).values
    for way in (loop_kernel, vmap_kernel):
        found = way(one.network, parameters, x)
        torch.testing.assert_close(found, ours, rtol=1e-10, atol=1e-12)


def test_cost_has_a_row_a_network_and_a_column_a_way(data, monkeypatch):
    costs = iter([(8.0, 10.0), (2.0, 240.0), (1.0, 60.0)] * 2)  # loop, vmap, layerwise

    def measured(call):
        return call(), *next(costs)

    monkeypatch.setattr("ntkstudy.measurements.kernel_cost.measure_cost", measured)
    arrays = kernel_cost({}, build(seeds=2), data)
    rows = len(data.array("train/x").values)
    expected = {
        "loop_seconds": 8, "vmap_seconds": 2, "layerwise_seconds": 1, "loop_bytes": 10,
        "vmap_bytes": 240, "layerwise_bytes": 60, "vmap_speedup": 4, "layerwise_speedup": 8,
        "vmap_bytes_per_image": 240 / rows, "layerwise_share": 0.25,
    }  # fmt: skip
    assert arrays.keys() == {f"kernel_cost/{name}" for name in expected}
    for name, value in expected.items():
        found = arrays[f"kernel_cost/{name}"].values
        np.testing.assert_allclose(found, [value] * 2, rtol=1e-15, err_msg=name)


# Convolutional networks


CNN = {
    "kind": "cnn", "depth": 2, "width": 3, "kernel_size": 3, "padding": "valid", "head": "flatten",
    "activation": "relu", "parameterization": "pytorch", "sigma_w": 1.0, "sigma_b": 0.0,
    "bias": "normal",
}  # fmt: skip


def test_the_convolutional_network_is_the_reports():
    network = build_network(CNN | {"width": 20, "kernel_size": 5}, 784, 10)
    assert sum(p.numel() for p in network.parameters()) == 90_550
    shapes = [tuple(p.shape) for p in network.parameters() if p.ndim > 1]
    assert shapes == [(20, 1, 5, 5), (20, 20, 5, 5), (10, 20 * 20 * 20)]


def test_convolutional_machines_run(data):
    network = build_network(CNN, 49, 10)
    start = member(draw_parameters(network, [0]), 0)
    fits = ["sample block zero", "trained mean ridge", "limit mean ridge"]
    one = Member(network, start, start, TRAINING)
    entry = ENTRY | {"fits": fits, "sample_width": 3}
    arrays = kernel_classifiers(entry, CNN, one, data, seed=0)
    assert np.isfinite(arrays["kernel_classifiers/test_accuracy"].values).all()


@pytest.mark.parametrize("head", ["flatten", "gap"])
def test_the_limit_reads_flat_inputs_as_images(head):
    network = limit_network(CNN | {"head": head}, 49, 1)
    x = torch.randn(3, 49, dtype=torch.float64)
    images = nn.Sequential(*list(network)[1:])
    torch.testing.assert_close(
        limit_kernels(network, x).ntk, limit_kernels(images, x.reshape(3, 1, 7, 7)).ntk
    )
