"""Kernel machines on the kernels of networks, of others like them, and of their limit."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from study_cases import DIGITS, DIGITS_NETWORK, digits_data, digits_networks, in_float64, measured
from torch import nn

import fit_kernel_machines
from ntkflow.empirical import empirical_ntk
from ntkflow.limits import limit_kernels
from ntkflow.linalg.spectra import block_matrix
from ntkflow.networks import draw_parameters, member
from ntkflow.regression.classifiers import classifier_scores
from ntkflow.regression.kernel_machines import accuracy
from ntkstudy.data.storage import Array, open_file, write_file
from ntkstudy.measurements.kernel_classifiers import ClassifierOptions
from ntkstudy.options import read_options
from ntkstudy.subjects import fits
from ntkstudy.subjects.fits import Kernels, limit_network
from ntkstudy.subjects.members import Members
from ntkstudy.subjects.networks import build_network

OPTIONS = {
    "sample_width": 12, "samples": 2, "starts": 2, "learning_rate": 0.05, "steps": 30,
    "tolerance": 0.0, "ridges": [0.01, 1.0],
}  # fmt: skip
TRAINING = {
    "dtype": "float32", "learning_rate": 0.1, "steps": 3, "output_scale": 1.0, "centred": False
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    with digits_data(tmp_path_factory.mktemp("digits")) as data:
        yield data


def fit(data, wanted, networks=None) -> dict[str, dict[str, float]]:
    """Scores of a network and of fits, by name."""
    networks = networks or digits_networks()
    found = measured("kernel_classifiers", networks, data, "machines", **OPTIONS, fits=wanted)
    names = [name.decode() for name in found.pop("fit")]
    assert names == ["network", *wanted]
    return {
        name: {key: values[0, i] for key, values in found.items()} for i, name in enumerate(names)
    }


def test_every_fit_has_its_row(data):
    wanted = ["initial block random", "initial block zero"]
    rows = fit(data, [*wanted, "trained mean ridge", "limit mean ridge"])
    assert rows["network"]["disagreement"] == 0
    assert rows["initial block zero"]["updates"] == 30
    assert rows["limit mean ridge"]["ridge"] in OPTIONS["ridges"]
    assert np.isnan(rows["limit mean ridge"]["updates"])
    for row in rows.values():
        assert 0 <= row["test_accuracy"] <= 1
    assert rows["limit mean ridge"]["train_accuracy"] > 0.9


def test_scores_of_random_starts_are_averaged(data, monkeypatch):
    each = []

    def score(fit, labels, test_labels, reference):
        each.append([accuracy(one, test_labels) for one in fit.test])
        return classifier_scores(fit, labels, test_labels, reference)

    monkeypatch.setattr(fits, "classifier_scores", score)
    one = replace(digits_networks(), seeds=[1])  # of seed 0, both starts are right equally often
    found = fit(data, ["initial block random", "initial block zero"], one)
    assert [len(starts) for starts in each] == [1, 2, 1]
    assert each[1][0] != each[1][1]
    assert found["initial block random"]["test_accuracy"] == np.mean(each[1])


def test_sampled_kernels_are_averages_over_networks(data):
    one = digits_networks()
    x, _ = data.training_set(**one.where)
    test_x = data.probe(**one.where)
    options = read_options(ClassifierOptions, OPTIONS | {"fits": []})
    make = Kernels(options, one, data, seed=5)
    drawn = draw_parameters(one.network, [1_005_000, 1_005_001])
    blocks = [
        empirical_ntk(one.network, test_x, x, parameters=member(drawn, i)).values for i in range(2)
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
    for kernel, parameters in zip(own, (one.start_weights, one.weights), strict=True):
        expected = empirical_ntk(one.network, x, parameters=parameters, outputs="mean")
        torch.testing.assert_close(kernel, expected.values)


def test_the_script_writes_one_row_a_seed(data, tmp_path):
    entry = {"kind": "kernel_classifiers", "fits": ["sample mean ridge"], **OPTIONS}
    cfg = {
        "task": DIGITS, "network": DIGITS_NETWORK, "training": TRAINING, "experiment": "e",
        "cell": {}, "measurements": [entry], "seeds": [3, 4], "stage": "machines", "modules": [],
    }  # fmt: skip
    trained = digits_networks(2, TRAINING)
    arrays = {
        f"weights/{name}": Array(p.numpy(), ["seed", *map(str, range(p.ndim - 1))])
        for name, p in trained.parameters.items()
    }
    write_file(tmp_path / "train.h5", cfg | {"stage": "train"}, arrays)
    files = {"dataset": str(data.file.path), "networks": str(tmp_path / "train.h5")}
    fit_kernel_machines.main(files, {"measurements": str(tmp_path / "m.h5")}, cfg, "cpu")
    with open_file(tmp_path / "m.h5", "machines") as found:
        accuracies = found.array("kernel_classifiers/test_accuracy").values
    _, _, x, targets = in_float64(data)
    f = list(trained)[1].outputs(x.float())
    assert accuracies.shape == (2, 2)
    assert accuracies[1, 0] == pytest.approx(accuracy(f.T, targets.argmax(1)))


def test_what_is_drawn_depends_on_the_data_set_and_the_seed(data, monkeypatch):
    seeds, make = [], fits.Kernels
    monkeypatch.setattr(fits, "Kernels", lambda *parts: seeds.append(parts[-1]) or make(*parts))
    for one in digits_networks(seeds=2):
        fit(data, ["trained mean ridge"], one)
    assert seeds == [100, 101]  # 100 data_seed + seed


def test_the_limit_network_has_the_functions_of_pytorchs_initialisation():
    changes = {"activation_first": None, "depth": 1}
    network = limit_network(DIGITS_NETWORK | changes, 49, 1)
    x = torch.randn(2, 49, dtype=torch.float64)
    # Wide: biases of variance 1 / (3 fan_in) hardly matter.
    wide = build_network(DIGITS_NETWORK | changes | {"width": 200}, 49, 1)
    drawn = draw_parameters(wide, range(800), dtype=torch.float64)
    f = torch.func.vmap(lambda p: torch.func.functional_call(wide, p, (x,)).squeeze(-1))(drawn)
    covariance = f.T @ f / 800
    torch.testing.assert_close(covariance, limit_kernels(network, x).nngp, rtol=0.25, atol=0.02)


# Convolutional networks


CNN = {
    "kind": "cnn", "depth": 2, "width": 3, "kernel_size": 3, "parameterization": "pytorch"
}  # fmt: skip


def test_the_convolutional_network_is_the_reports():
    network = build_network(CNN | {"width": 20, "kernel_size": 5}, 784, 10)
    assert sum(p.numel() for p in network.parameters()) == 90_550
    shapes = [tuple(p.shape) for p in network.parameters() if p.ndim > 1]
    assert shapes == [(20, 1, 5, 5), (20, 20, 5, 5), (10, 20 * 20 * 20)]


def test_convolutional_machines_run(data):
    network = build_network(CNN, 49, 10)
    start = draw_parameters(network, [0])
    wanted = ["sample block zero", "trained mean ridge", "limit mean ridge"]
    options = OPTIONS | {"fits": wanted, "sample_width": 3}
    one = Members(network, start, start, [0], CNN)
    found = measured("kernel_classifiers", one, data, "machines", **options)
    assert np.isfinite(found["test_accuracy"]).all()


@pytest.mark.parametrize("head", ["flatten", "gap"])
def test_the_limit_reads_flat_inputs_as_images(head):
    network = limit_network(CNN | {"head": head}, 49, 1)
    x = torch.randn(3, 49, dtype=torch.float64)
    images = nn.Sequential(*list(network)[1:])
    torch.testing.assert_close(
        limit_kernels(network, x).ntk, limit_kernels(images, x.reshape(3, 1, 7, 7)).ntk
    )
