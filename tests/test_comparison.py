import numpy as np
import pandas as pd
import pytest

from ntkflow.comparison import compare_function, compare_modes, relative_error

GAMMA = np.linspace(-3, 3, 7)
MEAN, RIDGE = np.sin(GAMMA), np.cos(GAMMA)


def trained(widths=(4, 8), seeds=3, steps=(0, 10)) -> tuple[pd.DataFrame, dict]:
    """Random functions as a table, and by (width, seed) at the last step."""
    rng, rows, functions = np.random.default_rng(0), [], {}
    for width in widths:
        for seed in range(seeds):
            for step in steps:
                values = rng.standard_normal(7)
                functions[width, seed] = values
                rows += [(width, seed, step, g, f) for g, f in zip(GAMMA, values, strict=True)]
    return pd.DataFrame(rows, columns=["width", "seed", "step", "gamma", "f_0"]), functions


def predicted(steps=(0, 10)) -> pd.DataFrame:
    parts = [
        pd.DataFrame({"step": step, "gamma": GAMMA, "mean": MEAN * (step / 10), "ridge": RIDGE})
        for step in steps
    ]
    return pd.concat(parts).assign(deviation=0.0, target=0.0)


def test_errors_are_those_of_the_last_step():
    table, functions = trained()
    compared = compare_function(table, predicted())
    assert list(compared.columns[:2]) == ["width", "seed"]
    for row in compared.to_dict("records"):
        f = functions[row["width"], row["seed"]]
        assert row["to_mean"] == pytest.approx(relative_error(f, MEAN), rel=1e-12)
        assert row["to_ridge"] == pytest.approx(relative_error(f, RIDGE), rel=1e-12)


def test_pseudo_values_average_to_the_corrected_error_of_the_average():
    table, functions = trained(widths=(4,))
    three = np.array(list(functions.values()))
    whole = relative_error(three.mean(axis=0), MEAN)
    parts = [relative_error(np.delete(three, i, axis=0).mean(axis=0), MEAN) for i in range(3)]
    compared = compare_function(table, predicted())
    assert compared["average_to_mean"].mean() == pytest.approx(3 * whole - 2 * np.mean(parts))


def test_functions_that_equal_the_prediction_have_no_error():
    table, _ = trained(seeds=2)
    table["f_0"] = np.tile(MEAN, len(table) // 7)
    compared = compare_function(table, predicted())
    np.testing.assert_allclose(compared[["to_mean", "average_to_mean"]], 0, atol=1e-12)


def test_a_prediction_that_shares_an_axis_is_joined_on_it():
    table, functions = trained()
    both = pd.concat(
        [predicted().assign(width=4), predicted().assign(width=8, mean=predicted()["mean"] * 2)]
    )
    compared = compare_function(table, both).set_index(["width", "seed"])
    assert compared.loc[(8, 1), "to_mean"] == pytest.approx(
        relative_error(functions[8, 1], 2 * MEAN)
    )


def test_modes_get_the_predicted_amplitude_and_their_ratio():
    measured = pd.DataFrame(
        {"width": 4, "seed": [0, 0, 1, 1], "step": 10, "mode": [0, 1, 0, 1],
         "amplitude": [1.0, 2.0, 3.0, 4.0], "residual": 0.1, "target": 1.0}
    )  # fmt: skip
    limit = pd.DataFrame(
        {"step": [10, 10], "mode": [0, 1], "amplitude": [2.0, 4.0], "residual": 0.0, "target": 1.0}
    )
    assert compare_modes(measured, limit)["ratio"].tolist() == [0.5, 0.5, 1.5, 1.0]
