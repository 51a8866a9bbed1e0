"""What happened in training to the largest eigenvalue and to the losses: one row per network."""

import numpy as np
import pandas as pd

from ..data.tables import axes_of, with_axes

LEVEL = 0.5  # training loss at which networks are compared
# Rank correlations over widths, and their two columns.
ORDERS = {
    "order_kept": ("start", "end"),
    "share_speed": ("share", "step_at_level"),
    "top_speed": ("start", "step_at_level"),
}


def summarise_evolution(gram: pd.DataFrame, classification: pd.DataFrame) -> pd.DataFrame:
    """Turning points and correlations along training.

    Args:
        gram: table of `gram` measurements along training: swept axes, seed, step, lambda_max, ...
        classification: table of `classification` measurements at the same steps.

    Returns:
        Swept axes and seed; of the largest eigenvalue `start`, `lowest`, `lowest_step`, `end`,
        `end_ratio` (end / start), `rise` (end / lowest), `interior` (1 if the minimum lies inside
        training); at the minimum `test_slope` (change of the test loss per step) and
        `train_accuracy`; `rate_correlation` of the largest eigenvalue with the speed of the
        weights; `marker_correlation` of the changes of the largest eigenvalue and of the test loss
        from snapshot to snapshot, and the `marker_lag` in steps at which it is strongest (positive:
        the eigenvalue is first); `loss_decrease`, `drift` and `drift_per_loss` at the end;
        `step_at_level`, `test_loss_at_level`, `test_accuracy_at_level` and `gap_at_level` (test
        loss minus training loss) where the training loss first falls to 0.5; `gap_at_end`; `share`
        of the largest eigenvalue in the trace at the start; `unrest`, root of the mean square, over
        the steps, of the logarithm of the largest eigenvalue minus its mean over steps and seeds;
        `unrest_start`, the size of that logarithm at the start minus its mean over seeds there;
        and, with a swept width, rank correlations over widths, the same for all widths of a seed:
        `order_kept` of the largest eigenvalue at start and end, `share_speed` of `share` and
        `top_speed` of `start` with `step_at_level`, over the networks that get there.
    """
    keys = [*axes_of(gram, besides=("seed", "step")), "seed"]
    runs = gram.merge(classification, on=[*keys, "step"]).sort_values("step")
    runs = _with_unrest(runs, keys)
    rows = [
        dict(zip(keys, key, strict=True)) | _summary(run)
        for key, run in runs.groupby(keys, dropna=False, sort=False)
    ]
    table = pd.DataFrame(rows).sort_values(keys, ignore_index=True)
    ordered = _add_order(table, [name for name in keys if name != "width"])
    return with_axes(ordered, keys)


def _with_unrest(runs: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Deviations of log lambda_max from its mean over all steps and seeds, and over seeds."""
    log = np.log(runs["lambda_max"].where(runs["lambda_max"] > 0))
    cells = [runs[name] for name in keys if name != "seed"]
    everything = [pd.Series(0, index=runs.index)]
    mean = log.groupby(cells or everything, dropna=False).transform("mean")
    at_step = log.groupby([*cells, runs["step"]], dropna=False).transform("mean")
    return runs.assign(off=log - mean, off_start=log - at_step)


def _summary(run: pd.DataFrame) -> dict[str, float]:
    step, top = run["step"].to_numpy(), run["lambda_max"].to_numpy()
    test, train = run["test_loss"].to_numpy(), run["train_loss"].to_numpy()
    if not np.isfinite(top).all():  # the network diverged
        return {}
    low = int(top.argmin())
    correlation, lag = _marker(top, test)
    decrease = train[0] - train[-1]
    numbers = {
        "start": top[0],
        "lowest": top[low],
        "lowest_step": step[low],
        "end": top[-1],
        "end_ratio": top[-1] / top[0],
        "rise": top[-1] / top[low] if top[low] else np.nan,
        "interior": 0 < low < len(top) - 1,
        "test_slope": np.gradient(test, step)[low],
        "train_accuracy": run["train_accuracy"].to_numpy()[low],
        "rate_correlation": _correlation(top, run["rate"].to_numpy()),
        "marker_correlation": correlation,
        "marker_lag": lag * (step[1] - step[0]),
        "unrest": np.sqrt(np.square(run["off"].to_numpy()).mean()),
        "unrest_start": abs(run["off_start"].to_numpy()[0]),
        "loss_decrease": decrease,
        "drift": run["drift"].to_numpy()[-1],
        "drift_per_loss": run["drift"].to_numpy()[-1] / decrease if decrease else np.nan,
        "share": run["share"].to_numpy()[0],
        "step_at_level": _at_level(train, step),
        "test_loss_at_level": _at_level(train, test),
        "gap_at_level": _at_level(train, test) - LEVEL,
        "gap_at_end": test[-1] - train[-1],
        "test_accuracy_at_level": _at_level(train, run["test_accuracy"].to_numpy()),
    }
    return {name: float(value) for name, value in numbers.items()}


def _marker(top: np.ndarray, test: np.ndarray, reach: int = 5) -> tuple[float, int]:
    """Correlation of changes, and the shift of the eigenvalue's with the strongest one."""
    first, second = np.diff(top), np.diff(test)
    lags = range(-reach, reach + 1)
    if len(first) < 2 * reach + 3:
        return _correlation(first, second), 0
    shifted = [_correlation(*_lagged(first, second, lag)) for lag in lags]
    best = max(range(len(shifted)), key=lambda index: abs(np.nan_to_num(shifted[index])))
    return shifted[reach], lags[best]


def _lagged(first: np.ndarray, second: np.ndarray, lag: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (first at t, second at t + lag)."""
    if lag < 0:
        second, first = _lagged(second, first, -lag)
        return first, second
    return first[: len(first) - lag], second[lag:]


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's; NaN where one of them does not vary."""
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return np.nan
    return float(np.corrcoef(first, second)[0, 1])


def _at_level(train: np.ndarray, other: np.ndarray) -> float:
    """Value, interpolated, where the training loss first falls to `LEVEL`; NaN if it never does."""
    below = np.flatnonzero(train <= LEVEL)
    if not len(below) or below[0] == 0:
        return np.nan
    after, before = below[0], below[0] - 1
    share = (train[before] - LEVEL) / (train[before] - train[after])
    return float(other[before] + share * (other[after] - other[before]))


def _add_order(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    if "width" not in table or table["width"].nunique() < 3 or "start" not in table:
        return table
    for name, pair in ORDERS.items():
        found = table.groupby(keys)[list(pair)].apply(_rank_correlation)
        table = table.merge(found.rename(name).reset_index(), on=keys)
    return table


def _rank_correlation(runs: pd.DataFrame) -> float:
    """Spearman's, of two columns; NaN of fewer than three rows that have both."""
    kept = runs.dropna()
    return float(kept.corr("spearman").iloc[0, 1]) if len(kept) > 2 else np.nan
