"""Measurements of networks on the circle, of their limit and of its training."""

import numpy as np
import pytest
import torch
from study_cases import in_float64, made_data, measured, task_data
from torch import nn

from ntkflow.empirical import empirical_ntk
from ntkflow.limits import circle_eigenvalues, limit_kernels
from ntkflow.networks import draw_parameters, member
from ntkstudy.data.storage import Array
from ntkstudy.subjects.limit import Limit, Prediction
from ntkstudy.subjects.measuring import measure
from ntkstudy.subjects.members import Members
from ntkstudy.subjects.networks import build_network

TASK = {"kind": "circle_product", "train_points": 6, "probe_points": 12, "noise": 0.1}
NETWORK = {"kind": "mlp", "depth": 1, "width": 16, "sigma_b": 0.1}
TRAINING = {
    "loss": "mse", "optimizer": "sgd", "learning_rate": 0.1, "steps": 40, "centred": False,
    "output_scale": 2.0, "snapshots": 4, "spacing": "linear",
}  # fmt: skip


@pytest.fixture
def data(tmp_path):
    with task_data(tmp_path, TASK) as data:
        yield data


@pytest.fixture
def network():
    return build_network(NETWORK, 2, 1)


@pytest.fixture
def one(network):
    now, start = (draw_parameters(network, [seed], dtype=torch.float64) for seed in (0, 1))
    return Members(network, now, start, [0], NETWORK, TRAINING)


def test_functions_and_their_modes(network, one, data):
    _, _, probe, target = in_float64(data)
    training = TRAINING | {"centred": True}
    centred = Members(network, one.parameters, one.start, [0], NETWORK, training)
    f = measured("function", centred, data)["f"][0, :, 0]
    np.testing.assert_allclose(f, centred.outputs(probe)[:, 0].numpy())
    modes = measured("modes", centred, data, max_mode=6)
    assert modes["amplitude"][0, 0] == pytest.approx(abs(f.mean()))
    residual = f - target[:, 0].numpy()
    assert modes["residual"][0, 0] == pytest.approx(abs(residual.mean()))
    assert modes["target"].shape == (1, 7)
    assert modes["target"][0, 2] == pytest.approx(0.5)


def test_kernel_numbers_are_those_of_the_gram_matrix(network, one, data):
    x, y, *_ = in_float64(data)
    gram, before = (
        empirical_ntk(network, x, parameters=p, outputs="trace").values.numpy()
        for p in (one.weights, one.start_weights)
    )
    found = {name: values.item() for name, values in measured("kernel", one, data).items()}
    values, y = np.linalg.eigvalsh(gram), y.numpy()
    top, shares = values[-1] / 6, values / values.sum()
    assert found["lambda_max"] == pytest.approx(top)
    assert np.log(found["effective_rank"]) == pytest.approx(-(shares @ np.log(shares)))
    assert found["sharpness"] == pytest.approx(0.2 * top)
    assert found["trace"] == pytest.approx(np.trace(gram) / 6)
    assert found["drift"] == pytest.approx(np.linalg.norm(gram - before) / np.linalg.norm(before))
    overlap = (y.T @ gram @ y).item()
    assert found["alignment"] == pytest.approx(overlap / (np.linalg.norm(gram) * (y**2).sum()))


@pytest.mark.parametrize("change", [{"loss": "cross_entropy"}, {"optimizer": "adam"}])
def test_sharpness_is_of_plain_descent_on_the_squared_error(network, one, data, change):
    other = Members(network, one.parameters, one.start, [0], NETWORK, TRAINING | change)
    assert np.isnan(measured("kernel", other, data)["sharpness"]).all()


def test_kernels_of_several_outputs_are_means_like_the_limit(data):
    network = build_network(NETWORK | {"width": 2000}, 2, 3)
    drawn = draw_parameters(network, [0], dtype=torch.float64)
    entries = [{"kind": "profile", "anchor_angle": 0.0}, {"kind": "kernel"}]
    found = measure(entries, "initialization", Members(network, drawn, drawn, [0]), data)
    limit = measure(entries, "limit", Limit(network, "cpu"), data)
    for name in ("profile/theta", "kernel/trace"):
        np.testing.assert_allclose(found[name].values[0], limit[name].values, rtol=0.25, atol=0.05)


def test_leading_eigenvalues_are_divided_by_the_number_of_inputs(tmp_path):
    x = np.diag([1.0, 8.0, 2.0, 4.0]) ** 0.5  # K = x x' of a linear network
    arrays = {
        "train/x": Array(x, ["sample", "coordinate"]),
        "train/y": Array(x[:, :1], ["sample", "output"]),
        "probe/x": Array(x, ["row", "coordinate"]),
    }
    drawn = {"weight": torch.ones(1, 1, 4, dtype=torch.float64)}
    linear = Members(nn.Linear(4, 1, bias=False, device="meta"), drawn, drawn, [0])
    with made_data(tmp_path, arrays) as data:
        found = measured("spectrum", linear, data, eigenvalues=3)
        assert found["rank"].tolist() == [1, 2, 3]
        assert found["eigenvalue"][0] == pytest.approx([2.0, 1.0, 0.5])
        every = measured("spectrum", linear, data, eigenvalues=10)["eigenvalue"]
        assert every.shape == (1, 4)


def test_movement_is_the_distance_of_all_weights(one, data):
    now, start = one.weights, one.start_weights
    moved = torch.cat([(now[k] - start[k]).flatten() for k in now]).norm().item()
    size = torch.cat([start[k].flatten() for k in start]).norm().item()
    found = measured("movement", one, data)
    assert found["distance"] == pytest.approx([moved])
    assert found["relative"] == pytest.approx([moved / size])


def test_movement_of_every_network(network, data):
    now, start = (draw_parameters(network, seeds) for seeds in ([0, 1, 2], [3, 4, 5]))
    together = measured("movement", Members(network, now, start, range(3), {}, TRAINING), data)
    for index in range(3):
        of_one = [{k: p[index : index + 1] for k, p in each.items()} for each in (now, start)]
        alone = measured("movement", Members(network, *of_one, [index], {}, TRAINING), data)
        for name, values in together.items():
            np.testing.assert_allclose(values[index], alone[name][0], rtol=1e-12)


def test_a_diverged_network_gives_nan(network, one, data):
    lost = {name: torch.full_like(p, torch.nan) for name, p in one.parameters.items()}
    diverged = Members(network, lost, one.start, [0], NETWORK, TRAINING)
    assert np.isnan(measured("function", diverged, data)["f"]).all()
    kernel = measured("kernel", diverged, data)
    assert all(np.isnan(kernel[name]).all() for name in ("drift", "lambda_max", "effective_rank"))
    assert np.isnan(measured("movement", diverged, data)["distance"]).all()
    assert np.isnan(measured("spectrum", diverged, data)["eigenvalue"]).all()


def test_limit_measurements(network, data):
    limit = Limit(network, "cpu")
    gram = limit_kernels(network, in_float64(data)[0]).ntk
    values = torch.linalg.eigvalsh(gram).flip(0).numpy()
    kernel, shares = measured("kernel", limit, data, "limit"), values / values.sum()
    assert kernel["lambda_max"] == pytest.approx(values[0] / 6)
    assert np.log(kernel["effective_rank"]) == pytest.approx(-(shares @ np.log(shares)))
    spectrum = measured("spectrum", limit, data, "limit", eigenvalues=3)["eigenvalue"]
    np.testing.assert_allclose(spectrum, values[:3] / 6, rtol=1e-9)
    expected = circle_eigenvalues(network, range(4)).numpy()
    found = measured("circle_spectrum", limit, data, "limit", max_mode=3)["eigenvalue"]
    np.testing.assert_allclose(found, expected)


def test_limit_gram_is_not_divided(network, data):
    matrix = limit_kernels(network, in_float64(data)[0]).ntk.numpy()
    top = np.linalg.eigvalsh(matrix)[-1]
    found = measured("gram", Limit(network, "cpu"), data, "limit")
    expected = {
        "lambda_max": top, "lambda_max_per_n": top / 6, "trace": matrix.trace(),
        "trace_per_n": matrix.trace() / 6, "share": top / matrix.trace(),
    }  # fmt: skip
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-9)


def test_predictions_follow_gradient_descent_on_the_kernel(network, data):
    prediction = Prediction.prepare(network, data, TRAINING, "cpu")
    assert prediction.steps.tolist() == [0, 10, 20, 30, 40]
    found = measured("function", prediction, data, "prediction", ridge=1e-6)
    x, y, probe, _ = in_float64(data)
    gram, cross = limit_kernels(network, x).ntk, limit_kernels(network, probe, x).ntk
    f, g = torch.zeros(6, 1).double(), torch.zeros(12, 1).double()
    for _ in range(40):
        residual = 0.2 / 6 * (f - y)
        f, g = f - gram @ residual, g - cross @ residual
    np.testing.assert_allclose(found["mean"][-1], g[:, 0].numpy(), atol=1e-12)
    start = 2 * limit_kernels(network, probe).nngp.diagonal().sqrt()
    np.testing.assert_allclose(found["deviation"][0], start.numpy())
    ridge = cross @ torch.linalg.solve(gram + 1e-6 * torch.eye(6), y)
    np.testing.assert_allclose(found["ridge"], ridge[:, 0].numpy(), rtol=1e-6)
    modes = measured("modes", prediction, data, "prediction", max_mode=3)
    assert modes["amplitude"].shape == (5, 4)
    assert measured("movement", prediction, data, "prediction")["distance"][0] == 0
    centred = Prediction.prepare(network, data, TRAINING | {"centred": True}, "cpu")
    assert not centred.deviation.any()


def test_one_step_changes_the_kernel_at_a_point(data):
    network = build_network(NETWORK | {"depth": 2, "width": 8}, 2, 1)
    drawn = draw_parameters(network, [0, 1], dtype=torch.float64)
    options = {"anchor_angle": 0.5, "target": 1.0, "learning_rate": 0.1}
    networks = Members(network, drawn, drawn, [0, 1])
    found = measured("diagonal_kernel", networks, data, "initialization", **options)
    x = torch.tensor([[np.cos(0.5), np.sin(0.5)]])
    for seed in range(2):
        weights = {k: p.clone().requires_grad_() for k, p in member(drawn, seed).items()}
        before = empirical_ntk(network, x, parameters=weights).values.item()
        loss = (torch.func.functional_call(network, weights, (x,)).squeeze() - 1) ** 2
        loss.backward()
        stepped = {name: (p - 0.1 * p.grad).detach() for name, p in weights.items()}
        after = empirical_ntk(network, x, parameters=stepped).values.item()
        assert found["full"][seed] == pytest.approx(before, rel=1e-10)
        assert found["change"][seed] == pytest.approx(after - before, rel=1e-8)
        assert abs(found["change"][seed]) > 1e-3
    assert found["limit"] == pytest.approx([limit_kernels(network, x).ntk.item()] * 2)
    assert found["beta"] == pytest.approx([2 / 8] * 2)
    assert found["printed"] == pytest.approx([3 * (0.5 + 0.5)] * 2)
