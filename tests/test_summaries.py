import numpy as np
import pandas as pd
import pytest

from ntkstudy.data.tables import axes_of, with_axes
from ntkstudy.derived.summaries import fitted_rate, kappa_summary, lazy_summary, rates_summary

STEPS = np.arange(0, 101, 10)
AXES = ["width", "seed", "step"]


def test_lazy_summary_takes_the_largest_gap_and_the_time_to_a_thousandth():
    losses = pd.DataFrame(
        {"width": 8, "seed": seed, "step": STEPS, "loss": 4.0 * np.exp(-STEPS / 10 * rate)}
        for seed, rate in ((0, 1.0), (1, 0.1))
    ).explode(["step", "loss"])
    losses = losses.astype({"step": int, "loss": float})
    gaps = pd.DataFrame(
        {
            "width": 8, "seed": seed, "step": [0, 50, 100], "train_gap": [0.0, 3.0, 1.0],
            "probe_gap": [0.0, 1.0, 2.0], "test_error": [1.0, 1.0, 0.5],
            "linear_test_error": [1.0, 1.0, 1.0],
        }
        for seed in (0, 1)
    )  # fmt: skip
    columns = [name for name in gaps if name not in ("width", "seed")]
    tables = {"losses": losses, "training_linearized": gaps.explode(columns)}
    tables = {name: with_axes(table, AXES) for name, table in tables.items()}
    found = lazy_summary(tables, pd.DataFrame())
    assert axes_of(found) == ["width", "seed"]
    found = found.set_index("seed")
    assert found.loc[0, ["train_gap", "probe_gap", "test_ratio"]].tolist() == [3.0, 2.0, 2.0]
    assert found.loc[0, "time"] == pytest.approx(10 * np.log(1000))
    assert np.isnan(found.loc[1, "time"])
    assert found.loc[1, "loss"] == pytest.approx(4 * np.exp(-1))
    assert found.loc[1, "fall"] == pytest.approx(np.exp(-1))
    assert found["largest_rise"].tolist() == [1.0, 1.0]


def test_fitted_rate_stops_at_a_thousandth():
    sizes = 5 * np.exp(-0.2 * STEPS)
    sizes[sizes < 5e-3] = 1e-9  # rounding, not decay
    assert fitted_rate(STEPS, sizes) == pytest.approx(0.2)
    assert np.isnan(fitted_rate(np.array([0, 1]), np.array([1.0, 1e-4])))


@pytest.mark.parametrize("swept", [False, True])
def test_rates_are_compared_with_those_of_discrete_gradient_descent(swept):
    eigenvalue, rates = 0.25, {0.1: 0.05, 0.5: 0.25} if swept else {0.1: 0.05}
    rows = [
        {"learning_rate": eta, "seed": 0, "step": step, "mode": 0, "eigenvalue": eigenvalue,
         "projection": -2 * (1 - shrink) ** step}
        for eta, shrink in rates.items()
        for step in range(5)
    ]  # fmt: skip
    axes = ["learning_rate"] * swept + ["seed", "step", "mode"]
    modes = with_axes(pd.DataFrame(rows)[[*axes, "eigenvalue", "projection"]], axes)
    known = pd.DataFrame({"learning_rate": list(rates)})
    found = rates_summary({"training_mode_decay": modes}, known)
    assert axes_of(found) == ["learning_rate"] * swept + ["seed", "mode"]
    assert found["ratio"].tolist() == pytest.approx([1.0] * len(rates))
    assert ("learning_rate" in found) == swept


def test_kappa_summary_joins_the_start_with_the_largest_gap():
    kappa = pd.DataFrame({"width": 8, "seed": 0, "step": [0, 9], "kappa": [0.5, 7.0]})
    gaps = pd.DataFrame(
        {"width": 8, "seed": 0, "step": [0, 9], "train_gap": [0.0, 2.0], "probe_gap": [3.0, 1.0],
         "test_error": 0.0, "linear_test_error": 0.0}
    )  # fmt: skip
    tables = {"training_linearized": gaps, "trained_kappa": kappa}
    tables = {name: with_axes(table, AXES) for name, table in tables.items()}
    found = kappa_summary(tables, pd.DataFrame())
    assert axes_of(found) == ["width", "seed"]
    assert found[["kappa", "train_gap", "probe_gap"]].to_numpy().tolist() == [[0.5, 2.0, 3.0]]
