"""The jackknife: a statistic of a sample with one observation after the other left out.

Source: Efron 1982, The Jackknife, the Bootstrap and Other Resampling Plans, chapters 2 and 3.
"""

from collections.abc import Callable

import numpy as np

Statistic = Callable[[np.ndarray], np.ndarray | float]


def leave_one_out(statistic: Statistic, sample: np.ndarray) -> np.ndarray:
    """Values E_(-i) of a statistic of the sample (n, ...) without its i-th row, (n, ...)."""
    return np.array([statistic(np.delete(sample, i, axis=0)) for i in range(len(sample))])


def pseudo_values(statistic: Statistic, sample: np.ndarray) -> np.ndarray:
    """Pseudo-values n E - (n - 1) E_(-i) of a statistic E; of one observation E itself.

    Their mean is E without its bias of order 1/n; the standard error of that mean is the
    jackknife's of E.

    Args:
        statistic: E, of any shape, of observations along the first axis.
        sample: observations (n, ...), n >= 1.
    """
    n, whole = len(sample), statistic(sample)
    if n == 1:
        return np.array([whole])
    return n * whole - (n - 1) * leave_one_out(statistic, sample)


def jackknife_variance(left_out: np.ndarray) -> np.ndarray | float:
    """Variance (n - 1)/n sum_i (E_(-i) - mean E_(-i))^2 of a statistic, from `leave_one_out`."""
    return (len(left_out) - 1) * left_out.var(axis=0)
