"""Trained networks against the infinitely wide network at the same training time."""

from collections.abc import Callable

import numpy as np
import pandas as pd

MEASURED = ("f_0", "amplitude", "target", "residual")
PREDICTED = ("target", "mean", "deviation", "ridge", "amplitude", "residual")


def compare_function(trained: pd.DataFrame, predicted: pd.DataFrame) -> pd.DataFrame:
    """Relative errors of trained functions at the last step, per cell and seed.

    RelErr = |f_n - f_inf| / |f_inf| in the norm of the evaluation grid.

    Args:
        trained: table of `function` measurements: seed, step, gamma, f_0 and swept axes.
        predicted: table of predictions: step, gamma, mean, ridge and some of the axes.

    Returns:
        Columns: swept axes, seed, `to_ridge` and `to_mean` (RelErr against ridge regression, i.e.
        t = infinity, and against the mean at the same step), and `average_to_ridge`,
        `average_to_mean`: jackknife pseudo-values of the RelErr of the average over seeds. Their
        mean is that RelErr, corrected for the noise of few seeds; their standard error is its own
        (Efron 1982, The Jackknife, chapter 2).
    """
    joined = _join_last_step(trained, predicted, on=["gamma"])
    axes = _axes(trained, without=("seed", "step", "gamma", *MEASURED))
    rows = []
    for cell, group in joined.groupby(axes, dropna=False) if axes else [((), joined)]:
        functions = group.pivot(index="seed", columns="gamma", values="f_0")
        once = group[group["seed"] == functions.index[0]].sort_values("gamma")
        columns = {"seed": functions.index}
        for name in ("ridge", "mean"):
            limit = once[name].to_numpy()
            columns[f"to_{name}"] = relative_error(functions.to_numpy(), limit)
            columns[f"average_to_{name}"] = _pseudo_values(functions.to_numpy(), limit)
        table = pd.DataFrame(columns)
        for position, (axis, value) in enumerate(zip(axes, cell, strict=True)):
            table.insert(position, axis, value)
        rows.append(table)
    return pd.concat(rows, ignore_index=True)


def compare_modes(trained: pd.DataFrame, predicted: pd.DataFrame) -> pd.DataFrame:
    """Fourier amplitudes of trained and predicted functions at the last step.

    Args:
        trained: table of `modes` measurements with columns seed, step, mode, amplitude, ...
        predicted: the same of predictions, without seed.

    Returns:
        The last step's rows of `trained` with the prediction's `predicted_amplitude` and their
        `ratio`.
    """
    keep = predicted.rename(columns={"amplitude": "predicted_amplitude"})
    keep = keep.drop(columns=["target", "residual"])
    joined = _join_last_step(trained, keep, on=["mode"])
    return joined.assign(ratio=joined["amplitude"] / joined["predicted_amplitude"])


COMPARISONS: dict[str, Callable[[pd.DataFrame, pd.DataFrame], pd.DataFrame]] = {
    "function": compare_function,
    "modes": compare_modes,
}


def relative_error(values: np.ndarray, reference: np.ndarray) -> np.ndarray | np.floating:
    """|f - g| / |g| along the last axis."""
    return np.linalg.norm(values - reference, axis=-1) / np.linalg.norm(reference, axis=-1)


def _pseudo_values(functions: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """Jackknife pseudo-values n E - (n - 1) E_(-i) of the error E of the average function."""
    n = len(functions)
    whole = relative_error(functions.mean(axis=0), limit)
    if n == 1:
        return np.array([whole])
    without_one = (functions.sum(axis=0) - functions) / (n - 1)
    return n * whole - (n - 1) * relative_error(without_one, limit)


def _join_last_step(trained: pd.DataFrame, predicted: pd.DataFrame, on: list[str]) -> pd.DataFrame:
    """Rows of the last step of each cell, joined on the axes that both tables have."""
    shared = [
        name for name in _axes(predicted, without=("step", *on, *PREDICTED)) if name in trained
    ]
    return _last_step(trained).merge(
        _last_step(predicted).drop(columns="step"), on=[*shared, *on], validate="many_to_one"
    )


def _last_step(table: pd.DataFrame) -> pd.DataFrame:
    axes = _axes(table, without=("seed", "step", "gamma", "mode", *MEASURED, *PREDICTED))
    last = table.groupby(axes)["step"].transform("max") if axes else table["step"].max()
    return table[table["step"] == last]


def _axes(table: pd.DataFrame, without: tuple[str, ...]) -> list[str]:
    return [name for name in table.columns if name not in {*without, "predicted_amplitude"}]
