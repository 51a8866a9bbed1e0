"""Uncertainty of a statistic over seeds: bootstrap and jackknife intervals."""

from collections.abc import Callable, Sequence
from math import inf

import numpy as np
import scipy  # its parts load when they are used

from ..derived.jackknife import jackknife_variance, leave_one_out

LEVEL = 0.95
RESAMPLES = 2000
STATISTICS: dict[str, Callable[..., np.ndarray]] = {
    "mean": np.mean,
    "median": np.median,
    "std": lambda values, axis: np.std(values, axis=axis, ddof=1),
    # ln(E[v^2] / E[v]^2), zero for a constant
    "dispersion": lambda values, axis: np.log(
        np.mean(values**2, axis=axis) / np.mean(values, axis=axis) ** 2
    ),
}


def interval(sample: np.ndarray, statistic: str) -> tuple[float, float]:
    """95 % interval of a statistic over seeds (S,): low and high end, infinite where unknown.

    Mean and median: the percentile bootstrap, widened for few seeds (see `bootstrap_interval`).
    Standard deviation s: log s +- t_{S-1} e with the jackknife's standard error e, because
    resampling covers a standard deviation too rarely (83 % instead of 95 % of normal samples of
    ten).
    """
    if len(sample) < 2:
        return -inf, inf
    if statistic == "std":
        spread, reach = sample.std(ddof=1), log_std_reach([sample], np.ones(1))
        return float(spread * np.exp(-reach)), float(spread * np.exp(reach))
    return bootstrap_interval(resample(sample, statistic), len(sample))


def student_interval(sample: np.ndarray) -> tuple[float, float]:
    """95 % interval of the mean over seeds (S,): mean +- t_{S-1} s / sqrt(S)."""
    mean, error = sample.mean(), sample.std(ddof=1) / np.sqrt(len(sample))
    reach = scipy.stats.t.ppf((1 + LEVEL) / 2, len(sample) - 1) * error
    return float(mean - reach), float(mean + reach)


def log_std_reach(samples: Sequence[np.ndarray], weights: np.ndarray) -> float:
    """Half the 95 % interval of sum_i w_i log s_i over independent samples.

    The variance of each log s is the jackknife's (Efron, Tibshirani 1993, An Introduction to the
    Bootstrap, equation 11.5).
    """
    fewest = min(map(len, samples))
    if fewest < 3:
        return inf
    variances = []
    for sample in samples:
        left_out = leave_one_out(lambda kept: kept.std(ddof=1), sample)
        variances.append(jackknife_variance(np.log(np.maximum(left_out, np.finfo(float).tiny))))
    quantile = scipy.stats.t.ppf((1 + LEVEL) / 2, fewest - 1)
    return float(quantile * np.sqrt(weights**2 @ np.array(variances)))


def resample(sample: np.ndarray, statistic: str) -> np.ndarray:
    """Bootstrap distribution of a statistic, (RESAMPLES,), the same every time."""
    rng = np.random.default_rng(0)
    chosen = rng.integers(len(sample), size=(RESAMPLES, len(sample)))
    return STATISTICS[statistic](sample[chosen], axis=1)


def bootstrap_interval(draws: np.ndarray, n_seeds: int) -> tuple[float, float]:
    """Percentile interval, widened for few seeds.

    The tail probability is Phi(-sqrt(n/(n-1)) t_{n-1}) instead of 2.5 %, which corrects the
    percentile bootstrap's shortness (Hesterberg 2015, The American Statistician 69, section 5.1).
    """
    tail = (1 - LEVEL) / 2
    quantile = scipy.stats.t.ppf(tail, n_seeds - 1) * np.sqrt(n_seeds / (n_seeds - 1))
    tail = scipy.stats.norm.cdf(quantile)
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)
