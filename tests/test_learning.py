import numpy as np
import pandas as pd
import pytest

from ntkstudy.data.tables import axes_of, with_axes
from ntkstudy.derived.learning import crossing_time, learning_times
from ntkstudy.plan.schedule import spread_steps

RATES = {2: 0.1, 7: 0.01}
STEPS = np.array(spread_steps(30, 1000, "log"))


def decay(eta: float) -> pd.DataFrame:
    """Modes that decay as the theory says, and one that the target lacks."""
    rows = [
        (eta, seed, step, mode, amplitude, amplitude * np.exp(-2 * eta * RATES.get(mode, 0) * step))
        for seed in range(2)
        for step in STEPS
        for mode, amplitude in ((2, 0.9), (3, 0.0), (7, 0.5))
    ]
    columns = ["learning_rate", "seed", "step", "mode", "target", "residual"]
    table = pd.DataFrame(rows, columns=columns).assign(amplitude=0.0, target_phase=1.5)
    return with_axes(table, columns[:4])


def test_exponential_decay_is_timed_exactly():
    modes = pd.concat([decay(1.0), decay(0.5)])
    spectrum = pd.DataFrame({"mode": RATES.keys(), "eigenvalue": RATES.values()})
    table = learning_times(modes, spectrum, pd.DataFrame({"learning_rate": [1.0, 0.5]}))
    assert len(table) == 2 * 2 * 2
    assert table["time"].to_numpy() == pytest.approx(table["predicted"].to_numpy())
    assert list(table) == [
        "learning_rate", "target_phase", "seed", "mode", "time", "eigenvalue", "predicted",
    ]  # fmt: skip
    assert axes_of(table) == ["learning_rate", "seed", "mode"]


def test_learning_rate_of_the_only_cell_applies_to_all_rows():
    modes = with_axes(decay(2.0).drop(columns="learning_rate"), ["seed", "step", "mode"])
    spectrum = pd.DataFrame({"mode": RATES.keys(), "eigenvalue": RATES.values()})
    table = learning_times(modes, spectrum, pd.DataFrame({"learning_rate": [2.0]}))
    assert table["time"].to_numpy() == pytest.approx(table["predicted"].to_numpy())
    assert "learning_rate" not in table


def test_mode_that_is_never_learned_has_no_time():
    assert np.isnan(crossing_time(np.array([0, 10]), np.array([1.0, 0.06])))
    assert crossing_time(np.array([0, 10]), np.array([1.0, 0.0])) < 10
