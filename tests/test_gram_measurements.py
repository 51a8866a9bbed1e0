"""Measurements of ensembles on a small classification task."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from ntkflow.empirical import empirical_ntk
from ntkflow.networks import draw_parameters, member, mlp
from ntkflow.training import train_ensemble
from ntkstudy.data.storage import Array, open_file, write_file
from ntkstudy.measurements.ensembles import measure_ensemble
from ntkstudy.measurements.mechanisms import softmax_weighted
from ntkstudy.measurements.members import Ensemble

TRAINING = {"learning_rate": 0.5, "steps": 6, "l2": 0.01, "l1": 0.0, "decay": "coupled"}


@pytest.fixture
def data(tmp_path):
    g = np.random.default_rng(0)
    labels = np.eye(3)[g.integers(0, 3, 14)]
    arrays = {
        "train/x": Array(g.standard_normal((8, 5)), ["sample", "coordinate"]),
        "train/y": Array(labels[:8], ["sample", "output"]),
        "probe/x": Array(g.standard_normal((6, 5)), ["image", "coordinate"]),
        "probe/y": Array(labels[8:], ["image", "output"]),
    }
    cfg = {"stage": "dataset", "experiment": "e", "cell": {}}
    write_file(tmp_path / "d.h5", cfg, arrays)
    with open_file(tmp_path / "d.h5", "dataset") as file:
        yield file


@pytest.fixture
def ensemble(data):
    network = mlp(5, (7,), 3)
    start = draw_parameters(network, [0, 1, 2], dtype=torch.float64)
    x, y = (torch.as_tensor(data.array(f"train/{name}").values) for name in "xy")
    options = TRAINING | {"loss": "cross_entropy"}
    trained = train_ensemble(network, start, x, y, **options).parameters
    return Ensemble(network, start, start, TRAINING).at(6, trained)


def measure(ensemble, data, kind, **options):
    arrays = measure_ensemble([{"kind": kind, **options}], ensemble, data)
    return {name.split("/")[1]: array.values for name, array in arrays.items()}


def kernel(ensemble, data, parameters):
    x = torch.as_tensor(data.array("train/x").values)
    found = empirical_ntk(ensemble.network, x, parameters=parameters, outputs="mean")
    return found.values.numpy()


def test_gram(ensemble, data):
    found = measure(ensemble, data, "gram")
    for seed in range(3):
        now, before = (
            kernel(ensemble, data, member(p, seed)) for p in (ensemble.parameters, ensemble.start)
        )
        top = np.linalg.eigvalsh(now)[-1]
        expected = {
            "lambda_max": top, "lambda_max_per_n": top / 8, "trace": now.trace(),
            "trace_per_n": now.trace() / 8, "share": top / now.trace(),
            "drift": np.linalg.norm(now - before) / np.linalg.norm(before),
            "null_factor": 0.99**12, "over_null": top / 0.99**12,
        }  # fmt: skip
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(found[name][seed], value, rtol=1e-9, err_msg=name)


@pytest.mark.parametrize(
    ("options", "change"),
    [
        ({"activation": "tanh"}, {}),
        ({"sigma_b": 0.1}, {}),
        ({}, {"optimizer": "adam"}),
    ],
)
def test_shrinkage_is_no_null_model_of_these(options, change, data):
    network = mlp(5, (7,), 3, **options)
    start = draw_parameters(network, [0, 1], dtype=torch.float64)
    after = Ensemble(network, start, start, TRAINING | change).at(6, start)
    assert np.isnan(measure(after, data, "gram")["null_factor"]).all()
    free = Ensemble(network, start, start, TRAINING | change | {"l2": 0.0}).at(6, start)
    np.testing.assert_array_equal(measure(free, data, "gram")["null_factor"], 1)


def test_spectra(ensemble, data):
    every, top = measure(ensemble, data, "gram_spectrum", eigenvalues=None), 3
    few = measure(ensemble, data, "gram_top", eigenvalues=top)
    rank = measure(ensemble, data, "gram_rank")
    for seed in range(3):
        matrix = kernel(ensemble, data, member(ensemble.parameters, seed))
        values = np.linalg.eigvalsh(matrix)[::-1]
        np.testing.assert_allclose(every["eigenvalue"][seed], values, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(every["share"][seed].sum(), 1)
        np.testing.assert_allclose(few["eigenvalue"][seed], values[:top], rtol=1e-7)
        np.testing.assert_allclose(few["per_n"][seed], values[:top] / 8, rtol=1e-7)
        assert rank["numerical"][seed] == np.linalg.matrix_rank(matrix)


def test_classification(ensemble, data):
    found = measure(ensemble, data, "classification")
    x, y, probe, goal = (
        torch.as_tensor(data.array(name).values)
        for name in ("train/x", "train/y", "probe/x", "probe/y")
    )
    for seed in range(3):
        p = {k: v.clone().requires_grad_() for k, v in member(ensemble.parameters, seed).items()}
        on_train, on_test = (functional_call(ensemble.network, p, (z,)) for z in (x, probe))
        loss = cross_entropy(on_train, y.argmax(1))
        rate = sum(g.square().sum() for g in torch.autograd.grad(loss, list(p.values())))
        expected = {
            "train_loss": loss, "test_loss": cross_entropy(on_test, goal.argmax(1)),
            "train_accuracy": (on_train.argmax(1) == y.argmax(1)).double().mean(),
            "test_accuracy": (on_test.argmax(1) == goal.argmax(1)).double().mean(),
            "rate": rate,
        }  # fmt: skip
        for name, value in expected.items():
            np.testing.assert_allclose(found[name][seed], value.item(), rtol=1e-10, err_msg=name)


def normalised(parameters, x, train_x, *, detach=True):
    """Batch normalisation with the statistics of the training set, by hand."""
    h, train = (inputs @ parameters["0.weight"].T / 5**0.5 for inputs in (x, train_x))
    train = train.detach() if detach else train
    h = (h - train.mean(0)) / (train.var(0, correction=0) + 1e-5).sqrt()
    return torch.relu(h) @ parameters["3.weight"].T / 7**0.5


@pytest.fixture
def batch_ensemble(data):
    network = mlp(5, (7,), 3, normalization="batch", dropout=0.3)
    start = draw_parameters(network, [0, 1, 2], dtype=torch.float64)
    names = {"0.weight": "0.weight", "4.weight": "3.weight"}
    now = {name: 1.1 * p + 0.1 for name, p in start.items()}
    named = {names[name]: p for name, p in now.items()}
    return Ensemble(network, start, start, TRAINING).at(6, now), named


def test_classification_with_frozen_statistics_and_without_dropout(batch_ensemble, data):
    ensemble, named = batch_ensemble
    found = measure(ensemble, data, "classification")
    x, y, probe, goal = (
        torch.as_tensor(data.array(name).values)
        for name in ("train/x", "train/y", "probe/x", "probe/y")
    )
    for seed in range(3):
        p = {k: v.clone().requires_grad_() for k, v in member(named, seed).items()}
        loss = cross_entropy(normalised(p, x, x), y.argmax(1))
        rate = sum(g.square().sum() for g in torch.autograd.grad(loss, list(p.values())))
        test_loss = cross_entropy(normalised(p, probe, x), goal.argmax(1))
        for name, value in {"train_loss": loss, "test_loss": test_loss, "rate": rate}.items():
            np.testing.assert_allclose(found[name][seed], value.item(), rtol=1e-10, err_msg=name)
        full = cross_entropy(normalised(p, x, x, detach=False), y.argmax(1))
        other = sum(g.square().sum() for g in torch.autograd.grad(full, list(p.values())))
        assert abs(found["rate"][seed] / other.item() - 1) > 0.01


def test_gram_with_frozen_statistics_and_without_dropout(batch_ensemble, data):
    ensemble, named = batch_ensemble
    found = measure(ensemble, data, "gram")
    x = torch.as_tensor(data.array("train/x").values)
    for seed in range(3):
        p = member(named, seed)
        jacobian = torch.func.jacrev(lambda p: normalised(p, x, x))(p)
        jacobian = torch.cat([each.flatten(2) for each in jacobian.values()], dim=2)
        matrix = torch.einsum("nop,mop->nm", jacobian, jacobian) / 3
        top = torch.linalg.eigvalsh(matrix)[-1].item()
        np.testing.assert_allclose(found["lambda_max"][seed], top, rtol=1e-10)
        np.testing.assert_allclose(found["trace"][seed], matrix.trace().item(), rtol=1e-10)
    # Weights before a normalisation do not set the kernel's size: shrinkage is no null model.
    assert np.isnan(found["null_factor"]).all()


@pytest.mark.parametrize("kind", ["gram", "gram_spectrum", "classification"])
def test_a_diverged_network_harms_nobody(ensemble, data, kind):
    options = {"eigenvalues": None} if kind == "gram_spectrum" else {}
    sound = measure(ensemble, data, kind, **options)
    broken = {name: p.clone() for name, p in ensemble.parameters.items()}
    for p in broken.values():
        p[1] = torch.nan
    found = measure(ensemble.at(6, broken), data, kind, **options)
    for name in set(found) - {"rank", "null_factor"}:
        assert np.isnan(found[name][1]).all(), name
        np.testing.assert_array_equal(found[name][[0, 2]], sound[name][[0, 2]])


def test_softmax_weighted_kernel_has_the_eigenvalues_of_the_gauss_newton_matrix(data):
    network = mlp(5, (4,), 3, dtype=torch.float64)
    p, x = member(draw_parameters(network, [0]), 0), torch.as_tensor(data.array("train/x").values)
    jacobians = torch.func.jacrev(lambda p: functional_call(network, p, (x,)))(p)
    jacobian = torch.cat([each.flatten(2) for each in jacobians.values()], dim=2)
    softmax = functional_call(network, p, (x,)).softmax(-1)
    weight = torch.diag_embed(softmax) - softmax[:, :, None] * softmax[:, None, :]
    gauss_newton = torch.einsum("nop,noq,nqr->pr", jacobian, weight, jacobian)
    block = empirical_ntk(network, x, parameters=p, outputs="block").values
    found = torch.linalg.eigvalsh(softmax_weighted(block, softmax))
    expected = torch.linalg.eigvalsh(gauss_newton)
    torch.testing.assert_close(found[-5:], expected[-5:], rtol=1e-10, atol=1e-12)


def test_steps_above_the_stable_one_raise_the_loss(ensemble, data):
    options = dict(factors=[0.95, 1.1, 4.5], steps=60, output_scale=1e4)
    found = measure(ensemble, data, "stability", **options)
    # The softmax of three equal outputs weights the kernel by 1/3, and training bends networks.
    grows = {
        "mse": [False, True, True], "cross_entropy": [False, True, True],
        "unweighted": [False, False, True], "network": [False, False, True],
    }  # fmt: skip
    for case, expected in grows.items():
        for growth in found[case]:
            assert (growth > 100).tolist() == expected, case
            np.testing.assert_array_equal(growth[~np.array(expected)], 1, err_msg=case)


def test_permuted_eigenvectors_begin_at_the_same_loss(ensemble, data):
    found = measure(ensemble, data, "permuted_eigenvectors", steps=[0, 1, 50])
    np.testing.assert_allclose(found["ratio"][:, 0], 1, rtol=1e-10)
    assert (np.abs(found["ratio"][:, 1:] - 1) > 1e-3).all()
    matrix = torch.as_tensor(kernel(ensemble, data, member(ensemble.parameters, 1)))
    x, y = (torch.as_tensor(data.array(f"train/{name}").values) for name in "xy")
    residual = functional_call(ensemble.network, member(ensemble.parameters, 1), (x,)) - y
    step = torch.eye(8) - matrix / torch.linalg.eigvalsh(matrix)[-1]
    left = torch.linalg.matrix_power(step, 50) @ residual
    np.testing.assert_allclose(found["loss"][1, 2], left.square().sum().item() / 8, rtol=1e-9)


def test_residual_modes(ensemble, data):
    at_start = measure(ensemble.at(0, ensemble.start), data, "residual_modes", eigenvectors=4)
    np.testing.assert_allclose(at_start["left"], 1)
    np.testing.assert_allclose(at_start["expected"], 1)
    later = measure(ensemble, data, "residual_modes", eigenvectors=4)
    rate = 2 * 0.5 / 8 * later["eigenvalue"]
    np.testing.assert_allclose(later["expected"], (1 - rate) ** 12)
    expected = [
        spearmanr(*pair).statistic for pair in zip(later["eigenvalue"], -later["left"], strict=True)
    ]
    np.testing.assert_allclose(later["order"], expected)


def test_order_of_a_diverged_network_is_unknown(ensemble, data):
    lost = {name: p.clone() for name, p in ensemble.parameters.items()}
    for p in lost.values():
        p[1] = torch.nan
    found = measure(ensemble.at(12, lost), data, "residual_modes", eigenvectors=4)["order"]
    assert np.isnan(found).tolist() == [False, True, False]


def test_cost_compares_the_two_ways(ensemble, data, monkeypatch):
    costs = {2: (2.0, 100.0), 8: (6.0, 400.0)}  # by the number of eigenvalues

    def measured(call):
        values = call()
        return values, *costs[len(values)]

    monkeypatch.setattr("ntkstudy.measurements.spectrum_cost.measure_cost", measured)
    found = measure(ensemble, data, "spectrum_cost", eigenvalues=2)
    expected = {
        "seconds": 6, "free_seconds": 2, "bytes": 400, "free_bytes": 100, "speedup": 3,
        "memory_ratio": 0.25,
    }  # fmt: skip
    assert found.keys() == {*expected, "error"}
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], [value] * 3, err_msg=name)
    assert (found["error"] < 1e-6).all()
