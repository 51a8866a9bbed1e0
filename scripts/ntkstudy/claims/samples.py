"""What a criterion reads from a table: one sample over seeds per point of an axis."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
import pandas as pd

from ntkflow.errors import ConfigurationError

from .registry import Criterion
from .uncertainty import Estimate, Interval, evaluate, interval, log_estimate, mean_estimate

# What the repetitions of an axis are, where a criterion does not say it.
COUNTED = {"seed": "networks", "data_seed": "splits", "sample": "images"}


class AbsentError(Exception):
    """What a criterion needs was not run; the message says what."""


@dataclass(frozen=True)
class Sample:
    """Values of a criterion: one array over seeds per point of the axis it runs along.

    A table without seeds is exact: one value a point, which no other draw would change.
    """

    points: np.ndarray
    values: list[np.ndarray]
    note: str
    exact: bool = False
    expected: np.ndarray | None = None  # one value per point
    counts: str = ""  # what the draws are

    @property
    def n(self) -> int:
        """Draws at the point that has fewest."""
        return min(len(values) for values in self.values)

    def statistics(self, name: str) -> np.ndarray:
        """A statistic at every point; of exact values they themselves."""
        return np.array(
            [values[0] if self.exact else evaluate(values, name) for values in self.values],
            dtype=float,
        )

    def intervals(self, name: str) -> list[Interval]:
        """The interval of a statistic at every point."""
        if self.exact:
            return [Interval.exact(float(values[0])) for values in self.values]
        return [interval(values, name) for values in self.values]

    def mean_estimates(self) -> list[Estimate]:
        """The mean at every point."""
        if self.exact:
            return [Estimate(float(values[0]), 0.0, inf) for values in self.values]
        return [mean_estimate(values) for values in self.values]

    def log_estimates(self, name: str) -> list[Estimate]:
        """The logarithm of a positive statistic at every point."""
        if self.exact:
            return [Estimate(float(np.log(values[0])), 0.0, inf) for values in self.values]
        return [log_estimate(values, name) for values in self.values]

    @staticmethod
    def read(
        options: Criterion,
        requires: Mapping[str, Any],
        tables: Mapping[str, pd.DataFrame],
        *,
        trend: bool = False,
    ) -> "Sample":
        """Sample of a criterion.

        An option `along` names the axis of the points. An option `expected` is a column with the
        expected value of each point, pairs [point, value], or a number, which is not for here.

        Args:
            options: of the criterion.
            requires: what the claim requires: points of axes, and `seeds` at each of them.
            tables: tables of the claim's experiment by name.
            trend: whether there must be two points.

        Raises:
            AbsentError: if the table, an axis, a point or enough seeds are missing.
            ConfigurationError: if a column is unknown or `where` leaves several rows per seed.
        """
        if options.table not in tables:
            raise AbsentError(f"table {options.table} was not made at this scale")
        table, where = tables[options.table], options.where
        along, expected = (getattr(options, name, None) for name in ("along", "expected"))
        _require_points(table, requires)
        if options.over in table:
            table = table.assign(seed=table[options.over])
        exact = "seed" not in table
        if exact:
            table = table.assign(seed=0)
        axes = [along] if isinstance(along, str) else along or []
        keys = [*axes, "seed"]
        series = _select(table, options.column, where, keys)
        if options.relative_to is not None:
            series = _relative(series, table, options, keys)
        if isinstance(expected, list):
            series = _matching(series, along, [point for point, _ in expected])
        known = None
        if isinstance(expected, str):
            column = _select(table, expected, where, keys)
            known = column.groupby(level=along).mean().to_numpy()
        groups = series.groupby(level=along) if along else [(0, series)]
        points, values = zip(*((point, group.to_numpy()) for point, group in groups), strict=True)
        # A point where every seed diverged stays, with no seeds, so that it is missed below.
        finite = [one[np.isfinite(one)] for one in values]
        lost = len(series) - sum(map(len, finite))
        note = f"values left out (diverged, or did not get there): {lost}" if lost else ""
        counts = options.counts or COUNTED.get(options.over or "seed", options.over)
        sample = Sample(np.array(points), finite, note, exact, known, counts)
        if not exact:
            required = requires.get(along, points) if isinstance(along, str) else points
            sample.require_seeds(requires.get("seeds", 2), [one in required for one in points])
        if trend and len(points) < 2:
            raise AbsentError(f"needs two values of {along}, this scale has {points[0]}")
        return sample

    def require_seeds(self, needed: int, required: Sequence[bool]) -> None:
        """Enough seeds at the points that the claim requires; two at any others that were run."""
        for at_required, values in zip(required, self.values, strict=True):
            least = needed if at_required else 2
            if len(values) < least:
                left = f" ({self.note})" if self.note else ""
                raise AbsentError(f"needs {least} seeds, this scale has {len(values)}{left}")


def _require_points(table: pd.DataFrame, requires: Mapping[str, Any]) -> None:
    for axis, points in requires.items():
        if axis != "seeds":
            missing = [
                point
                for point in points
                if axis not in table or not rows_with(table[axis], point).any()
            ]
            if missing:
                raise AbsentError(f"needs {axis} {', '.join(map(str, missing))}, not run here")


def _select(
    table: pd.DataFrame, column: str, where: Mapping[str, Any], keys: list[str]
) -> pd.Series:
    """Column of the rows that match `where`, indexed by `keys`, which must tell them apart."""
    if column not in table:
        raise ConfigurationError(
            f"column: {column!r} is not in the table; allowed: {', '.join(table)}"
        )
    for axis in [*where, *keys]:
        if axis not in table:
            raise AbsentError(f"needs the axis {axis}, which is not swept or measured here")
    for axis, wanted in where.items():
        table = table[rows_with(table[axis], wanted)]
    if table.empty:
        raise AbsentError(f"no rows with {dict(where)} in the table")
    series = table.set_index(keys)[column]
    if series.index.has_duplicates:
        raise ConfigurationError(
            f"where: {dict(where)} leaves several rows per {' and '.join(keys)}; "
            "allowed: a `where` that leaves one"
        )
    return series


def _relative(
    series: pd.Series, table: pd.DataFrame, options: Criterion, keys: list[str]
) -> pd.Series:
    """Seed by seed over the rows of `relative_to`: one for all points of an axis that it names."""
    fixed = [key for key in keys if key in options.relative_to]
    shared = [key for key in keys if key not in fixed]
    base = _select(table, options.column, options.where | options.relative_to, shared)
    index = series.index.droplevel(fixed) if fixed else series.index
    ratio = (series / base.reindex(index).to_numpy())[index.isin(base.index)]
    for axis in keys[:-1]:
        points, left = (set(each.index.get_level_values(axis)) for each in (series, ratio))
        if points != left:
            missing = ", ".join(map(str, sorted(points - left)))
            raise AbsentError(f"no seed to compare with at {axis} {missing}")
    return ratio


def _matching(series: pd.Series, along: str, points: list) -> pd.Series:
    """The values at the points that a criterion expects, all of which must have been run."""
    values = series.index.get_level_values(along).to_series(index=series.index)
    masks = {point: rows_with(values, point) for point in points}
    missing = [f"{point:g}" for point, mask in masks.items() if not mask.any()]
    if missing:
        raise AbsentError(f"needs {along} {', '.join(missing)}, not run here")
    return series[np.any(list(masks.values()), axis=0)]


def rows_with(values: pd.Series, wanted: Any) -> pd.Series:
    """Mask of the rows with a value: `min`, `max`, or equal to so many digits as people write.

    A list [low, high] takes the values from low to high, both included.
    """
    if isinstance(wanted, list):
        return values.between(*wanted)
    if wanted in ("min", "max"):
        wanted = getattr(values, wanted)()
    if not pd.api.types.is_float_dtype(values):
        return values == wanted
    # Tables hold nine digits. Near zero only zero itself matches, however small the others are.
    return pd.Series(np.isclose(values, wanted, rtol=1e-5, atol=1e-12), index=values.index)
