import numpy as np
import pytest

from ntkflow.datasets import (
    circle_grid,
    circle_points,
    fourier_mixture,
    probe_set,
    product_target,
    training_set,
)
from ntkflow.errors import ConfigurationError


@pytest.mark.parametrize("count", [1, 4, 7, 360])
def test_grid_is_equidistant_and_periodic(count):
    gamma = circle_grid(count)
    assert gamma[0] == -np.pi
    np.testing.assert_allclose(np.diff([*gamma, np.pi]), 2 * np.pi / count, rtol=1e-12)
    assert (0.0 in gamma) == (count % 2 == 0)


def test_points_lie_on_the_circle():
    gamma = circle_grid(12)
    points = circle_points(gamma)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1, rtol=1e-14)
    np.testing.assert_allclose(product_target(points)[:, 0], np.sin(2 * gamma) / 2, atol=1e-15)


GAUSSIAN = {"kind": "gaussian_product", "train_points": 5, "probe_points": 8, "data_seed": 3}
CIRCLE = GAUSSIAN | {"kind": "circle_product", "noise": 0.0}
MIXTURE = CIRCLE | {
    "kind": "circle_mixture", "modes": [1, 3], "amplitudes": [2.0, 0.5], "phases": [0.0, np.pi / 2]
}  # fmt: skip


def test_gaussian_inputs_are_standard_normal():
    x, y = training_set(GAUSSIAN | {"train_points": 20_000})
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=0.03)
    np.testing.assert_allclose(np.cov(x.T), np.eye(2), atol=0.03)
    np.testing.assert_array_equal(y[:, 0], x[:, 0] * x[:, 1])


def test_more_gaussian_points_keep_the_first():
    few, more = (training_set(GAUSSIAN | {"train_points": count})[0] for count in (5, 9))
    np.testing.assert_array_equal(more[:5], few)


@pytest.mark.parametrize("task", [GAUSSIAN, CIRCLE, MIXTURE], ids=lambda task: task["kind"])
def test_a_seed_gives_one_data_set(task):
    x, y = training_set(task)
    assert (x.shape, y.shape) == ((5, 2), (5, 1))
    np.testing.assert_array_equal(training_set(task)[0], x)
    assert not np.allclose(training_set(task | {"data_seed": 4})[0], x)


@pytest.mark.parametrize("task", [CIRCLE, MIXTURE], ids=lambda task: task["kind"])
def test_circle_tasks_train_on_points_of_the_grid(task):
    gamma, inputs, targets = probe_set(task)
    np.testing.assert_array_equal(gamma, circle_grid(8))
    x, y = training_set(task)
    rows = [int(np.argmin(np.linalg.norm(inputs - point, axis=1))) for point in x]
    assert len(set(rows)) == 5
    np.testing.assert_array_equal(x, inputs[rows])
    np.testing.assert_array_equal(y, targets[rows])
    for one, other in zip(
        training_set(task | {"train_points": None}), (inputs, targets), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_noise_is_added_to_the_targets_only():
    task = CIRCLE | {"probe_points": 4000, "train_points": None}
    x, clean = training_set(task)
    noisy_x, noisy = training_set(task | {"noise": 0.5})
    np.testing.assert_array_equal(noisy_x, x)
    assert np.std(noisy - clean) == pytest.approx(0.5, rel=0.05)
    assert np.mean(noisy - clean) == pytest.approx(0, abs=0.03)


def test_mixture_is_its_formula():
    gamma = circle_grid(8)
    expected = 2 * np.sin(gamma) + 0.5 * np.cos(3 * gamma)
    found = fourier_mixture(gamma, MIXTURE["modes"], MIXTURE["amplitudes"], MIXTURE["phases"])
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"train_points": 9}, "task.train_points: 9 is not allowed; allowed: at most 8"),
        ({"phases": [0.0]}, "task: 2 modes, 2 amplitudes, 1 phases; allowed: equally many"),
    ],
)
def test_tasks_that_cannot_be_are_refused(changes, problem):
    with pytest.raises(ConfigurationError, match=f"^{problem}"):
        training_set(MIXTURE | changes)
