"""The kinds of criteria: each compares a number and its interval with what a claim allows.

A function of options and a sample gives the value, the interval that decides and the status: it
*holds* if the interval lies inside what is allowed, *fails* if it lies outside, and *straddles* a
bound otherwise. Fewer draws make intervals longer, so that they can only make a claim inconclusive.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Annotated

import numpy as np
from scipy import stats

from ntkflow.errors import ConfigurationError

from ..options import Rule
from .registry import Criterion, Outcome, WithStatistic, criterion
from .samples import Sample
from .uncertainty import (
    LEAST,
    LEVEL,
    Interval,
    linear_interval,
    mean_errors,
    student_quantile,
)


def combine(statuses: Iterable[str]) -> str:
    """The worst of several statuses; `holds` of none."""
    found = set(statuses)
    return next((status for status in ("fails", "straddles") if status in found), "holds")


def inside(found: Interval, lower: float, upper: float) -> str:
    """The status of an interval."""
    if lower <= found.low and found.high <= upper:
        return "holds"
    return "fails" if found.high < lower or found.low > upper else "straddles"


def _deciding(
    values: np.ndarray,
    intervals: Sequence[Interval],
    allowed: tuple[float, float],
    badness: np.ndarray,
) -> Outcome:
    """The outcome at the point that decides: the worst status, then the worst value.

    So the interval that a reader sees is the one that the status follows from.
    """
    statuses = [inside(each, *allowed) for each in intervals]
    worst = combine(statuses)
    index = max((i for i, one in enumerate(statuses) if one == worst), key=lambda i: badness[i])
    return Outcome(float(values[index]), intervals[index], worst, len(intervals))


# Options that several criteria have.
Range = Annotated[list[float], Rule("allowed values, lowest and highest", minItems=2, maxItems=2)]
Distance = Annotated[
    float, Rule("largest distance, relative to the expected value", exclusiveMinimum=0)
]
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
    lower, upper = options.range
    found = sample.statistics(options.statistic)
    distances = np.abs(found - (lower + upper) / 2)
    return _deciding(found, sample.intervals(options.statistic), (lower, upper), distances)


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
    means = sample.statistics("mean") - expected
    intervals = [
        Interval(each.low - wanted, each.high - wanted, each.method, each.level)
        for each, wanted in zip(sample.intervals("mean"), expected, strict=True)
    ]
    return _deciding(means, intervals, (-tolerance, tolerance), np.abs(means))


@dataclass(frozen=True, kw_only=True)
class Consistent(WithStatistic):
    """An expected value."""

    expected: Annotated[float, Rule("expected value, not 0")]
    bound: Distance


@criterion("consistent", options=Consistent, allowed="{expected:g} up to {bound:g} of it")
def _consistent(options: Consistent, sample: Sample) -> Outcome:
    """The statistic's relative distance from the expected value is at most a bound."""
    return _near(sample, options.statistic, np.array([options.expected]), options.bound)


@dataclass(frozen=True, kw_only=True)
class Agrees(WithStatistic):
    """An expected column."""

    along: Axes
    expected: Annotated[str, Rule("column with the expected value of each point, not 0")]
    bound: Distance


@criterion("agrees", options=Agrees, allowed="expected values up to {bound:g} of them")
def _agrees(options: Agrees, sample: Sample) -> Outcome:
    """The statistic's relative distance from the expected column is at most a bound everywhere."""
    return _near(sample, options.statistic, sample.expected, options.bound)


def _near(sample: Sample, statistic: str, expected: np.ndarray, bound: float) -> Outcome:
    """|E - e| / |e| at every point, with the ends that the interval of E gives it."""
    if not np.all(expected):
        raise ConfigurationError("expected: 0 has no relative distance; allowed: other values")
    distances = np.abs(sample.statistics(statistic) / expected - 1)
    intervals = [
        _magnitude(Interval(each.low / wanted - 1, each.high / wanted - 1, each.method, each.level))
        for each, wanted in zip(sample.intervals(statistic), expected, strict=True)
    ]
    return _deciding(distances, intervals, (-inf, bound), distances)


def _magnitude(found: Interval) -> Interval:
    """The interval of |v| from that of v, whose ends may be in either order."""
    low, high = sorted(found.ends)
    nearest = max(low, -high, 0.0)
    return Interval(nearest, max(high, -low), found.method, found.level)


@dataclass(frozen=True, kw_only=True)
class Rank(Criterion):
    """An expected order."""

    along: Axes
    expected: Annotated[str, Rule("column that the measured one is ranked against")]
    range: Range


@criterion("rank", options=Rank, allowed="{range[0]:g} to {range[1]:g}")
def _rank(options: Rank, sample: Sample) -> Outcome:
    """Spearman's rank correlation of the means with the expected column over all points.

    Noise in the means lowers it, in the measured means and once more in draws around them: the
    interval is that of the draws and its mirror image at the value, together.
    """
    order = stats.rankdata(sample.expected)
    means = sample.statistics("mean")

    def correlation(values: np.ndarray) -> np.ndarray:
        ranks = stats.rankdata(values, axis=0)
        centred, known = ranks - ranks.mean(axis=0), order - order.mean()
        return known @ centred / np.sqrt((centred**2).sum(axis=0) * (known**2).sum())

    value = float(correlation(means[:, None])[0])
    if sample.exact:
        found = Interval.exact(value)
    else:
        errors = mean_errors(sample.mean_estimates())
        found = Interval(-1.0, 1.0, "Student's t, drawn means")
        if np.isfinite(errors).all():
            tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
            low, high = np.quantile(correlation(means[:, None] + errors), tails)
            low, high = min(low, 2 * value - high), max(high, 2 * value - low)
            found = Interval(float(max(low, -1)), float(min(high, 1)), found.method)
    return Outcome(value, found, inside(found, *options.range))


@criterion("above", options=Bound, allowed="above {bound:g} everywhere")
def _above(options: Bound, sample: Sample) -> Outcome:
    """The mean over seeds is above a bound at every point."""
    means = sample.statistics("mean")
    return _deciding(means, sample.intervals("mean"), (options.bound, inf), -means)


@criterion("below", options=Bound, allowed="below {bound:g} everywhere")
def _below(options: Bound, sample: Sample) -> Outcome:
    """The mean over seeds is below a bound at every point."""
    means = sample.statistics("mean")
    return _deciding(means, sample.intervals("mean"), (-inf, options.bound), means)


@criterion("decreasing", options=Trend, allowed="decreasing along {along}", trend=True)
def _decreasing(options: Trend, sample: Sample) -> Outcome:
    """The mean falls from each point to the next, by Welch's interval of the difference."""
    steps, intervals = _steps(sample)
    return _deciding(steps, intervals, (-inf, 0.0), steps)


@criterion("increasing", options=Trend, allowed="increasing along {along}", trend=True)
def _increasing(options: Trend, sample: Sample) -> Outcome:
    """The mean rises from each point to the next, by Welch's interval of the difference."""
    steps, intervals = _steps(sample)
    return _deciding(steps, intervals, (0.0, inf), -steps)


def _steps(sample: Sample) -> tuple[np.ndarray, list[Interval]]:
    """Differences of the mean from point to point, and their intervals."""
    places = range(1, len(sample.points))
    steps = np.diff(sample.statistics("mean"))
    return steps, [_difference(sample, place - 1, place) for place in places]


def _difference(sample: Sample, first: int, second: int) -> Interval:
    """Interval of the mean at one point minus that at another."""
    estimates = sample.mean_estimates()
    pair, weights = [estimates[first], estimates[second]], np.array([-1.0, 1.0])
    if sample.exact:
        return Interval.exact(pair[1].value - pair[0].value)
    return linear_interval(pair, weights, "Welch's t")


@dataclass(frozen=True, kw_only=True)
class Draw(Criterion):
    """A published single run."""

    expected: Annotated[float, Rule("published value of one run")]
    deviations: Annotated[float, Rule("standard deviations over seeds", exclusiveMinimum=0)]


@criterion("draw", options=Draw, allowed="at most {deviations:g} standard deviations")
def _draw(options: Draw, sample: Sample) -> Outcome:
    """A published single run is a plausible draw: so few standard deviations from the mean.

    The distance d = (x - mean) / s has the standard error sqrt(1/n + d^2 / (2 (n - 1))) (Hedges,
    Olkin 1985, Statistical Methods for Meta-Analysis, chapter 5).
    """
    [values] = sample.values
    n, method = len(values), "Student's t, Hedges and Olkin"
    if n < LEAST["mean"]:
        return Outcome(None, Interval(0.0, inf, method), "straddles")
    spread = values.std(ddof=1)
    if spread == 0:
        return Outcome(None, None, "holds" if values[0] == options.expected else "fails")
    distance = (options.expected - values.mean()) / spread
    reach = student_quantile(n - 1.0) * np.sqrt(1 / n + distance**2 / (2 * (n - 1)))
    found = _magnitude(Interval(float(distance - reach), float(distance + reach), method))
    return Outcome(float(abs(distance)), found, inside(found, -inf, options.deviations))


@dataclass(frozen=True, kw_only=True)
class Dip(Criterion):
    """A point below its neighbours."""

    along: Along
    at: Annotated[float, Rule("point between two others")]


@criterion("dip", options=Dip, allowed="above 0 on both sides")
def _dip(options: Dip, sample: Sample) -> Outcome:
    """The mean at a point is below those of both neighbours, by Welch's interval of the difference.

    The value is how far it lies below the neighbour that decides.
    """
    place = int(np.flatnonzero(sample.points == options.at)[0])
    means = sample.statistics("mean")
    around = [place - 1, place + 1]
    depths = means[around] - means[place]
    intervals = [_difference(sample, place, neighbour) for neighbour in around]
    return _deciding(depths, intervals, (0.0, inf), -depths)


@dataclass(frozen=True, kw_only=True)
class Signed(Criterion):
    """A sign, whichever it is."""

    along: Annotated[str, Rule("axis at whose every point the sign is told")]


@criterion("signed", options=Signed, allowed="an interval without 0 everywhere")
def _signed(options: Signed, sample: Sample) -> Outcome:
    """Student's interval of the mean leaves out 0 at every point; shown is the one nearest to 0."""
    intervals = sample.intervals("mean")
    margins = [_margin(*each.ends) for each in intervals]
    place = int(np.argmin(margins))
    status = "holds" if margins[place] > 0 else "straddles"
    value = float(sample.statistics("mean")[place])
    return Outcome(value, intervals[place], status, len(intervals))


def _margin(low: float, high: float) -> float:
    """How far an interval is from 0, in units of half its length; negative where 0 lies inside."""
    if not np.isfinite([low, high]).all():
        return -inf
    return max(low, -high) / max((high - low) / 2, 1e-300)


@criterion("measured", options=WithStatistic, allowed="")
def _measured(options: WithStatistic, sample: Sample) -> Outcome:
    """The statistic and its interval, for numbers that are shown and not judged."""
    [value], [found] = sample.statistics(options.statistic), sample.intervals(options.statistic)
    return Outcome(float(value), found, "measured")
