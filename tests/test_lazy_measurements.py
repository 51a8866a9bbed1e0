import numpy as np
import pytest
import torch
from descents import descent
from ntkstudy.measurements.ensembles import measure_ensemble
from ntkstudy.measurements.members import Ensemble
from ntkstudy.measurements.networks import Member, measure
from torch.func import functional_call

from ntkflow.dynamics import LinearizedTraining
from ntkflow.empirical import empirical_ntk
from ntkflow.lazy import kappa
from ntkflow.networks import draw_parameters, member, mlp
from ntkflow.training import Objective, train_ensemble
from ntkstudy.data.storage import open_file

TASK = {
    "kind": "line_points", "inputs": [-1.0, 0.5, 2.0], "targets": [1.0, -1.0, 0.5],
    "probe_points": 5, "probe_range": [-2.0, 2.0], "data_seed": 0,
}  # fmt: skip
SCALING = {"output_scale": 20.0, "centred": True}
TRAINING = {"learning_rate": 0.02} | SCALING
STEPS = 30


@pytest.fixture
def data(tmp_path):
    import make_dataset

    cfg = {"stage": "dataset", "experiment": "e", "cell": {}, "task": TASK}
    make_dataset.main({"images": []}, {"dataset": str(tmp_path / "d.h5")}, cfg)
    with open_file(tmp_path / "d.h5", "dataset") as file:
        yield file


@pytest.fixture
def trained(data):
    network = mlp(1, [6, 6], parameterization="pytorch", activation="tanh")
    start = draw_parameters(network, [0], dtype=torch.float64)
    x, y = (torch.as_tensor(data.array(f"train/{name}").values) for name in "xy")
    how = descent(0.02, STEPS) | {"objective": Objective(**SCALING)}
    end = train_ensemble(network, start, x, y, **how).parameters
    return Member(network, member(end, 0), member(start, 0), TRAINING, STEPS), x, y


def test_distance_from_the_linearisation(trained, data):
    one, x, y = trained
    arrays = measure([{"kind": "linearized"}], one, data)
    linear = LinearizedTraining(one.network, x, y, parameters=one.start, **TRAINING)
    gap = one.outputs(x) - linear.train_outputs(STEPS)
    expected = (gap.norm() / y.norm()).item()
    assert arrays["linearized/train_gap"].values == pytest.approx(expected)
    assert 0 < expected < 0.1
    probe = torch.as_tensor(data.array("probe/x").values)
    gap = (one.outputs(probe) - linear.outputs(probe, STEPS)).abs().max().item()
    assert arrays["linearized/probe_gap"].values == pytest.approx(gap)
    assert np.isnan(arrays["linearized/test_error"].values)


def test_what_is_kept_between_snapshots_belongs_to_its_seed(data):
    network = mlp(1, [6], parameterization="pytorch", activation="tanh")
    start = draw_parameters(network, [0, 1], dtype=torch.float64)
    x, y = (torch.as_tensor(data.array(f"train/{name}").values) for name in "xy")
    how = descent(0.02, STEPS) | {"objective": Objective(**SCALING)}
    end = train_ensemble(network, start, x, y, **how).parameters
    entries = [{"kind": "linearized"}, {"kind": "mode_decay"}, {"kind": "kernel"}]
    both = Ensemble(network, start, start, TRAINING)
    for step, parameters in ((0, start), (STEPS, end)):
        found = measure_ensemble(entries, both.at(step, parameters), data)
        for index in range(2):
            fresh = Member(network, member(parameters, index), member(start, index), TRAINING, step)
            for name, array in measure(entries, fresh, data).items():
                np.testing.assert_allclose(found[name].values[index], array.values, rtol=1e-12)


def test_residuals_along_the_eigenvectors(trained, data):
    one, x, y = trained
    arrays = measure([{"kind": "mode_decay"}], one, data)
    projections = arrays["mode_decay/projection"].values
    residual = (y - one.outputs(x)).detach()
    assert np.linalg.norm(projections) == pytest.approx(residual.norm().item())
    gram = empirical_ntk(one.network, x, parameters=one.start).values[0, 0]
    expected = torch.linalg.eigvalsh(gram / 3).flip(0)
    np.testing.assert_allclose(arrays["mode_decay/eigenvalue"].values, expected, rtol=1e-8)


def test_kappa_is_that_of_the_library(trained, data):
    one, x, y = trained
    entry = {"kind": "kappa", "tolerance": 1e-6, "max_iterations": 100}
    found = measure([entry], one, data)["kappa/kappa"].values
    expected = kappa(
        one.network,
        x,
        y,
        parameters=one.parameters,
        output_scale=20.0,
        centred=True,
        tolerance=1e-6,
    )
    assert found == pytest.approx(expected.kappa, rel=1e-4)


def test_ellipse_is_the_kernel_of_two_points(trained, data):
    one, x, _ = trained
    arrays = measure([{"kind": "ellipse"}], one, data)
    first, second, angle = (
        arrays[f"ellipse/{n}"].values for n in ("lambda_1", "lambda_2", "angle")
    )
    u = np.array([np.cos(angle), np.sin(angle)])
    v = np.array([-u[1], u[0]])
    gram = empirical_ntk(one.network, x[:2], parameters=one.parameters).values[0, 0].numpy()
    np.testing.assert_allclose(first * np.outer(u, u) + second * np.outer(v, v), gram, rtol=1e-8)
    assert arrays["ellipse/f_1"].values == pytest.approx(one.outputs(x)[1].item())


def test_weights_are_the_corner_of_the_square_matrix(trained, data):
    one, _, _ = trained
    corner = measure([{"kind": "weight_matrix", "size": 4}], one, data)[
        "weight_matrix/weight"
    ].values
    np.testing.assert_array_equal(corner, one.parameters["2.weight"][:4, :4].numpy())


def test_movement_is_scaled_by_the_output_scale(trained, data):
    one, _, _ = trained
    arrays = measure([{"kind": "movement"}], one, data)
    distance = arrays["movement/distance"].values
    assert arrays["movement/scaled"].values == pytest.approx(20 * distance)
    relative = distance / arrays["movement/start"].values
    assert arrays["movement/relative"].values == pytest.approx(relative)


def test_functions_are_measured_on_the_line(trained, data):
    one, _, _ = trained
    arrays = measure([{"kind": "function"}], one, data)
    np.testing.assert_allclose(arrays["function/position"].values, [-2, -1, 0, 1, 2])
    assert list(arrays["function/f"].dims) == ["position", "output"]
    x = torch.tensor([[1.0]], dtype=torch.float64)
    there, before = (functional_call(one.network, p, (x,)) for p in (one.parameters, one.start))
    assert arrays["function/f"].values[3, 0] == pytest.approx(20 * (there - before).item())
