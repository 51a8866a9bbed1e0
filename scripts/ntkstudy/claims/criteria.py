"""The kinds of criteria: each compares a number and its interval with what a claim allows.

A function of options and a sample gives the value, the two ends of its interval and the status:
it *holds* if the interval lies inside what is allowed, *fails* if it lies outside, and *straddles*
a bound otherwise. `consistent` and `agrees` count standard errors and hold or fail.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from typing import Annotated

import numpy as np
from scipy import stats

from ..options import Rule
from .registry import Criterion, Outcome, WithStatistic, criterion
from .samples import Sample
from .uncertainty import (
    STATISTICS,
    bootstrap_interval,
    interval,
    log_std_reach,
    resample,
    student_interval,
)


def combine(statuses: Iterable[str]) -> str:
    """The worst of several statuses; `holds` of none."""
    found = set(statuses)
    return next((status for status in ("fails", "straddles") if status in found), "holds")


def _inside(low: float, high: float, lower: float, upper: float) -> str:
    if lower <= low and high <= upper:
        return "holds"
    return "fails" if high < lower or low > upper else "straddles"


def _deciding(values, intervals, allowed: tuple[float, float], badness):
    """Value, interval and status of the point that decides: the worst status, then the worst value.

    So the interval that a reader sees is the one that the status follows from.
    """
    statuses = [_inside(*each, *allowed) for each in intervals]
    worst = combine(statuses)
    index = max((i for i, one in enumerate(statuses) if one == worst), key=lambda i: badness[i])
    return float(values[index]), *intervals[index], worst


# Options that several criteria have.
Range = Annotated[list[float], Rule("allowed values, lowest and highest", minItems=2, maxItems=2)]
StandardErrors = Annotated[float, Rule("how many standard errors", exclusiveMinimum=0)]
Along = Annotated[str, Rule("axis whose points are compared")]
Axes = Annotated[str | list[str], Rule("axis, or axes")]


@dataclass(frozen=True, kw_only=True)
class Bound(Criterion):
    """Every point on one side of a bound."""

    along: Annotated[str, Rule("axis at whose every point the bound holds")]
    bound: Annotated[float, Rule("lowest or highest value")]


@dataclass(frozen=True, kw_only=True)
class Trend(Criterion):
    """From each point to the next in one direction."""

    along: Along


@dataclass(frozen=True, kw_only=True)
class Within(WithStatistic):
    """A range."""

    range: Range
    along: Annotated[str | None, Rule("axis at whose every point the range holds")] = None


@criterion("within", options=Within, allowed="{range[0]:g} to {range[1]:g}")
def _within(options: Within, sample: Sample) -> Outcome:
    """The statistic lies in the allowed range at every point."""
    name, (lower, upper) = options.statistic, options.range
    found = [float(STATISTICS[name](values, axis=0)) for values in sample.values]
    intervals = [interval(values, name) for values in sample.values]
    distances = np.abs(np.array(found) - (lower + upper) / 2)
    return _deciding(found, intervals, (lower, upper), distances)


@dataclass(frozen=True, kw_only=True)
class Matches(Criterion):
    """Published values at several points."""

    along: Annotated[str, Rule("axis of the points")]
    expected: Annotated[
        list[Annotated[list[float], Rule(minItems=2, maxItems=2)]],
        Rule("pairs [point, published mean]", minItems=1),
    ]
    tolerance: Annotated[float, Rule("largest difference", exclusiveMinimum=0)]


@criterion("matches", options=Matches, allowed="expected values within {tolerance:g}")
def _matches(options: Matches, sample: Sample) -> Outcome:
    """The mean at every point is the expected one."""
    tolerance = options.tolerance
    expected = np.array([value for _, value in sorted(options.expected)])
    differences = [values - wanted for values, wanted in zip(sample.values, expected, strict=True)]
    intervals = [interval(values, "mean") for values in differences]
    means = [values.mean() for values in differences]
    return _deciding(means, intervals, (-tolerance, tolerance), np.abs(means))


@dataclass(frozen=True, kw_only=True)
class Slope(WithStatistic):
    """A power law."""

    along: Annotated[str, Rule("axis on the horizontal scale")]
    range: Range


@criterion("slope", options=Slope, allowed="{range[0]:g} to {range[1]:g}", trend=True)
def _slope(options: Slope, sample: Sample) -> Outcome:
    """The statistic is a power law along an axis: slope in log-log axes in the allowed range."""
    name = options.statistic
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
    return value, low, high, _inside(low, high, *options.range)


@dataclass(frozen=True, kw_only=True)
class Intercept(Criterion):
    """An asymptote."""

    along: Annotated[str, Rule("axis x of the fit a + b x^power")]
    power: Annotated[float, Rule("power of x in the fit")]
    range: Range


@criterion("intercept", options=Intercept, allowed="{range[0]:g} to {range[1]:g}", trend=True)
def _intercept(options: Intercept, sample: Sample) -> Outcome:
    """The mean is a + b x^power along an axis, by least squares, with a in the allowed range."""
    points = sample.points.astype(float) ** options.power
    # a is linear in the means: its weights are the first row of the design's pseudo-inverse.
    weights = np.linalg.pinv(np.stack([np.ones_like(points), points], axis=1))[0]
    value = float(weights @ np.array([values.mean() for values in sample.values]))
    draws = weights @ np.stack([resample(values, "mean") for values in sample.values])
    low, high = bootstrap_interval(draws, sample.n_seeds)
    return value, low, high, _inside(low, high, *options.range)


@dataclass(frozen=True, kw_only=True)
class Linear(Criterion):
    """A line."""

    along: Along
    bound: Annotated[float, Rule("lowest R^2")]


@criterion("linear", options=Linear, allowed="R² above {bound:g}", trend=True)
def _linear(options: Linear, sample: Sample) -> Outcome:
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
    return value, low, high, _inside(low, high, options.bound, inf)


@dataclass(frozen=True, kw_only=True)
class Consistent(Criterion):
    """An expected mean."""

    expected: Annotated[float, Rule("expected mean")]
    standard_errors: StandardErrors


@criterion(
    "consistent",
    options=Consistent,
    allowed="{expected:g} within {standard_errors:g} standard errors",
)
def _consistent(options: Consistent, sample: Sample) -> Outcome:
    """The mean over seeds is within so many standard errors of the expected value."""
    [values] = sample.values
    mean, error = values.mean(), values.std(ddof=1) / np.sqrt(len(values))
    near = abs(mean - options.expected) <= options.standard_errors * error
    return float(mean), *interval(values, "mean"), "holds" if near else "fails"


@dataclass(frozen=True, kw_only=True)
class Agrees(WithStatistic):
    """An expected column."""

    along: Axes
    expected: Annotated[str, Rule("column with the expected value of each point")]
    standard_errors: StandardErrors


@criterion(
    "agrees", options=Agrees, allowed="at most {standard_errors:g} standard errors everywhere"
)
def _agrees(options: Agrees, sample: Sample) -> Outcome:
    """The statistic is near the expected column at every point; reported in standard errors.

    The standard error is the spread of the bootstrap distribution.
    """
    name, distances = options.statistic, []
    for values, expected in zip(sample.values, sample.expected, strict=True):
        distance, error = STATISTICS[name](values, axis=0) - expected, resample(values, name).std()
        distances.append(abs(distance) / error if error else (inf if distance else 0.0))
    largest = float(max(distances))
    return largest, None, None, "holds" if largest <= options.standard_errors else "fails"


@dataclass(frozen=True, kw_only=True)
class Rank(Criterion):
    """An expected order."""

    along: Axes
    expected: Annotated[str, Rule("column that the measured one is ranked against")]
    range: Range


@criterion("rank", options=Rank, allowed="{range[0]:g} to {range[1]:g}")
def _rank(options: Rank, sample: Sample) -> Outcome:
    """Spearman's rank correlation of the means with the expected column over all points."""
    order = stats.rankdata(sample.expected)
    means = np.array([values.mean() for values in sample.values])
    draws = np.stack([resample(values, "mean") for values in sample.values])

    def correlation(values: np.ndarray) -> np.ndarray:
        ranks = stats.rankdata(values, axis=0)
        centred, known = ranks - ranks.mean(axis=0), order - order.mean()
        return known @ centred / np.sqrt((centred**2).sum(axis=0) * (known**2).sum())

    value = float(correlation(means[:, None])[0])
    low, high = bootstrap_interval(correlation(draws), sample.n_seeds)
    return value, low, high, _inside(low, high, *options.range)


@criterion("above", options=Bound, allowed="above {bound:g} everywhere")
def _above(options: Bound, sample: Sample) -> Outcome:
    """The mean over seeds is above a bound at every point."""
    means = np.array([values.mean() for values in sample.values])
    intervals = [interval(values, "mean") for values in sample.values]
    return _deciding(means, intervals, (options.bound, inf), -means)


@criterion("below", options=Bound, allowed="below {bound:g} everywhere")
def _below(options: Bound, sample: Sample) -> Outcome:
    """The mean over seeds is below a bound at every point."""
    means = np.array([values.mean() for values in sample.values])
    intervals = [interval(values, "mean") for values in sample.values]
    return _deciding(means, intervals, (-inf, options.bound), means)


@criterion("decreasing", options=Trend, allowed="decreasing along {along}", trend=True)
def _decreasing(options: Trend, sample: Sample) -> Outcome:
    """The mean falls from each point to the next."""
    return _deciding(*_steps(sample), (-inf, 0.0), _steps(sample)[0])


@criterion("increasing", options=Trend, allowed="increasing along {along}", trend=True)
def _increasing(options: Trend, sample: Sample) -> Outcome:
    """The mean rises from each point to the next."""
    return _deciding(*_steps(sample), (0.0, inf), -_steps(sample)[0])


def _steps(sample: Sample) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Differences of the mean from point to point, and their intervals."""
    means = np.array([values.mean() for values in sample.values])
    draws = np.stack([resample(values, "mean") for values in sample.values])
    steps = np.diff(draws, axis=0)
    return np.diff(means), [bootstrap_interval(step, sample.n_seeds) for step in steps]


@dataclass(frozen=True, kw_only=True)
class Draw(Criterion):
    """A published single run."""

    expected: Annotated[float, Rule("published value of one run")]
    deviations: Annotated[float, Rule("standard deviations over seeds", exclusiveMinimum=0)]


@criterion("draw", options=Draw, allowed="{expected:g} within {deviations:g} deviations")
def _draw(options: Draw, sample: Sample) -> Outcome:
    """A published single run is a plausible draw: so few standard deviations from the mean."""
    [values] = sample.values
    mean, reach = values.mean(), options.deviations * values.std(ddof=1)
    inside = abs(options.expected - mean) <= reach
    return float(mean), float(mean - reach), float(mean + reach), "holds" if inside else "fails"


@dataclass(frozen=True, kw_only=True)
class Dip(Criterion):
    """A point below its neighbours."""

    along: Along
    at: Annotated[float, Rule("point between two others")]
    standard_errors: StandardErrors


@criterion("dip", options=Dip, allowed="at least {standard_errors:g} standard errors")
def _dip(options: Dip, sample: Sample) -> Outcome:
    """The mean at a point is below those of both neighbours by so many standard errors."""
    place = int(np.flatnonzero(sample.points == options.at)[0])
    low, *around = (sample.values[place + shift] for shift in (0, -1, 1))
    depths = [
        (values.mean() - low.mean())
        / np.sqrt(values.var(ddof=1) / len(values) + low.var(ddof=1) / len(low))
        for values in around
    ]
    holds = min(depths) >= options.standard_errors
    return float(min(depths)), None, None, "holds" if holds else "fails"


@dataclass(frozen=True, kw_only=True)
class Signed(Criterion):
    """A sign, whichever it is."""

    along: Annotated[str, Rule("axis at whose every point the sign is told")]


@criterion("signed", options=Signed, allowed="an interval without 0 everywhere")
def _signed(options: Signed, sample: Sample) -> Outcome:
    """Student's interval of the mean leaves out 0 at every point; shown is the one nearest to 0."""
    intervals = [student_interval(values) for values in sample.values]
    # Negative where 0 lies inside. In units of half the interval's length, infinite without one.
    margins = [max(low, -high) / max((high - low) / 2, 1e-300) for low, high in intervals]
    place = int(np.argmin(margins))
    status = "holds" if margins[place] > 0 else "straddles"
    return float(sample.values[place].mean()), *intervals[place], status


@criterion("measured", options=WithStatistic, allowed="")
def _measured(options: WithStatistic, sample: Sample) -> Outcome:
    """The statistic and its interval, for numbers that are shown and not judged."""
    [values] = sample.values
    name = options.statistic
    return float(STATISTICS[name](values, axis=0)), *interval(values, name), "measured"
