"""How long trained networks take to learn each Fourier mode, against the eigenvalue's time."""

import numpy as np
import pandas as pd

from ..data.tables import axes_of, with_axes

FRACTION = 0.05  # of a mode's initial residual: from there on the mode counts as learned


def learning_times(
    modes: pd.DataFrame, spectrum: pd.DataFrame, rates: pd.DataFrame
) -> pd.DataFrame:
    """Steps until each mode of the target is learned to 5 %, measured and predicted.

    With the loss mean (f - y)^2 and an even grid on the whole circle the kernel is diagonal in
    Fourier modes, so the residual of mode k falls like exp(-2 eta lambda_k t), and reaches 5 % at
    t = ln(20) / (2 eta lambda_k).

    Args:
        modes: table of `modes` measurements along training: swept axes, seed, step, mode, target,
            target_phase, residual.
        spectrum: limit eigenvalues: some of the swept axes, mode, eigenvalue.
        rates: swept axes and `learning_rate`, one row per cell.

    Returns:
        Swept axes, `target_phase`, seed, mode, `time` in steps (NaN if training ends before),
        eigenvalue and `predicted`. Modes that the target lacks are left out.
    """
    present = modes["target"].abs() > 1e-6 * modes["target"].abs().max()
    axes = axes_of(modes, besides=("seed", "step", "mode"))
    keys = [*axes, "target_phase", "seed", "mode"]
    rows = [
        (*key, crossing_time(run["step"].to_numpy(), run["residual"].to_numpy()))
        for key, run in modes[present].sort_values("step").groupby(keys, dropna=False)
    ]
    table = pd.DataFrame(rows, columns=[*keys, "time"])
    for other, on in ((spectrum, ["mode"]), (rates, [])):
        shared = [*on, *(name for name in axes if name in other)]
        table = table.merge(other, on=shared) if shared else table.merge(other, how="cross")
    rate = 2 * table["learning_rate"] * table["eigenvalue"]
    table["predicted"] = -np.log(FRACTION) / rate.clip(lower=0)
    table = table.drop(columns=[] if "learning_rate" in axes else "learning_rate")
    return with_axes(table, [*axes, "seed", "mode"])


def crossing_time(steps: np.ndarray, residual: np.ndarray, fraction: float = FRACTION) -> float:
    """First time at which a residual (T,) is down to `fraction` of its first value.

    Between two snapshots its logarithm is interpolated, which is exact for exponential decay. NaN
    if it never gets there.
    """
    below = np.flatnonzero(residual <= fraction * residual[0])
    if not len(below):
        return np.nan
    after = below[0]
    before = after - 1
    logs = np.log(np.maximum(residual[[before, after]], np.finfo(float).tiny) / residual[0])
    share = (np.log(fraction) - logs[0]) / (logs[1] - logs[0])
    return float(steps[before] + share * (steps[after] - steps[before]))
