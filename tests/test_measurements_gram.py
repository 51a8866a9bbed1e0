"""Gram matrices of ensembles on a small classification task, and how well they classify."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from study_cases import (
    PENALISED,
    in_float64,
    mean_kernel,
    measured,
)
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from ntkflow.networks import draw_parameters, member, mlp
from ntkstudy.subjects.members import Members


def test_gram(networks, data):
    found = measured("gram", networks, data)
    for seed in range(3):
        now, before = (
            mean_kernel(networks.network, member(p, seed), data)
            for p in (networks.parameters, networks.start)
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
        ({"activation": "tanh"}, {"l1": 0.1}),
        ({}, {"optimizer": "adam"}),
    ],
)
def test_shrinkage_is_no_null_model_of_these(options, change, data):
    network, training = mlp(5, (7,), 3, **options), PENALISED | change
    start = draw_parameters(network, [0, 1], dtype=torch.float64)
    after = Members(network, start, start, range(2), training=training, step=6)
    assert np.isnan(measured("gram", after, data)["null_factor"]).all()
    free = replace(after, training=training | {"l1": 0.0, "l2": 0.0})
    np.testing.assert_array_equal(measured("gram", free, data)["null_factor"], 1)


@pytest.mark.parametrize("options", [{"activation": "tanh"}, {"sigma_b": 0.1}])
def test_null_model_of_other_networks_is_that_of_shrunken_weights(options, data):
    network = mlp(5, (7, 6), 3, **options)
    start = draw_parameters(network, [0, 1], dtype=torch.float64)
    found = measured(
        "gram", Members(network, start, start, range(2), training=PENALISED, step=6), data
    )
    for seed in range(2):
        before, shrunken = (
            mean_kernel(network, {name: k * p[seed] for name, p in start.items()}, data)
            for k in (1.0, 0.99**6)
        )
        expected = np.linalg.eigvalsh(shrunken)[-1] / np.linalg.eigvalsh(before)[-1]
        assert found["null_factor"][seed] == pytest.approx(expected)


def test_spectra(networks, data):
    every, top = measured("gram_spectrum", networks, data, eigenvalues=None), 3
    few = measured("gram_top", networks, data, eigenvalues=top)
    rank = measured("gram_rank", networks, data)
    for seed in range(3):
        matrix = mean_kernel(networks.network, member(networks.parameters, seed), data)
        values = np.linalg.eigvalsh(matrix)[::-1]
        np.testing.assert_allclose(every["eigenvalue"][seed], values, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(every["share"][seed].sum(), 1)
        expected = np.cumsum(values) / values.sum()
        np.testing.assert_allclose(every["cumulated"][seed], expected, rtol=1e-9)
        np.testing.assert_allclose(few["eigenvalue"][seed], values[:top], rtol=1e-7)
        np.testing.assert_allclose(few["per_n"][seed], values[:top] / 8, rtol=1e-7)
        assert rank["numerical"][seed] == np.linalg.matrix_rank(matrix)


def test_classification(networks, data):
    found = measured("classification", networks, data)
    x, y, probe, goal = in_float64(data)
    for seed in range(3):
        p = {k: v.clone().requires_grad_() for k, v in member(networks.parameters, seed).items()}
        on_train, on_test = (functional_call(networks.network, p, (z,)) for z in (x, probe))
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
def batch_networks(data):
    network = mlp(5, (7,), 3, normalization="batch", dropout=0.3)
    start = draw_parameters(network, [0, 1, 2], dtype=torch.float64)
    names = {"0.weight": "0.weight", "4.weight": "3.weight"}
    now = {name: 1.1 * p + 0.1 for name, p in start.items()}
    named = {names[name]: p for name, p in now.items()}
    return Members(network, now, start, range(3), training=PENALISED, step=6), named


def test_classification_with_frozen_statistics_and_without_dropout(batch_networks, data):
    networks, named = batch_networks
    found = measured("classification", networks, data)
    x, y, probe, goal = in_float64(data)
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


def test_gram_with_frozen_statistics_and_without_dropout(batch_networks, data):
    networks, named = batch_networks
    found = measured("gram", networks, data)
    x = in_float64(data)[0]
    for seed in range(3):
        p = member(named, seed)
        jacobian = torch.func.jacrev(lambda p: normalised(p, x, x))(p)
        jacobian = torch.cat([each.flatten(2) for each in jacobian.values()], dim=2)
        matrix = torch.einsum("nop,mop->nm", jacobian, jacobian) / 3
        top = torch.linalg.eigvalsh(matrix)[-1].item()
        np.testing.assert_allclose(found["lambda_max"][seed], top, rtol=1e-10)
        np.testing.assert_allclose(found["trace"][seed], matrix.trace().item(), rtol=1e-10)
    # Weights before a normalisation do not set the kernel's size.
    np.testing.assert_allclose(found["null_factor"], 1, atol=1e-4)


@pytest.mark.parametrize("kind", ["gram", "gram_spectrum", "classification"])
def test_a_diverged_network_harms_nobody(networks, data, kind):
    options = {"eigenvalues": None} if kind == "gram_spectrum" else {}
    sound = measured(kind, networks, data, **options)
    broken = {name: p.clone() for name, p in networks.parameters.items()}
    for p in broken.values():
        p[1] = torch.nan
    found = measured(kind, networks.at(6, broken), data, **options)
    for name in set(found) - {"rank", "null_factor"}:
        assert np.isnan(found[name][1]).all(), name
        np.testing.assert_array_equal(found[name][[0, 2]], sound[name][[0, 2]])
