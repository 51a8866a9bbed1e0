from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from study_cases import measured, task_data

from ntkstudy.data.tables import axes_of, with_axes
from ntkstudy.derived.comparison import compare_function, compare_modes, compare_movement

GAMMA = [-2.0, 0.0, 2.0]
MEAN, RIDGE = np.array([3.0, 0.0, 4.0]), np.array([0.0, 5.0, 0.0])


def functions(values):
    """Table of f_0 from {(width, seed): function at the last step}; zero at step 0."""
    table = pd.DataFrame(
        {"width": width, "seed": seed, "step": step, "gamma": gamma, "f_0": y * (step > 0)}
        for (width, seed), f in values.items()
        for step in (0, 7)
        for gamma, y in zip(GAMMA, f, strict=True)
    )
    return with_axes(table, ["width", "seed", "step", "gamma"])


PREDICTED = pd.DataFrame(
    {"step": step, "gamma": gamma, "mean": mean * step / 7, "ridge": ridge, "deviation": 0.0}
    for step in (0, 3, 7)
    for gamma, mean, ridge in zip(GAMMA, MEAN, RIDGE, strict=True)
)
PREDICTED = with_axes(PREDICTED, ["step", "gamma"])


def test_relative_errors_of_seeds_and_of_their_average():
    off = np.array([1.0, 0.0, 0.0])
    found = compare_function(functions({(4, 0): MEAN + off, (4, 1): MEAN - off}), PREDICTED)
    assert found["to_mean"].to_numpy() == pytest.approx([0.2, 0.2])
    assert found["to_ridge"].to_numpy() == pytest.approx(np.sqrt([16 + 25 + 16, 4 + 25 + 16]) / 5)
    assert found["limit_to_ridge"].to_numpy() == pytest.approx(np.full(2, np.sqrt(2)))
    # The average is exact, each half of it off by .2: 2 * 0 - 1 * .2.
    assert found["average_to_mean"].to_numpy() == pytest.approx([-0.2, -0.2])
    assert "average_to_widths" not in found
    assert axes_of(found) == ["width", "seed"]


def test_fraction_of_the_grid_inside_the_gaussian_band():
    spread = PREDICTED.assign(deviation=[1.0, 0.0, 1.0] * 3)
    near, far = MEAN + np.array([[1.2, 9.0, -1.2], [1.3, 0.0, 1.2]])
    found = compare_function(functions({(4, 0): near, (4, 1): far}), spread)
    assert found["inside"].tolist() == [1.0, 0.5]
    assert compare_function(functions({(4, 0): MEAN}), PREDICTED)["inside"].isna().all()


def test_jackknife_removes_the_noise_of_few_seeds():
    rng = np.random.default_rng(0)
    offset, errors = np.array([0.0, 0.5, 0.0]), []
    for _ in range(200):
        noisy = {(4, s): MEAN + offset + 0.3 * rng.standard_normal(3) for s in range(10)}
        errors.append(compare_function(functions(noisy), PREDICTED)["average_to_mean"].mean())
    assert np.mean(errors) == pytest.approx(0.1, abs=0.004)


def test_a_seed_that_diverged_leaves_the_averages_of_the_others():
    values = {(4, s): MEAN + 0.1 * s for s in range(3)} | {(4, 3): np.full(3, np.nan)}
    found = compare_function(functions(values), PREDICTED)
    alone = compare_function(functions({key: values[key] for key in list(values)[:3]}), PREDICTED)
    assert found["average_to_mean"].to_numpy()[:3] == pytest.approx(alone["average_to_mean"])
    assert np.isnan(found["average_to_mean"].iloc[3])


def test_largest_difference_between_widths():
    values = {(n, s): MEAN * scale for n, scale in ((4, 1.0), (8, 1.1), (16, 2.0)) for s in (0, 1)}
    values[4, 2] = MEAN
    found = compare_function(functions(values), PREDICTED).groupby("width")["average_to_widths"]
    assert found.mean().to_dict() == pytest.approx({4: 0.5, 8: 0.45, 16: 1.0})
    assert found.count().to_dict() == {4: 2, 8: 2, 16: 2}


def test_modes_of_the_target_are_compared(tmp_path):
    task = {"kind": "circle_product", "probe_points": 16}  # of the target sin(2 gamma) / 2

    def rows(data, size):
        mean = size * torch.as_tensor(data.file.array("probe/y").values.T)
        found = measured("modes", SimpleNamespace(mean=mean), data, "prediction", max_mode=4)
        columns = {name: values.squeeze() for name, values in found.items()}
        return with_axes(pd.DataFrame(columns | {"step": 7}), ["step", "mode"])

    with task_data(tmp_path, task) as data:
        trained, predicted = rows(data, 0.9).assign(width=4, seed=0), rows(data, 0.8)
    trained = with_axes(trained, ["width", "seed", "step", "mode"])
    found = compare_modes(trained, predicted)
    assert axes_of(found) == ["width", "seed", "step", "mode"]
    [row] = found.to_dict("records")
    assert (row["mode"], row["seed"]) == (2, 0)
    numbers = [row[name] for name in ("ratio", "learned", "residual", "target", "target_phase")]
    assert numbers == pytest.approx([0.9 / 0.8, 0.9, 0.05, 0.5, -np.pi / 2])


def test_movement_against_lazy_training():
    trained = pd.DataFrame(
        {
            "width": 4,
            "seed": 0,
            "step": [0, 7],
            "distance": [0.0, 6.0],
            "relative": [0.0, 0.1],
            "scaled": [0.0, 12.0],
            "start": 60.0,
        }
    )
    predicted = pd.DataFrame({"step": [0, 3, 7], "distance": [0.0, 2.0, 3.0]})
    found = compare_movement(
        with_axes(trained, ["width", "seed", "step"]), with_axes(predicted, ["step"])
    )
    assert axes_of(found) == ["width", "seed", "step"]
    assert found[["width", "seed", "lazy_distance", "ratio"]].to_numpy().tolist() == [[4, 0, 3, 2]]


def test_a_prediction_that_shares_an_axis_is_joined_on_it():
    table = functions({(4, 0): MEAN, (8, 0): MEAN})
    both = pd.concat(
        [PREDICTED.assign(width=4), PREDICTED.assign(width=8, mean=2 * PREDICTED["mean"])]
    )
    both = with_axes(both, ["width", "step", "gamma"])
    found = compare_function(table, both).set_index("width")
    assert found["to_mean"].to_dict() == pytest.approx({4: 0.0, 8: 0.5})
