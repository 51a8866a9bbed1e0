"""Trained networks against the infinitely wide network at the same training time."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd

from ..data.tables import axes_of, with_axes
from .jackknife import pseudo_values


def compare_function(trained: pd.DataFrame, predicted: pd.DataFrame) -> pd.DataFrame:
    """Relative errors of trained functions at the last step, per cell and seed.

    RelErr(f, g) = |f - g| / |g| in the norm of the evaluation grid.

    Args:
        trained: table of `function` measurements: swept axes, seed, step and, last, that of the
            evaluation inputs, such as gamma; f_0.
        predicted: table of predictions: some of the axes, mean, ridge, deviation.

    Returns:
        Columns: swept axes, seed, and

        - `to_ridge`, `to_mean`: RelErr against ridge regression, i.e. t = infinity, and against the
          mean at the same step; `limit_to_ridge`: that of the mean against ridge regression;
        - `inside`: fraction of the grid where f is within the 10th and 90th percentile of the
          Gaussian process, 0.8 if networks are distributed like it; NaN where its deviation is 0;
        - `average_to_ridge`, `average_to_mean`: jackknife pseudo-values of the RelErr of the
          average over seeds. Their mean is that RelErr, corrected for the noise of few seeds; their
          standard error is its own (`jackknife.pseudo_values`);
        - `average_to_widths`: the same of the largest RelErr of the average against the average at
          another width.
    """
    probe = axes_of(trained)[-1]
    joined = _join_last_step(trained, predicted, on=[probe])
    axes = axes_of(trained, besides=("seed", "step", probe))
    functions, limits = {}, {}
    for cell, group in joined.groupby(axes, dropna=False) if axes else [((), joined)]:
        functions[cell] = group.pivot(index="seed", columns=probe, values="f_0")
        limits[cell] = group.drop_duplicates(probe).sort_values(probe)
    rows = []
    for cell, each in functions.items():
        values = each.to_numpy()
        ridge, mean = (limits[cell][name].to_numpy() for name in ("ridge", "mean"))
        columns = dict(zip(axes, cell, strict=True)) | {
            "seed": each.index,
            "to_ridge": relative_error(values, ridge),
            "to_mean": relative_error(values, mean),
            "limit_to_ridge": relative_error(mean, ridge),
            "inside": _inside(values, mean, limits[cell]["deviation"].to_numpy()),
            "average_to_ridge": _pseudo_values([values], [ridge]),
            "average_to_mean": _pseudo_values([values], [mean]),
        }
        others = [functions[other].to_numpy() for other in _other_widths(cell, functions, axes)]
        if others:
            columns["average_to_widths"] = _pseudo_values([values, *others])
        rows.append(pd.DataFrame(columns))
    return with_axes(pd.concat(rows, ignore_index=True), [*axes, "seed"])


def compare_modes(trained: pd.DataFrame, predicted: pd.DataFrame) -> pd.DataFrame:
    """Fourier amplitudes of trained and predicted functions at the last step.

    Args:
        trained: table of `modes` measurements with columns seed, step, mode, amplitude, ...
        predicted: the same of predictions, without seed.

    Returns:
        The last step's rows of `trained` for the modes of the target, with the prediction's
        `predicted_amplitude`, their `ratio`, and `learned`, the amplitude over the target's.
    """
    keep = predicted.rename(columns={"amplitude": "predicted_amplitude"})
    keep = keep.drop(columns=["target", "target_phase", "residual"])
    joined = _join_last_step(trained[trained["target"] > 1e-9], keep, on=["mode"])
    return joined.assign(
        ratio=joined["amplitude"] / joined["predicted_amplitude"],
        learned=joined["amplitude"] / joined["target"],
    )


def compare_movement(trained: pd.DataFrame, predicted: pd.DataFrame) -> pd.DataFrame:
    """Distance of the weights from their start at the last step, against lazy training.

    Args:
        trained: table of `movement` measurements with columns seed, step, distance, relative.
        predicted: table of lazy distances, without seed.

    Returns:
        The last step's rows of `trained` with `lazy_distance` and the `ratio` of the two.
    """
    keep = predicted.rename(columns={"distance": "lazy_distance"})
    joined = _join_last_step(trained, keep, on=[])
    return joined.assign(ratio=joined["distance"] / joined["lazy_distance"])


COMPARISONS: dict[str, Callable[[pd.DataFrame, pd.DataFrame], pd.DataFrame]] = {
    "function": compare_function,
    "modes": compare_modes,
    "movement": compare_movement,
}


def relative_error(values: np.ndarray, reference: np.ndarray) -> np.ndarray | float:
    """|f - g| / |g| along the last axis."""
    return np.linalg.norm(values - reference, axis=-1) / np.linalg.norm(reference, axis=-1)


def _inside(values: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray | float:
    """Fraction of the grid where values (S, N) lie between the Gaussian's 10th and 90th percentile.

    Points without deviation, such as training points at the end of training, do not count.
    """
    random = deviation > 1e-6 * max(1e-300, np.abs(mean).max())
    if not random.any():
        return np.nan
    distances = np.abs(values - mean)[:, random]
    return (distances < 1.2816 * deviation[random]).mean(axis=1)


def _other_widths(cell: tuple, cells: Iterable[tuple], axes: list[str]) -> list[tuple]:
    """The cells that differ from this one in their width only."""
    return [
        other
        for other in cells
        if [axes[i] for i in range(len(axes)) if other[i] != cell[i]] == ["width"]
    ]


def _pseudo_values(samples: list[np.ndarray], references: Sequence[np.ndarray] = ()) -> np.ndarray:
    """Jackknife pseudo-values of an error E of averages over seeds.

    E is the largest RelErr of the first sample's average against a reference or another sample's
    average. Samples (S, N) lose their i-th seed together. Seeds that another sample has not, or
    that diverged in one of them, count in none and get NaN.
    """
    shared = min(map(len, samples))
    alive = np.all([np.isfinite(sample[:shared]).all(axis=1) for sample in samples], axis=0)
    seeds = np.flatnonzero(alive)

    def error(kept: np.ndarray) -> float:
        first, *others = (sample[kept].mean(axis=0) for sample in samples)
        return max(relative_error(first, other) for other in [*references, *others])

    found = np.full(len(samples[0]), np.nan)
    if len(seeds):
        found[seeds] = pseudo_values(error, seeds)
    return found


def _join_last_step(trained: pd.DataFrame, predicted: pd.DataFrame, on: list[str]) -> pd.DataFrame:
    """Rows of the last step of each cell, joined on the axes of `predicted`, `on` among them."""
    swept = axes_of(predicted, besides=("step", *on))
    keys = {"on": [*swept, *on]} if swept or on else {"how": "cross"}
    last = _last_step(predicted, swept).drop(columns="step")
    rows = _last_step(trained, axes_of(trained, besides=("seed", "step", *on)))
    return with_axes(rows.merge(last, **keys, validate="many_to_one"), axes_of(trained))


def _last_step(table: pd.DataFrame, swept: list[str]) -> pd.DataFrame:
    last = table.groupby(swept)["step"].transform("max") if swept else table["step"].max()
    return table[table["step"] == last]
