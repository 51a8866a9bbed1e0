import numpy as np
import pytest
import torch
from ntkstudy.measurements.limits import measure_limit
from ntkstudy.measurements.networks import Member, measure, stack_measurements
from ntkstudy.measurements.predictions import Prediction, measure_prediction
from torch.func import functional_call

from ntkflow.empirical import empirical_ntk
from ntkflow.limits import circle_eigenvalues, limit_kernels
from ntkflow.networks import draw_parameters, member
from ntkstudy.data.storage import open_file
from ntkstudy.networks import build_network

TASK = {
    "kind": "circle_product", "train_points": 6, "probe_points": 12, "data_seed": 0, "noise": 0.1
}  # fmt: skip
NETWORK = {
    "kind": "mlp", "depth": 1, "width": 16, "activation": "relu",
    "sigma_w": 1.0, "sigma_w_last": None, "sigma_b": 0.1, "bias": "normal",
    "parameterization": "ntk",
}  # fmt: skip
TRAINING = {
    "loss": "mse", "learning_rate": 0.1, "steps": 40, "centred": False, "output_scale": 2.0,
    "snapshots": 4, "spacing": "linear",
}  # fmt: skip


@pytest.fixture
def data(tmp_path):
    import make_dataset

    cfg = {"stage": "dataset", "experiment": "e", "cell": {}, "task": TASK}
    make_dataset.main({}, {"dataset": str(tmp_path / "d.h5")}, cfg)
    with open_file(tmp_path / "d.h5", "dataset") as file:
        yield file


@pytest.fixture
def network():
    return build_network(NETWORK, 2, 1)


@pytest.fixture
def members(network):
    drawn = draw_parameters(network, [0, 1], dtype=torch.float64)
    return member(drawn, 0), member(drawn, 1)


def tensor(data, name):
    return torch.as_tensor(data.array(name).values)


def test_outputs_are_scaled_and_centred(network, members, data):
    now, start = members
    x = tensor(data, "probe/x")
    h, h0 = functional_call(network, now, (x,)), functional_call(network, start, (x,))
    plain = Member(network, now, start, TRAINING)
    centred = Member(network, now, start, TRAINING | {"centred": True})
    torch.testing.assert_close(plain.outputs(x), 2 * h)
    torch.testing.assert_close(centred.outputs(x), 2 * (h - h0))
    entries = [{"kind": "function"}, {"kind": "modes", "max_mode": 6}]
    arrays = measure(entries, centred, data)
    f = arrays["function/f"].values[:, 0]
    np.testing.assert_allclose(f, centred.outputs(x)[:, 0].numpy())
    assert arrays["modes/amplitude"].values[0] == pytest.approx(abs(f.mean()))
    target = data.array("probe/y").values[:, 0]
    assert arrays["modes/residual"].values[0] == pytest.approx(abs((f - target).mean()))
    assert arrays["modes/target"].values[2] == pytest.approx(0.5)


def test_kernel_numbers_are_those_of_the_gram_matrix(network, members, data):
    now, start = members
    x = tensor(data, "train/x")
    gram = empirical_ntk(network, x, parameters=now, outputs="trace").values.numpy()
    before = empirical_ntk(network, x, parameters=start, outputs="trace").values.numpy()
    arrays = measure([{"kind": "kernel"}], Member(network, now, start, TRAINING), data)
    numbers = {name.split("/")[1]: float(array.values) for name, array in arrays.items()}
    top = np.linalg.eigvalsh(gram)[-1] / 6
    y = data.array("train/y").values
    assert numbers["lambda_max"] == pytest.approx(top)
    assert numbers["sharpness"] == pytest.approx(0.2 * top)
    assert numbers["trace"] == pytest.approx(np.trace(gram) / 6)
    assert numbers["drift"] == pytest.approx(np.linalg.norm(gram - before) / np.linalg.norm(before))
    assert numbers["alignment"] == pytest.approx(
        (y.T @ gram @ y).item() / (np.linalg.norm(gram) * (y**2).sum())
    )


def test_kernels_of_several_outputs_are_means_like_the_limit(data):
    network = build_network(NETWORK | {"width": 2000}, 2, 3)
    drawn = member(draw_parameters(network, [0], dtype=torch.float64), 0)
    entries = [{"kind": "profile", "anchor_angle": 0.0}, {"kind": "kernel"}]
    found = measure(entries, Member(network, drawn, drawn, {}), data)
    limit = measure_limit(entries, network, data, "cpu")
    for name in ("profile/theta", "kernel/trace"):
        np.testing.assert_allclose(found[name].values, limit[name].values, rtol=0.25, atol=0.05)


def test_movement_is_the_distance_of_all_weights(network, members, data):
    now, start = members
    moved = torch.cat([(now[k] - start[k]).flatten() for k in now]).norm().item()
    size = torch.cat([start[k].flatten() for k in start]).norm().item()
    arrays = measure([{"kind": "movement"}], Member(network, now, start, TRAINING), data)
    assert float(arrays["movement/distance"].values) == pytest.approx(moved)
    assert float(arrays["movement/relative"].values) == pytest.approx(moved / size)


def test_a_diverged_network_gives_nan(network, members, data):
    lost = {name: torch.full_like(p, torch.nan) for name, p in members[0].items()}
    entries = [{"kind": kind} for kind in ("function", "kernel", "movement")]
    arrays = measure(entries, Member(network, lost, members[1], TRAINING), data)
    assert np.isnan(arrays["function/f"].values).all()
    assert np.isnan(arrays["kernel/drift"].values)
    assert np.isnan(arrays["movement/distance"].values)


def test_stacking_keeps_coordinates_once(network, members, data):
    each = [measure([{"kind": "function"}], Member(network, m, m, {}), data) for m in members]
    stacked = stack_measurements(each, "seed")
    assert stacked["function/f"].values.shape == (2, 12, 1)
    assert stacked["function/f"].dims == ["seed", "gamma", "output"]
    assert stacked["function/gamma"].values.shape == (12,)


def test_limit_measurements(network, data):
    entries = [{"kind": "kernel"}, {"kind": "circle_spectrum", "max_mode": 3}]
    arrays = measure_limit(entries, network, data, "cpu")
    gram = limit_kernels(network, tensor(data, "train/x")).ntk
    top = torch.linalg.eigvalsh(gram)[-1].item() / 6
    assert float(arrays["kernel/lambda_max"].values) == pytest.approx(top)
    expected = circle_eigenvalues(network, range(4)).numpy()
    np.testing.assert_allclose(arrays["circle_spectrum/eigenvalue"].values, expected)


def test_predictions_follow_gradient_descent_on_the_kernel(network, data):
    prediction = Prediction.prepare(network, data, TRAINING, "cpu")
    entries = [{"kind": "function", "ridge": 1e-6}, {"kind": "modes", "max_mode": 3}]
    arrays = measure_prediction([*entries, {"kind": "movement"}], prediction, data)
    assert arrays["function/step"].values.tolist() == [0, 10, 20, 30, 40]
    x, y, probe = (tensor(data, name) for name in ("train/x", "train/y", "probe/x"))
    gram, cross = limit_kernels(network, x).ntk, limit_kernels(network, probe, x).ntk
    f, g = torch.zeros(6, 1).double(), torch.zeros(12, 1).double()
    for _ in range(40):
        residual = 0.2 / 6 * (f - y)
        f, g = f - gram @ residual, g - cross @ residual
    np.testing.assert_allclose(arrays["function/mean"].values[-1], g[:, 0].numpy(), atol=1e-12)
    start = 2 * limit_kernels(network, probe).nngp.diagonal().sqrt()
    np.testing.assert_allclose(arrays["function/deviation"].values[0], start.numpy())
    ridge = cross @ torch.linalg.solve(gram + 1e-6 * torch.eye(6), y)
    np.testing.assert_allclose(arrays["function/ridge"].values, ridge[:, 0].numpy(), rtol=1e-6)
    assert arrays["modes/amplitude"].values.shape == (5, 4)
    assert arrays["movement/distance"].values[0] == 0
    centred = Prediction.prepare(network, data, TRAINING | {"centred": True}, "cpu")
    assert not centred.deviation.any()
