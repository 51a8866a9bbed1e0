from dataclasses import replace

import numpy as np
import pytest
import torch
from descents import descent
from study_cases import in_float64, measured, task_data
from torch.func import functional_call

from ntkflow.dynamics import LinearizedTraining
from ntkflow.empirical import empirical_ntk
from ntkflow.lazy import kappa
from ntkflow.networks import draw_parameters, mlp
from ntkflow.training import Objective, train_ensemble
from ntkstudy.subjects.measuring import measure
from ntkstudy.subjects.members import Members

TASK = {
    "kind": "line_points", "inputs": [-1.0, 0.5, 2.0], "targets": [1.0, -1.0, 0.5],
    "probe_points": 5, "probe_range": [-2.0, 2.0],
}  # fmt: skip
SCALING = {"output_scale": 20.0, "centred": True}
TRAINING = {"learning_rate": 0.02} | SCALING
STEPS = 30


@pytest.fixture
def data(tmp_path):
    with task_data(tmp_path, TASK) as data:
        yield data


def train(network, seeds, data):
    start = draw_parameters(network, seeds, dtype=torch.float64)
    x, y, *_ = in_float64(data)
    how = descent(0.02, STEPS) | {"objective": Objective(**SCALING)}
    end = train_ensemble(network, start, x, y, **how).parameters
    return Members(network, start, start, seeds, training=TRAINING).at(STEPS, end)


@pytest.fixture
def trained(data):
    network = mlp(1, [6, 6], parameterization="pytorch", activation="tanh")
    return train(network, [0], data)


def test_distance_from_the_linearisation(trained, data):
    x, y, probe, _ = in_float64(data)
    found = measured("linearized", trained, data)
    linear = LinearizedTraining(trained.network, x, y, parameters=trained.start_weights, **TRAINING)
    gap = trained.outputs(x) - linear.train_outputs(STEPS)
    expected = (gap.norm() / y.norm()).item()
    assert found["train_gap"] == pytest.approx([expected])
    assert 0 < expected < 0.1
    gap = (trained.outputs(probe) - linear.outputs(probe, STEPS)).abs().max().item()
    assert found["probe_gap"] == pytest.approx([gap])
    assert np.isnan(found["test_error"]).all()


def test_what_is_kept_between_snapshots_belongs_to_its_seed(data):
    network = mlp(1, [6], parameterization="pytorch", activation="tanh")
    both = train(network, [0, 1], data)
    entries = [{"kind": "linearized"}, {"kind": "mode_decay"}, {"kind": "kernel"}]
    for now in (both.before, both):
        found = measure(entries, "training", now, data)
        for index, one in enumerate(now):
            fresh = replace(one, kept={})
            for name, array in measure(entries, "training", fresh, data).items():
                np.testing.assert_allclose(found[name].values[index], array.values[0], rtol=1e-12)


def test_residuals_along_the_eigenvectors(trained, data):
    x, y, *_ = in_float64(data)
    found = measured("mode_decay", trained, data)
    residual = (y - trained.outputs(x)).detach()
    assert np.linalg.norm(found["projection"]) == pytest.approx(residual.norm().item())
    gram = empirical_ntk(trained.network, x, parameters=trained.start_weights).values[0, 0]
    expected = torch.linalg.eigvalsh(gram / 3).flip(0)
    np.testing.assert_allclose(found["eigenvalue"][0], expected, rtol=1e-8)


def test_kappa_is_that_of_the_library(trained, data):
    x, y, *_ = in_float64(data)
    limits = {"tolerance": 1e-6, "max_iterations": 100}
    found = measured("kappa", trained, data, **limits)
    scaling = dict(output_scale=20.0, centred=True)
    expected = kappa(trained.network, x, y, parameters=trained.weights, **scaling, tolerance=1e-6)
    assert found["kappa"] == pytest.approx([expected.kappa], rel=1e-4)


def test_ellipse_is_the_kernel_of_two_points(trained, data):
    x, *_ = in_float64(data)
    found = {name: values[0] for name, values in measured("ellipse", trained, data).items()}
    u = np.array([np.cos(found["angle"]), np.sin(found["angle"])])
    v = np.array([-u[1], u[0]])
    gram = empirical_ntk(trained.network, x[:2], parameters=trained.weights).values[0, 0].numpy()
    ellipse = found["lambda_1"] * np.outer(u, u) + found["lambda_2"] * np.outer(v, v)
    np.testing.assert_allclose(ellipse, gram, rtol=1e-8)
    assert found["f_1"] == pytest.approx(trained.outputs(x)[1].item())


def test_doubled_weights_change_by_their_own_size(data):
    network = mlp(1, [6, 6], sigma_b=0.0)  # the kernel is homogeneous of degree 4 in the weights
    start = draw_parameters(network, [0, 1], dtype=torch.float64)
    members = Members(network, start, start, [0, 1])
    found = measured("doubled_weights", members, data, "initialization")
    assert found["weights"] == pytest.approx([1, 1])
    assert found["kernel"] == pytest.approx([15, 15])


def test_weights_are_the_corner_of_the_square_matrix(trained, data):
    corner = measured("weight_matrix", trained, data, size=4)["weight"]
    np.testing.assert_array_equal(corner, trained.parameters["2.weight"][:, :4, :4].numpy())


def test_movement_is_scaled_by_the_output_scale(trained, data):
    found = measured("movement", trained, data)
    assert found["scaled"] == pytest.approx(20 * found["distance"])
    assert found["relative"] == pytest.approx(found["distance"] / found["start"])


def test_functions_are_measured_on_the_line(trained, data):
    arrays = measure([{"kind": "function"}], "trained", trained, data)
    np.testing.assert_allclose(arrays["function/position"].values, [-2, -1, 0, 1, 2])
    assert list(arrays["function/f"].dims) == ["seed", "position", "output"]
    x = torch.tensor([[1.0]], dtype=torch.float64)
    weights = (trained.weights, trained.start_weights)
    there, before = (functional_call(trained.network, p, (x,)) for p in weights)
    assert arrays["function/f"].values[0, 3, 0] == pytest.approx(20 * (there - before).item())
