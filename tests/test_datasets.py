import numpy as np
import pytest

from ntkflow.errors import ConfigurationError
from ntkstudy.data.targets import circle_grid, circle_points, fourier_mixture, product_target
from ntkstudy.options import read_options
from ntkstudy.registry import TASKS, discover

discover()

GAUSSIAN = {"kind": "gaussian_product", "train_points": 5, "probe_points": 8, "data_seed": 3}
CIRCLE = GAUSSIAN | {"kind": "circle_product", "probe_points": 72, "train_points": 30, "noise": 0.0}
MIXTURE = CIRCLE | {
    "kind": "circle_mixture", "modes": [2, 5], "amplitudes": [0.9, 0.3], "phases": [0.1, 2.0]
}  # fmt: skip


def made(block: dict, *names: str) -> list[np.ndarray]:
    """Arrays of the data set of a task's block."""
    task = TASKS[block["kind"]]
    arrays = task.make(read_options(task.options, block), [])
    return [arrays[name].values for name in names]


def training_set(block: dict) -> list[np.ndarray]:
    return made(block, "train/x", "train/y")


def probe_set(block: dict) -> list[np.ndarray]:
    return made(block, "probe/gamma", "probe/x", "probe/y")


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
    x, y = training_set(GAUSSIAN | {"train_points": 20_000})
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=0.03)
    np.testing.assert_allclose(np.cov(x.T), np.eye(2), atol=0.03)
    np.testing.assert_array_equal(y[:, 0], x[:, 0] * x[:, 1])


def test_a_seed_gives_one_data_set_and_more_points_keep_the_first():
    x, y = training_set(GAUSSIAN)
    assert (x.shape, y.shape) == ((5, 2), (5, 1))
    np.testing.assert_array_equal(training_set(GAUSSIAN | {"train_points": 9})[0][:5], x)
    assert not np.allclose(training_set(GAUSSIAN | {"data_seed": 4})[0], x)


@pytest.mark.parametrize("task", [CIRCLE, MIXTURE])
def test_circle_tasks_train_on_distinct_grid_points_and_their_targets(task):
    _, grid, targets = probe_set(task)
    x, y = training_set(task)
    rows = [int(np.flatnonzero((grid == point).all(axis=1))[0]) for point in x]
    assert len(set(rows)) == 30
    np.testing.assert_array_equal(y, targets[rows])
    whole = training_set(task | {"train_points": None})
    np.testing.assert_array_equal(whole[0], grid)
    np.testing.assert_array_equal(whole[1], targets)


def test_noise_is_on_training_targets_only():
    clean, noisy = (training_set(MIXTURE | {"noise": noise})[1] for noise in (0.0, 0.5))
    assert 0.3 < (noisy - clean).std() < 0.7
    np.testing.assert_array_equal(probe_set(MIXTURE | {"noise": 0.5})[2], probe_set(MIXTURE)[2])


def test_mixture_is_the_sum_of_its_waves():
    angles = np.array([0.3, -2.0])
    expected = 0.9 * np.sin(2 * angles + 0.1) + 0.3 * np.sin(5 * angles + 2.0)
    mixture = fourier_mixture(angles, [2, 5], [0.9, 0.3], [0.1, 2.0])
    np.testing.assert_allclose(mixture[:, 0], expected, rtol=1e-14)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"train_points": 73}, "task.train_points: 73 is not allowed; allowed: at most 72"),
        ({"phases": [0.0]}, "task: 2 modes, 2 amplitudes, 1 phases; allowed: equally many"),
    ],
)
def test_tasks_that_cannot_be_are_refused(changes, problem):
    with pytest.raises(ConfigurationError, match=f"^{problem}"):
        training_set(MIXTURE | changes)


LINE = {
    "kind": "line_points", "inputs": [-3.0, 0.5], "targets": [2.0, -1.0], "data_seed": 0,
    "probe_points": 5, "probe_range": [-1.0, 1.0],
}  # fmt: skip


def test_points_on_the_line_are_those_listed():
    x, y = training_set(LINE)
    assert x.tolist() == [[-3.0], [0.5]]
    assert y.tolist() == [[2.0], [-1.0]]
    positions, inputs, targets = made(LINE, "probe/position", "probe/x", "probe/y")
    assert np.isnan(targets).all()
    assert positions.tolist() == [-1.0, -0.5, 0.0, 0.5, 1.0] == inputs[:, 0].tolist()
    with pytest.raises(ConfigurationError, match=r"^task: 2 inputs, 1 targets; allowed: equally"):
        training_set(LINE | {"targets": [1.0]})
