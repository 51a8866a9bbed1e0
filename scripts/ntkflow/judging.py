"""Judge claims from tables: a verdict follows from criteria, each with its uncertainty over seeds.

A criterion reduces a table to one number per group of seeds (or one per value of an axis), gives it
a 95 % interval, and compares the interval with what the claim allows: it *holds* if the interval
lies inside, *fails* if it lies outside, and *straddles* a bound otherwise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf
from typing import Any

import numpy as np
import pandas as pd

from .errors import ConfigurationError
from .uncertainty import STATISTICS, bootstrap_interval, interval, log_std_reach, resample


@dataclass(frozen=True)
class Judgement:
    """One criterion judged: the number, its interval, what was allowed, and the status."""

    role: str
    kind: str
    description: str
    value: float | None
    low: float | None
    high: float | None
    allowed: str
    n_seeds: int | None
    status: str  # holds, fails, straddles, absent or, of an excess, measured
    note: str = ""


# Kinds that compare points of an axis.
_TRENDS = ("slope", "decreasing", "increasing", "intercept", "linear")


class _AbsentError(Exception):
    """What a criterion needs was not run; the message says what."""


def judge_claim(claim: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """Judge one claim.

    Args:
        claim: an entry of claims.yaml.
        tables: the tables of the claim's experiment by name; empty if it was not run.

    Returns:
        The claim's texts with `verdict`, `reason`, `measured` and `criteria` added.

    Raises:
        ConfigurationError: if a criterion names a column that its table lacks, or its `where`
            leaves several rows per seed.
    """
    try:
        judged = [
            judge_criterion(
                criterion, role, claim.get("requires", {}) if role != "excess" else {}, tables
            )
            for role in ("observation", "explanation", "correction", "excess")
            for criterion in claim["criteria"].get(role, [])
        ]
    except ConfigurationError as error:
        raise ConfigurationError(f"{claim['id']}: {error}") from None
    verdict, reason = decide(judged)
    return {
        "id": claim["id"],
        "source": claim["source"],
        "section": claim["section"],
        "experiment": claim["experiment"],
        "statement": claim["statement"],
        "published": claim["published"],
        "measured": summarise(judged),
        "verdict": verdict,
        "reason": reason,
        "flags": list(claim.get("flags", [])),
        "criteria": [asdict(one) for one in judged],
        "explanation": claim["explanation"],
        "figures": list(claim.get("figures", [])),
    }


def decide(judged: Sequence[Judgement]) -> tuple[str, str]:
    """Verdict and reason from the criteria.

    Anything absent: not run. Observation fails: contradicted. Explanation fails and correction
    holds: corrected; without a correction that holds: contradicted. All hold: reproduced. An
    interval across a bound where the verdict hangs on it: inconclusive. The role `excess` is shown
    beside the verdict and has no part in it.
    """
    absent = [one.note for one in judged if one.status == "absent" and one.role != "excess"]
    if absent:
        return "not run", absent[0]
    observation, explanation, correction = (
        _combine(one.status for one in judged if one.role == role)
        for role in ("observation", "explanation", "correction")
    )
    if observation == "fails":
        return "contradicted", "the observation does not appear"
    if observation == "straddles" or explanation == "straddles":
        return "inconclusive", "an interval straddles its bound"
    if explanation == "holds":
        return "reproduced", ""
    if not any(one.role == "correction" for one in judged) or correction == "fails":
        return "contradicted", "the observation appears, its explanation fails"
    if correction == "straddles":
        return "inconclusive", "the correction's interval straddles its bound"
    return "corrected", "the observation appears, its explanation fails, the correction holds"


def _combine(statuses) -> str:
    found = set(statuses)
    return next((status for status in ("fails", "straddles") if status in found), "holds")


def summarise(judged: Sequence[Judgement]) -> str:
    """Measured numbers of a claim in one line."""
    parts = []
    for one in judged:
        if one.value is None:
            continue
        text = f"{one.value:.4g}"
        if one.low is not None and one.high is not None:
            text += f" [{one.low:.4g}, {one.high:.4g}]"
        parts.append(f"{one.description}: {text}")
    return "; ".join(parts)


def judge_criterion(
    criterion: Mapping[str, Any],
    role: str,
    requires: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame],
) -> Judgement:
    """Judge one criterion; what is missing makes it absent, with the reason in its note."""
    texts = dict(role=role, kind=criterion["kind"], description=criterion["description"])
    try:
        sample = _Sample.read(criterion, requires, tables)
    except _AbsentError as reason:
        return Judgement(
            **texts, value=None, low=None, high=None, allowed=_allowed(criterion),
            n_seeds=None, status="absent", note=str(reason),
        )  # fmt: skip
    value, low, high, status = _KINDS[criterion["kind"]](criterion, sample)
    return Judgement(
        **texts, value=value, low=_finite(low), high=_finite(high), allowed=_allowed(criterion),
        n_seeds=None if sample.exact else sample.n_seeds, status=status, note=sample.note,
    )  # fmt: skip


def _finite(bound: float | None) -> float | None:
    """An open end is None: JSON knows no infinity."""
    return bound if bound is not None and np.isfinite(bound) else None


@dataclass(frozen=True)
class _Sample:
    """Values of a criterion: one array over seeds per point of the axis it runs along.

    A table without seeds is exact: each of its values counts as a sample without spread.
    """

    points: np.ndarray
    values: list[np.ndarray]
    note: str
    exact: bool = False
    expected: np.ndarray | None = None  # one value per point

    @property
    def n_seeds(self) -> int:
        return min(len(values) for values in self.values)

    @staticmethod
    def read(criterion, requires, tables) -> "_Sample":
        name = criterion["table"]
        if name not in tables:
            raise _AbsentError(f"table {name} was not made at this scale")
        table, where, along = tables[name], criterion.get("where", {}), criterion.get("along")
        _require_points(table, requires)
        exact = "seed" not in table
        if exact:
            table = pd.concat([table.assign(seed=seed) for seed in (0, 1)], ignore_index=True)
        axes = [along] if isinstance(along, str) else along or []
        keys = [*axes, "seed"]
        series = _select(table, criterion["column"], where, keys)
        if "relative_to" in criterion:
            series = _relative(series, table, criterion, where, keys)
        if criterion["kind"] == "matches":
            series = _matching(series, along, [point for point, _ in criterion["expected"]])
        expected = None
        if criterion["kind"] == "agrees":
            known = _select(table, criterion["expected"], where, keys)
            expected = known.groupby(level=along).mean().to_numpy()
        groups = series.groupby(level=along) if along else [(0, series)]
        points, values = zip(*((point, group.to_numpy()) for point, group in groups), strict=True)
        # A point where every seed diverged stays, with no seeds, so that it is missed below.
        finite = [one[np.isfinite(one)] for one in values]
        lost = len(series) - sum(map(len, finite))
        note = f"values left out because their networks diverged: {lost}" if lost else ""
        sample = _Sample(np.array(points), finite, note, exact, expected)
        if not exact:
            required = requires.get(along, points) if isinstance(along, str) else points
            sample.require_seeds(requires.get("seeds", 2), [one in required for one in points])
        if criterion["kind"] in _TRENDS and len(points) < 2:
            raise _AbsentError(f"needs two values of {along}, this scale has {points[0]}")
        return sample

    def require_seeds(self, needed: int, required: Sequence[bool]) -> None:
        """Enough seeds at the points that the claim requires; two at any others that were run."""
        for at_required, values in zip(required, self.values, strict=True):
            least = needed if at_required else 2
            if len(values) < least:
                left = f" ({self.note})" if self.note else ""
                raise _AbsentError(f"needs {least} seeds, this scale has {len(values)}{left}")


def _require_points(table: pd.DataFrame, requires: Mapping[str, Any]) -> None:
    for axis, points in requires.items():
        if axis != "seeds":
            missing = [
                point
                for point in points
                if axis not in table or not _rows(table[axis], point).any()
            ]
            if missing:
                raise _AbsentError(f"needs {axis} {', '.join(map(str, missing))}, not run here")


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
            raise _AbsentError(f"needs the axis {axis}, which is not swept or measured here")
    for axis, wanted in where.items():
        table = table[_rows(table[axis], wanted)]
    if table.empty:
        raise _AbsentError(f"no rows with {dict(where)} in the table")
    series = table.set_index(keys)[column]
    if series.index.has_duplicates:
        raise ConfigurationError(
            f"where: {dict(where)} leaves several rows per {' and '.join(keys)}; "
            "allowed: a `where` that leaves one"
        )
    return series


def _relative(
    series: pd.Series, table: pd.DataFrame, criterion: Mapping, where: Mapping, keys: list[str]
) -> pd.Series:
    """Seed by seed over the rows of `relative_to`: one for all points of an axis that it names."""
    fixed = [key for key in keys if key in criterion["relative_to"]]
    shared = [key for key in keys if key not in fixed]
    base = _select(table, criterion["column"], where | criterion["relative_to"], shared)
    index = series.index.droplevel(fixed) if fixed else series.index
    ratio = series / base.reindex(index).to_numpy()
    return ratio[index.isin(base.index)]


def _matching(series: pd.Series, along: str, points: list) -> pd.Series:
    """The values at the points that a criterion expects, all of which must have been run."""
    values = series.index.get_level_values(along).to_series(index=series.index)
    masks = {point: _rows(values, point) for point in points}
    missing = [f"{point:g}" for point, mask in masks.items() if not mask.any()]
    if missing:
        raise _AbsentError(f"needs {along} {', '.join(missing)}, not run here")
    return series[np.any(list(masks.values()), axis=0)]


def _rows(values: pd.Series, wanted: Any) -> pd.Series:
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


# Criteria


def _inside(low: float, high: float, lower: float, upper: float) -> str:
    if lower <= low and high <= upper:
        return "holds"
    return "fails" if high < lower or low > upper else "straddles"


def _deciding(values, intervals, allowed: tuple[float, float], badness):
    """Value, interval and status of the point that decides: the worst status, then the worst value.

    So the interval that a reader sees is the one that the status follows from.
    """
    statuses = [_inside(*each, *allowed) for each in intervals]
    worst = _combine(statuses)
    index = max((i for i, one in enumerate(statuses) if one == worst), key=lambda i: badness[i])
    return float(values[index]), *intervals[index], worst


def _statistic(criterion) -> str:
    return criterion.get("statistic", "mean")


def _within(criterion, sample: _Sample):
    """The statistic lies in the allowed range at every point."""
    name, (lower, upper) = _statistic(criterion), criterion["range"]
    found = [float(STATISTICS[name](values, axis=0)) for values in sample.values]
    intervals = [interval(values, name) for values in sample.values]
    distances = np.abs(np.array(found) - (lower + upper) / 2)
    return _deciding(found, intervals, (lower, upper), distances)


def _matches(criterion, sample: _Sample):
    """The mean at every point is the expected one."""
    tolerance = criterion["tolerance"]
    expected = np.array([value for _, value in sorted(criterion["expected"])])
    differences = [values - wanted for values, wanted in zip(sample.values, expected, strict=True)]
    intervals = [interval(values, "mean") for values in differences]
    means = [values.mean() for values in differences]
    return _deciding(means, intervals, (-tolerance, tolerance), np.abs(means))


def _slope(criterion, sample: _Sample):
    """The statistic is a power law along an axis: slope in log-log axes in the allowed range."""
    name = _statistic(criterion)
    exact = np.array([STATISTICS[name](values, axis=0) for values in sample.values])
    if exact.min() <= 0:  # no power law, and no logarithm
        return None, None, None, "fails"
    log_points = np.log(sample.points.astype(float))
    weights = log_points - log_points.mean()
    weights = weights / (weights**2).sum()
    value = float(weights @ np.log(exact))
    if name == "std":
        reach = log_std_reach(sample.values, weights)
        low, high = value - reach, value + reach
    else:
        draws = np.stack([resample(values, name) for values in sample.values])
        logs = np.log(np.maximum(draws, np.finfo(float).tiny))
        low, high = bootstrap_interval(weights @ logs, sample.n_seeds)
    return value, low, high, _inside(low, high, *criterion["range"])


def _intercept(criterion, sample: _Sample):
    """The mean is a + b x^power along an axis, by least squares, with a in the allowed range."""
    points = sample.points.astype(float) ** criterion["power"]
    # a is linear in the means: its weights are the first row of the design's pseudo-inverse.
    weights = np.linalg.pinv(np.stack([np.ones_like(points), points], axis=1))[0]
    value = float(weights @ np.array([values.mean() for values in sample.values]))
    draws = weights @ np.stack([resample(values, "mean") for values in sample.values])
    low, high = bootstrap_interval(draws, sample.n_seeds)
    return value, low, high, _inside(low, high, *criterion["range"])


def _linear(criterion, sample: _Sample):
    """The means lie on a line along an axis: R^2 of the least-squares fit above a bound."""
    points = sample.points.astype(float)
    design = np.stack([np.ones_like(points), points], axis=1)
    residual = np.eye(len(points)) - design @ np.linalg.pinv(design)

    def explained(means: np.ndarray) -> np.ndarray:
        deviation = means - means.mean(0)
        return 1 - np.square(residual @ means).sum(0) / np.square(deviation).sum(0)

    value = float(explained(np.array([[values.mean()] for values in sample.values]))[0])
    draws = explained(np.stack([resample(values, "mean") for values in sample.values]))
    low, high = bootstrap_interval(draws, sample.n_seeds)
    return value, low, high, _inside(low, high, criterion["bound"], inf)


def _consistent(criterion, sample: _Sample):
    """The mean over seeds is within so many standard errors of the expected value."""
    [values] = sample.values
    mean, error = values.mean(), values.std(ddof=1) / np.sqrt(len(values))
    near = abs(mean - criterion["expected"]) <= criterion["standard_errors"] * error
    return float(mean), *interval(values, "mean"), "holds" if near else "fails"


def _agrees(criterion, sample: _Sample):
    """The statistic is near the expected column at every point; reported in standard errors.

    The standard error is the spread of the bootstrap distribution.
    """
    name, distances = _statistic(criterion), []
    for values, expected in zip(sample.values, sample.expected, strict=True):
        error = resample(values, name).std()
        distances.append(abs(STATISTICS[name](values, axis=0) - expected) / error)
    largest = float(max(distances))
    return largest, None, None, "holds" if largest <= criterion["standard_errors"] else "fails"


def _above(criterion, sample: _Sample):
    """The mean over seeds is above a bound at every point."""
    means = np.array([values.mean() for values in sample.values])
    intervals = [interval(values, "mean") for values in sample.values]
    return _deciding(means, intervals, (criterion["bound"], inf), -means)


def _below(criterion, sample: _Sample):
    """The mean over seeds is below a bound at every point."""
    means = np.array([values.mean() for values in sample.values])
    intervals = [interval(values, "mean") for values in sample.values]
    return _deciding(means, intervals, (-inf, criterion["bound"]), means)


def _decreasing(criterion, sample: _Sample):
    """The mean falls from each point to the next."""
    return _deciding(*_steps(sample), (-inf, 0.0), _steps(sample)[0])


def _increasing(criterion, sample: _Sample):
    """The mean rises from each point to the next."""
    return _deciding(*_steps(sample), (0.0, inf), -_steps(sample)[0])


def _steps(sample: _Sample) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Differences of the mean from point to point, and their intervals."""
    means = np.array([values.mean() for values in sample.values])
    draws = np.stack([resample(values, "mean") for values in sample.values])
    steps = np.diff(draws, axis=0)
    return np.diff(means), [bootstrap_interval(step, sample.n_seeds) for step in steps]


def _draw(criterion, sample: _Sample):
    """A published single run is a plausible draw: so few standard deviations from the mean."""
    [values] = sample.values
    mean, reach = values.mean(), criterion["deviations"] * values.std(ddof=1)
    inside = abs(criterion["expected"] - mean) <= reach
    return float(mean), float(mean - reach), float(mean + reach), "holds" if inside else "fails"


def _dip(criterion, sample: _Sample):
    """The mean at a point is below those of both neighbours by so many standard errors."""
    place = int(np.flatnonzero(sample.points == criterion["at"])[0])
    low, *around = (sample.values[place + shift] for shift in (0, -1, 1))
    depths = [
        (values.mean() - low.mean())
        / np.sqrt(values.var(ddof=1) / len(values) + low.var(ddof=1) / len(low))
        for values in around
    ]
    holds = min(depths) >= criterion["standard_errors"]
    return float(min(depths)), None, None, "holds" if holds else "fails"


def _measured(criterion, sample: _Sample):
    """The statistic and its interval, for numbers that are shown and not judged."""
    [values] = sample.values
    name = _statistic(criterion)
    return float(STATISTICS[name](values, axis=0)), *interval(values, name), "measured"


_KINDS = {
    "within": _within,
    "matches": _matches,
    "slope": _slope,
    "intercept": _intercept,
    "linear": _linear,
    "consistent": _consistent,
    "agrees": _agrees,
    "above": _above,
    "below": _below,
    "decreasing": _decreasing,
    "increasing": _increasing,
    "draw": _draw,
    "dip": _dip,
    "measured": _measured,
}


def _allowed(criterion: Mapping[str, Any]) -> str:
    match criterion["kind"]:
        case "within" | "slope" | "intercept":
            return f"{criterion['range'][0]:g} to {criterion['range'][1]:g}"
        case "consistent":
            return (
                f"{criterion['expected']:g} within {criterion['standard_errors']:g} standard errors"
            )
        case "matches":
            return f"published values within {criterion['tolerance']:g}"
        case "agrees":
            return f"at most {criterion['standard_errors']:g} standard errors everywhere"
        case "linear":
            return f"R² above {criterion['bound']:g}"
        case "draw":
            return f"{criterion['expected']:g} within {criterion['deviations']:g} deviations"
        case "dip":
            return f"at least {criterion['standard_errors']:g} standard errors"
        case "measured":
            return ""
        case "above" | "below" as kind:
            return f"{kind} {criterion['bound']:g} everywhere"
    return f"{criterion['kind']} along {criterion['along']}"
