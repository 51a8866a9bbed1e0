"""The kinds of criteria: each compares a number and its interval with what a claim allows.

A function of a criterion and a sample gives the value, the two ends of its interval and the status:
it *holds* if the interval lies inside what is allowed, *fails* if it lies outside, and *straddles*
a bound otherwise. `consistent` and `agrees` count standard errors and hold or fail.
"""

from collections.abc import Iterable, Mapping
from math import inf
from typing import Any

import numpy as np
from scipy import stats

from .samples import Sample
from .uncertainty import STATISTICS, bootstrap_interval, interval, log_std_reach, resample


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


def _statistic(criterion) -> str:
    return criterion.get("statistic", "mean")


def _within(criterion, sample: Sample):
    """The statistic lies in the allowed range at every point."""
    name, (lower, upper) = _statistic(criterion), criterion["range"]
    found = [float(STATISTICS[name](values, axis=0)) for values in sample.values]
    intervals = [interval(values, name) for values in sample.values]
    distances = np.abs(np.array(found) - (lower + upper) / 2)
    return _deciding(found, intervals, (lower, upper), distances)


def _matches(criterion, sample: Sample):
    """The mean at every point is the expected one."""
    tolerance = criterion["tolerance"]
    expected = np.array([value for _, value in sorted(criterion["expected"])])
    differences = [values - wanted for values, wanted in zip(sample.values, expected, strict=True)]
    intervals = [interval(values, "mean") for values in differences]
    means = [values.mean() for values in differences]
    return _deciding(means, intervals, (-tolerance, tolerance), np.abs(means))


def _slope(criterion, sample: Sample):
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


def _intercept(criterion, sample: Sample):
    """The mean is a + b x^power along an axis, by least squares, with a in the allowed range."""
    points = sample.points.astype(float) ** criterion["power"]
    # a is linear in the means: its weights are the first row of the design's pseudo-inverse.
    weights = np.linalg.pinv(np.stack([np.ones_like(points), points], axis=1))[0]
    value = float(weights @ np.array([values.mean() for values in sample.values]))
    draws = weights @ np.stack([resample(values, "mean") for values in sample.values])
    low, high = bootstrap_interval(draws, sample.n_seeds)
    return value, low, high, _inside(low, high, *criterion["range"])


def _linear(criterion, sample: Sample):
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


def _consistent(criterion, sample: Sample):
    """The mean over seeds is within so many standard errors of the expected value."""
    [values] = sample.values
    mean, error = values.mean(), values.std(ddof=1) / np.sqrt(len(values))
    near = abs(mean - criterion["expected"]) <= criterion["standard_errors"] * error
    return float(mean), *interval(values, "mean"), "holds" if near else "fails"


def _agrees(criterion, sample: Sample):
    """The statistic is near the expected column at every point; reported in standard errors.

    The standard error is the spread of the bootstrap distribution.
    """
    name, distances = _statistic(criterion), []
    for values, expected in zip(sample.values, sample.expected, strict=True):
        distance, error = STATISTICS[name](values, axis=0) - expected, resample(values, name).std()
        distances.append(abs(distance) / error if error else (inf if distance else 0.0))
    largest = float(max(distances))
    return largest, None, None, "holds" if largest <= criterion["standard_errors"] else "fails"


def _rank(criterion, sample: Sample):
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
    return value, low, high, _inside(low, high, *criterion["range"])


def _above(criterion, sample: Sample):
    """The mean over seeds is above a bound at every point."""
    means = np.array([values.mean() for values in sample.values])
    intervals = [interval(values, "mean") for values in sample.values]
    return _deciding(means, intervals, (criterion["bound"], inf), -means)


def _below(criterion, sample: Sample):
    """The mean over seeds is below a bound at every point."""
    means = np.array([values.mean() for values in sample.values])
    intervals = [interval(values, "mean") for values in sample.values]
    return _deciding(means, intervals, (-inf, criterion["bound"]), means)


def _decreasing(criterion, sample: Sample):
    """The mean falls from each point to the next."""
    return _deciding(*_steps(sample), (-inf, 0.0), _steps(sample)[0])


def _increasing(criterion, sample: Sample):
    """The mean rises from each point to the next."""
    return _deciding(*_steps(sample), (0.0, inf), -_steps(sample)[0])


def _steps(sample: Sample) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Differences of the mean from point to point, and their intervals."""
    means = np.array([values.mean() for values in sample.values])
    draws = np.stack([resample(values, "mean") for values in sample.values])
    steps = np.diff(draws, axis=0)
    return np.diff(means), [bootstrap_interval(step, sample.n_seeds) for step in steps]


def _draw(criterion, sample: Sample):
    """A published single run is a plausible draw: so few standard deviations from the mean."""
    [values] = sample.values
    mean, reach = values.mean(), criterion["deviations"] * values.std(ddof=1)
    inside = abs(criterion["expected"] - mean) <= reach
    return float(mean), float(mean - reach), float(mean + reach), "holds" if inside else "fails"


def _dip(criterion, sample: Sample):
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


def _measured(criterion, sample: Sample):
    """The statistic and its interval, for numbers that are shown and not judged."""
    [values] = sample.values
    name = _statistic(criterion)
    return float(STATISTICS[name](values, axis=0)), *interval(values, name), "measured"


KINDS = {
    "within": _within,
    "matches": _matches,
    "slope": _slope,
    "intercept": _intercept,
    "linear": _linear,
    "consistent": _consistent,
    "agrees": _agrees,
    "rank": _rank,
    "above": _above,
    "below": _below,
    "decreasing": _decreasing,
    "increasing": _increasing,
    "draw": _draw,
    "dip": _dip,
    "measured": _measured,
}


def allowed(criterion: Mapping[str, Any]) -> str:
    """What a criterion allows, in words."""
    match criterion["kind"]:
        case "within" | "slope" | "intercept" | "rank":
            return f"{criterion['range'][0]:g} to {criterion['range'][1]:g}"
        case "consistent":
            return (
                f"{criterion['expected']:g} within {criterion['standard_errors']:g} standard errors"
            )
        case "matches":
            return f"expected values within {criterion['tolerance']:g}"
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
