import numpy as np
import pytest

from ntkflow.datasets import (
    circle_grid,
    circle_points,
    gaussian_product,
    product_target,
    training_set,
)


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


def test_inputs_are_standard_normal():
    x, y = gaussian_product(20_000, 0)
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=0.03)
    np.testing.assert_allclose(np.cov(x.T), np.eye(2), atol=0.03)
    np.testing.assert_array_equal(y[:, 0], x[:, 0] * x[:, 1])


def test_a_seed_gives_one_data_set_and_more_points_keep_the_first():
    task = {"kind": "gaussian_product", "train_points": 5, "data_seed": 3}
    x, y = training_set(task)
    assert (x.shape, y.shape) == ((5, 2), (5, 1))
    np.testing.assert_array_equal(training_set(task | {"train_points": 9})[0][:5], x)
    assert not np.allclose(training_set(task | {"data_seed": 4})[0], x)
