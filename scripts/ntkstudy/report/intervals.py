"""Statistics over seeds with their intervals, as error bars.

Apart from `plotting`, so that figures without them do not depend on how claims are judged.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ..claims.uncertainty import Interval, evaluate, interval, linear_interval, log_estimate
from ..numbers import MINUS


def draw_intervals(
    axes: Axes, places: Iterable, samples: Sequence[np.ndarray], statistic: str, **style: Any
) -> None:
    """A statistic of samples over seeds against their places, with its 95 % interval as a bar."""
    centres = np.array([evaluate(sample, statistic) for sample in samples])
    ends = np.array([interval(sample, statistic).ends for sample in samples])
    axes.errorbar(places, centres, np.abs(ends.T - centres), **style)


def slope_interval(table: pd.DataFrame, along: str, column: str) -> tuple[float, Interval]:
    """Least-squares slope of the log of the mean over seeds against the log of an axis.

    Args:
        table: a row a seed and a value of the axis; rows without a value are left out.
        along: column of the axis.
        column: column of the quantity, positive.

    Returns:
        The slope, and its 95 % interval.
    """
    samples = [(point, rows.to_numpy()) for point, rows in table.dropna().groupby(along)[column]]
    places = np.log([float(point) for point, _ in samples])
    weights = places - places.mean()
    weights = weights / (weights**2).sum()
    estimates = [log_estimate(sample, "mean") for _, sample in samples]
    slope = sum(w * each.value for w, each in zip(weights, estimates, strict=True))
    return float(slope), linear_interval(estimates, weights)


def tell_slope(table: pd.DataFrame, along: str, column: str) -> str:
    """A slope with half of its interval, for a legend: "−0.51 ± 0.03"; see `slope_interval`."""
    slope, found = slope_interval(table[[along, column]], along, column)
    half = (found.high - found.low) / 2
    text = f"{slope:.2f} ± {half:.2f}" if np.isfinite(half) else f"{slope:.2f}"
    return text.replace("-", MINUS)
