"""Tables along training boiled down to one row a network (or a network and mode)."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from ..data.tables import axes_of, with_axes
from .learning import crossing_time

FRACTION = 1e-3  # of the initial loss: the threshold whose step is recorded
DECAYED = 1e-3  # of its initial value: a mode's rate is fitted down to here

Tables = Mapping[str, pd.DataFrame]


def lazy_summary(tables: Tables, rates: pd.DataFrame) -> pd.DataFrame:
    """Distance of a training from the linearised one, and how the loss fell.

    Args:
        tables: `training_linearized` and `losses`.
        rates: not used.

    Returns:
        Swept axes, seed and

        - `train_gap`, `probe_gap`: the largest over training;
        - `test_ratio`: final test error of the linearised network over the network's own;
        - `loss`: at the end; `fall`: over the initial one; `largest_rise`: largest loss over the
          initial one; `time`: step at which it is down to a thousandth, NaN if never.
    """
    gaps, losses = tables["training_linearized"], tables["losses"]
    keys = axes_of(losses, besides=["step"])
    rows = []
    for key, run in gaps.sort_values("step").groupby(keys, dropna=False):
        last = run.iloc[-1]
        error = last["test_error"]
        rows.append(
            (
                *key,
                run["train_gap"].max(),
                run["probe_gap"].max(),
                last["linear_test_error"] / error,
            )
        )
    table = pd.DataFrame(rows, columns=[*keys, "train_gap", "probe_gap", "test_ratio"])
    return with_axes(table.merge(_falls(losses, keys), on=keys), keys)


def _falls(losses: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    rows = []
    for key, run in losses.sort_values("step").groupby(keys, dropna=False):
        steps, values = run["step"].to_numpy(), run["loss"].to_numpy()
        first, last = values[0], values[-1]
        time = crossing_time(steps, values, FRACTION)
        rows.append((*key, last, last / first, np.nanmax(values) / first, time))
    return pd.DataFrame(rows, columns=[*keys, "loss", "fall", "largest_rise", "time"])


def rates_summary(tables: Tables, rates: pd.DataFrame) -> pd.DataFrame:
    """Fitted decay rate of every mode of the residual, against the eigenvalue's.

    The rate is minus the slope of log |u_i . (y - f)| against the steps, from the start until the
    mode is down to a thousandth. Gradient descent on the loss mean (f - y)^2 with a fixed kernel
    has the rate -log(1 - 2 eta lambda_i / M), about 2 eta lambda_i / M.

    Args:
        tables: `training_mode_decay`.
        rates: swept axes and `learning_rate`, one row per cell.

    Returns:
        Swept axes, seed, mode, eigenvalue, `rate`, `predicted` and their `ratio`.
    """
    modes = tables["training_mode_decay"]
    axes = axes_of(modes, besides=("seed", "step", "mode"))
    keys = [*axes, "seed", "mode"]
    rows = []
    for key, run in modes.sort_values("step").groupby(keys, dropna=False):
        size = run["projection"].abs().to_numpy()
        rate = fitted_rate(run["step"].to_numpy(), size)
        rows.append((*key, run["eigenvalue"].iloc[0], rate))
    table = pd.DataFrame(rows, columns=[*keys, "eigenvalue", "rate"])
    shared = [name for name in axes if name in rates]
    table = table.merge(rates, on=shared) if shared else table.merge(rates, how="cross")
    table["predicted"] = -np.log1p(-2 * table["learning_rate"] * table["eigenvalue"])
    table["ratio"] = table["rate"] / table["predicted"]
    table = table.drop(columns=[] if "learning_rate" in axes else "learning_rate")
    return with_axes(table, keys)


def fitted_rate(steps: np.ndarray, sizes: np.ndarray) -> float:
    """Minus the least-squares slope of log size (T,) against steps, down to `DECAYED`."""
    below = np.flatnonzero(~(sizes > DECAYED * sizes[0]))
    end = below[0] if len(below) else len(sizes)
    if end < 2:
        return np.nan
    return -float(np.polyfit(steps[:end], np.log(sizes[:end]), 1)[0])


def kappa_summary(tables: Tables, rates: pd.DataFrame) -> pd.DataFrame:
    """Laziness kappa at the start beside the largest distance from the linearised network.

    Args:
        tables: `training_linearized` and `trained_kappa`.
        rates: not used.

    Returns:
        Swept axes, seed, `kappa`, `train_gap` and `probe_gap`.
    """
    gaps, start = tables["training_linearized"], tables["trained_kappa"]
    keys = axes_of(gaps, besides=["step"])
    largest = gaps.groupby(keys, dropna=False)[["train_gap", "probe_gap"]].max().reset_index()
    found = start.loc[start["step"] == 0, [*keys, "kappa"]].merge(largest, on=keys)
    return with_axes(found, keys)


SUMMARIES: dict[str, Callable[[Tables, pd.DataFrame], pd.DataFrame]] = {
    "lazy_summary": lazy_summary,
    "rates_summary": rates_summary,
    "kappa_summary": kappa_summary,
}
