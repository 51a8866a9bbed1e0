"""Criteria of a line along an axis: a power law, an asymptote, or the line itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Annotated, Any

import numpy as np

from ..options import Rule
from .criteria import Along, Range, inside
from .registry import Criterion, Outcome, WithStatistic, criterion
from .samples import Sample
from .uncertainty import LEVEL, Estimate, Interval, linear_interval, mean_errors

Counting = Annotated[
    dict[str, Any] | None,
    Rule(
        "fit only so many of the largest points of the axis, of those where a column has a mean "
        "below a bound; null means all points",
        properties={
            "column": {"type": "string"},
            "below": {"type": "number"},
            "points": {"type": "integer", "minimum": 2},
        },
        required=["column", "below", "points"],
        additionalProperties=False,
    ),
]


@dataclass(frozen=True, kw_only=True)
class Slope(WithStatistic):
    """A power law."""

    along: Annotated[str, Rule("axis on the horizontal scale")]
    range: Range
    counting: Counting = None


@criterion("slope", options=Slope, allowed="{range[0]:g} to {range[1]:g}", trend=True)
def _slope(options: Slope, sample: Sample) -> Outcome:
    """The statistic is a power law along an axis: slope in log-log axes in the allowed range."""
    name = options.statistic
    if sample.statistics(name).min() <= 0:  # no power law, and no logarithm
        ends = [each.high for each in sample.intervals(name)]
        return Outcome(None, None, "fails" if min(ends) <= 0 else "straddles")
    log_points = np.log(sample.points.astype(float))
    weights = log_points - log_points.mean()
    weights = weights / (weights**2).sum()
    method = f"Welch's t of logarithms ({name})"
    return _linear_outcome(sample, sample.log_estimates(name), weights, method, options.range)


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
    return _linear_outcome(sample, sample.mean_estimates(), weights, "Welch's t", options.range)


@dataclass(frozen=True, kw_only=True)
class Linear(Criterion):
    """A line."""

    along: Along
    bound: Annotated[float, Rule("lowest R^2")]


@criterion("linear", options=Linear, allowed="R² above {bound:g}", trend=True)
def _linear(options: Linear, sample: Sample) -> Outcome:
    """The means lie on a line along an axis: R^2 of the least-squares fit above a bound.

    R^2 = 1 - (r/c)^2 with the norm r of the residuals and c of the deviations from the mean. The
    errors of the means move each by at most the norm of their own residuals or deviations, whose
    quantiles bound r and c.
    """
    points = sample.points.astype(float)
    design = np.stack([np.ones_like(points), points], axis=1)
    residual = np.eye(len(points)) - design @ np.linalg.pinv(design)
    centre = np.eye(len(points)) - 1 / len(points)
    means = sample.statistics("mean")
    r, c = (float(np.linalg.norm(part @ means)) for part in (residual, centre))
    value = 1 - (r / c) ** 2
    if sample.exact:
        found = Interval.exact(value)
    else:
        found = _explained(sample, (r, residual), (c, centre))
    return Outcome(value, found, inside(found, options.bound, inf))


def _explained(sample: Sample, *parts: tuple[float, np.ndarray]) -> Interval:
    """Interval of R^2 from the two norms, each with the matrix that makes it from the means."""
    errors = mean_errors(sample.mean_estimates())
    if not np.isfinite(errors).all():
        return Interval(-inf, inf, "Student's t, norms")
    (r, r_moves), (c, c_moves) = (
        (norm, np.quantile(np.linalg.norm(part @ errors, axis=0), (1 + LEVEL) / 2))
        for norm, part in parts
    )
    low = 1 - ((r + r_moves) / (c - c_moves)) ** 2 if c > c_moves else -inf
    high = 1 - (max(r - r_moves, 0) / (c + c_moves)) ** 2
    return Interval(float(low), float(high), "Student's t, norms")


def _linear_outcome(
    sample: Sample,
    estimates: Sequence[Estimate],
    weights: np.ndarray,
    method: str,
    allowed: Sequence[float],
) -> Outcome:
    """The outcome of a weighted sum over the points."""
    value = float(sum(w * each.value for w, each in zip(weights, estimates, strict=True)))
    found = linear_interval(estimates, weights, method)
    found = Interval.exact(value) if sample.exact else found
    return Outcome(value, found, inside(found, *allowed))
