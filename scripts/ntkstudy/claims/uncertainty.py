"""Intervals of a statistic over draws that hold their level at few draws.

Every interval is two-sided at the level .95 and says by which method it was made. Below the least
number of draws of its statistic (`LEAST`) it is open at both ends, so that nothing follows from it.
docs/verdicts.md has the coverage that simulations attain.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
import scipy  # its parts load when they are used

from ntkflow.errors import ConfigurationError

from ..derived.jackknife import jackknife_variance, leave_one_out

LEVEL = 0.95
DRAWS = 4000
STATISTICS: dict[str, Callable[[np.ndarray], float]] = {
    "mean": np.mean,
    "geometric mean": lambda values: np.exp(np.mean(np.log(values))),
    "median": np.median,
    "share": np.mean,  # of ones among zeros and ones
    "std": lambda values: np.std(values, ddof=1),
    # ln(E[v^2] / E[v]^2), zero for a constant
    "dispersion": lambda values: np.log(np.mean(values**2) / np.mean(values) ** 2),
}
# Fewest draws with an interval. Four draws lie on both sides of the median 88 % of the time.
LEAST = {"mean": 3, "geometric mean": 3, "median": 5, "share": 1, "std": 10, "dispersion": 10}
METHODS = {
    "mean": "Student's t",
    "geometric mean": "Student's t of the logarithm",
    "median": "order statistics",
    "share": "Clopper and Pearson",
    "std": "Bonett",
    "dispersion": "Student's t of the logarithm, jackknife",
}


@dataclass(frozen=True)
class Interval:
    """Where a number lies: two ends, infinite where open, the level and the method.

    A number without uncertainty has the level None and the method `exact`.
    """

    low: float
    high: float
    method: str
    level: float | None = LEVEL

    @property
    def ends(self) -> tuple[float, float]:
        """Low and high end."""
        return self.low, self.high

    @staticmethod
    def exact(value: float) -> "Interval":
        """A number that no other draw would change."""
        return Interval(value, value, "exact", None)


@dataclass(frozen=True)
class Estimate:
    """A number with its standard error and the degrees of freedom of that."""

    value: float
    error: float
    freedom: float


def evaluate(sample: np.ndarray, statistic: str) -> float:
    """A statistic of draws (n,), n >= 1.

    Raises:
        ConfigurationError: if a share is asked of other values than 0 and 1, or a geometric mean of
            values that are not positive.
    """
    if statistic == "share" and not np.isin(sample, (0, 1)).all():
        raise ConfigurationError("statistic: 'share' of other values than 0 and 1; allowed: mean")
    if statistic == "geometric mean" and not (sample > 0).all():
        raise ConfigurationError(
            "statistic: 'geometric mean' of values that are not positive; allowed: mean, median"
        )
    return float(STATISTICS[statistic](sample))


def interval(sample: np.ndarray, statistic: str) -> Interval:
    """Interval of a statistic over draws (n,), n >= 1, open with fewer than `LEAST` draws.

    - mean: mean +- t_{n-1} s / sqrt(n).
    - geometric mean, of positive values: the same of the logarithms.
    - median: the order statistics [x_(k), x_(n+1-k)] with the largest k whose level is at least
      .95; five draws reach .9375 with k = 1, which is the level told.
    - share of ones: Clopper and Pearson's, which a binomial test would not reject.
    - std, dispersion d: log d +- t_{n-1} e with the standard error e of `log_estimate`.

    Raises:
        ConfigurationError: as `evaluate` does.
    """
    evaluate(sample, statistic)
    method = METHODS[statistic]
    if len(sample) < LEAST[statistic]:
        return Interval(-inf, inf, method)
    if statistic == "share":
        ones = int(sample.sum())
        found = scipy.stats.binomtest(ones, len(sample)).proportion_ci(LEVEL, method="exact")
        return Interval(float(found.low), float(found.high), method)
    if statistic == "median":
        low, high, level = order_statistics(sample)
        return Interval(low, high, method, min(level, LEVEL))
    if statistic == "mean":
        return linear_interval([mean_estimate(sample)], np.ones(1), method)
    found = linear_interval([log_estimate(sample, statistic)], np.ones(1), method)
    return Interval(float(np.exp(found.low)), float(np.exp(found.high)), method)


def linear_interval(
    estimates: Sequence[Estimate], weights: np.ndarray, method: str = METHODS["mean"]
) -> Interval:
    """Interval of sum_i w_i E_i over independent estimates E_i.

    With e^2 = sum_i w_i^2 e_i^2 it is +- t_f e, where f = e^4 / sum_i (w_i^2 e_i^2)^2 / f_i (Welch
    1947, Biometrika 34); the difference of two means is one of these.
    """
    value = float(sum(w * each.value for w, each in zip(weights, estimates, strict=True)))
    errors = np.array([each.error for each in estimates])
    if not np.isfinite(errors).all():
        return Interval(-inf, inf, method)
    parts = np.square(weights * errors)
    variance = parts.sum()
    if variance == 0:
        return Interval(value, value, method)
    shares = parts / variance
    freedom = 1 / (shares**2 / np.array([each.freedom for each in estimates])).sum()
    reach = float(student_quantile(float(freedom)) * np.sqrt(variance))
    return Interval(value - reach, value + reach, method)


def mean_estimate(sample: np.ndarray) -> Estimate:
    """Mean of draws (n,); with fewer than `LEAST` its error is infinite."""
    mean, freedom = float(sample.mean()), float(len(sample) - 1)
    if len(sample) < LEAST["mean"]:
        return Estimate(mean, inf, freedom)
    return Estimate(mean, float(sample.std(ddof=1) / np.sqrt(len(sample))), freedom)


def log_estimate(sample: np.ndarray, statistic: str) -> Estimate:
    """Logarithm of a positive statistic of draws (n,), n >= 1; below `LEAST` its error is infinite.

    The error is that of the statistic over the statistic (mean), that of the mean logarithm
    (geometric mean), half the length of the interval of the median's logarithm over the normal
    quantile of its level (Price, Bonett 2002, Journal of Statistical Computation and Simulation
    72), that of `_log_std`, or the jackknife's (dispersion; Efron, Tibshirani 1993, An Introduction
    to the Bootstrap, equation 11.5).
    """
    value = float(np.log(max(evaluate(sample, statistic), np.finfo(float).tiny)))
    if statistic == "geometric mean":
        return mean_estimate(np.log(sample))
    freedom = float(len(sample) - 1)
    if len(sample) < LEAST[statistic]:
        return Estimate(value, inf, freedom)
    if statistic == "mean":
        mean = mean_estimate(sample)
        return Estimate(value, mean.error / mean.value, freedom)
    if statistic == "median":
        low, high, level = order_statistics(np.log(sample))
        return Estimate(
            value, float((high - low) / 2 / scipy.stats.norm.ppf((1 + level) / 2)), freedom
        )
    if statistic == "std":
        return _log_std(sample)
    left_out = leave_one_out(STATISTICS[statistic], sample)
    logs = np.log(np.maximum(left_out, np.finfo(float).tiny))
    return Estimate(value, float(np.sqrt(jackknife_variance(logs))), freedom)


def _log_std(sample: np.ndarray) -> Estimate:
    """Logarithm of the standard deviation of draws (n,), n >= 10, and its error.

    log s + log(c)/2 with c = n/(n - z) and the error c sqrt((g - (n - 3)/n)/(n - 1))/2, where the
    kurtosis g is about a trimmed mean: Bonett 2006, Computational Statistics and Data Analysis 50,
    with Student's quantile in place of the normal z.
    """
    n, squares = len(sample), np.square(sample - sample.mean()).sum()
    freedom = float(n - 1)
    if squares == 0:
        return Estimate(float(np.log(np.finfo(float).tiny)), 0.0, freedom)
    middle = scipy.stats.trim_mean(sample, 1 / (2 * np.sqrt(n - 4)))
    kurtosis = n * ((sample - middle) ** 4).sum() / squares**2
    factor = n / (n - scipy.stats.norm.ppf((1 + LEVEL) / 2))
    error = factor * np.sqrt((kurtosis - (n - 3) / n) / (n - 1)) / 2
    return Estimate(float(np.log(factor * squares / (n - 1)) / 2), float(error), freedom)


def order_statistics(sample: np.ndarray) -> tuple[float, float, float]:
    """Order statistics around the median of draws (n,), and how often they are on both sides of it.

    They are the narrowest symmetric pair with at least the level .95, or else the two extremes.
    """
    n = len(sample)
    skipped = int(scipy.stats.binom.ppf((1 - LEVEL) / 2, n, 0.5))  # draws below the lower one
    if skipped and _two_sided(skipped, n) < LEVEL:
        skipped -= 1
    ordered = np.sort(sample)
    return float(ordered[skipped]), float(ordered[n - 1 - skipped]), _two_sided(skipped, n)


def _two_sided(skipped: int, n: int) -> float:
    """Chance that more than `skipped` of n draws lie on each side of the median."""
    return float(1 - 2 * scipy.stats.binom.cdf(skipped, n, 0.5))


def student_quantile(freedom: float) -> float:
    """Quantile t_f of Student's distribution at the upper end of a two-sided interval."""
    return float(scipy.stats.t.ppf((1 + LEVEL) / 2, freedom))


def mean_errors(estimates: Sequence[Estimate]) -> np.ndarray:
    """Draws of how far the means of independent samples are from the truth, (points, DRAWS).

    e_i t with Student's t of n_i - 1 degrees of freedom, so that mean_i + draw_i is a draw of the
    fiducial distribution of the mean i (Weerahandi 1993, Journal of the American Statistical
    Association 88), the same every time.
    """
    rng = np.random.default_rng(0)
    freedoms = np.array([each.freedom for each in estimates])
    errors = np.array([each.error for each in estimates])
    return errors[:, None] * rng.standard_t(freedoms[:, None], (len(estimates), DRAWS))
