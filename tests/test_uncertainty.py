"""Intervals against textbooks, and how often they hold the truth."""

import re
from functools import cache
from math import inf
from pathlib import Path

import numpy as np
import pytest
from coverage_draws import (
    CALM,
    DISTRIBUTIONS,
    attained,
    covered,
    numbers_in_use,
    of_difference,
    of_slope,
    of_statistic,
    truth,
)
from scipy import stats

from ntkflow.errors import ConfigurationError
from ntkstudy.claims.uncertainty import (
    LEAST,
    METHODS,
    STATISTICS,
    Interval,
    interval,
    linear_interval,
    log_estimate,
    mean_estimate,
)

PAGE = Path(__file__).parents[1] / "docs" / "verdicts.md"
RNG = np.random.default_rng(7)


@pytest.mark.parametrize("n", [3, 10, 500])
def test_the_mean_has_students_interval(n):
    sample = RNG.standard_normal(n)
    ends = stats.t.interval(0.95, n - 1, loc=sample.mean(), scale=stats.sem(sample))
    found = interval(sample, "mean")
    assert found.ends == pytest.approx(ends)
    assert (found.level, found.method) == (0.95, "Student's t")
    positive = np.exp(sample)
    assert interval(positive, "geometric mean").ends == pytest.approx(np.exp(ends))


@pytest.mark.parametrize(("n", "others"), [(3, 3), (4, 20), (60, 3)])
def test_a_difference_has_welchs_interval(n, others):
    first, second = RNG.standard_normal(n), 3 * RNG.standard_normal(others)
    known = stats.ttest_ind(second, first, equal_var=False).confidence_interval(0.95)
    found = linear_interval([mean_estimate(first), mean_estimate(second)], np.array([-1.0, 1.0]))
    assert found.ends == pytest.approx((known.low, known.high))


def test_one_sample_without_spread_leaves_the_other_ones_freedom():
    sample = RNG.standard_normal(5)
    found = linear_interval([mean_estimate(np.full(3, 2.0)), mean_estimate(sample)], np.ones(2))
    assert found.ends == pytest.approx(2 + np.array(interval(sample, "mean").ends))


@pytest.mark.parametrize(
    ("ones", "n", "low", "high"),
    # Hollander, Wolfe and Chicken, Nonparametric Statistical Methods: the beta quantiles.
    [(18, 20, stats.beta.ppf(0.025, 18, 3), stats.beta.ppf(0.975, 19, 2)),
     (0, 10, 0.0, 1 - 0.025 ** (1 / 10)), (10, 10, 0.025 ** (1 / 10), 1.0)],
)  # fmt: skip
def test_a_share_has_the_exact_binomial_interval(ones, n, low, high):
    sample = np.arange(n) < ones
    found = interval(sample.astype(float), "share")
    assert found.ends == pytest.approx((low, high))


def test_eighteen_of_twenty_are_not_above_three_quarters():
    low, high = interval(np.repeat([1.0, 0.0], [18, 2]), "share").ends
    assert (round(low, 2), round(high, 2)) == (0.68, 0.99)


@pytest.mark.parametrize(
    ("n", "ranks", "level"), [(5, (1, 5), 0.9375), (6, (1, 6), 0.95), (20, (6, 15), 0.95)]
)
def test_the_median_lies_between_order_statistics(n, ranks, level):
    sample = RNG.permutation(np.arange(1.0, n + 1))
    found = interval(sample, "median")
    assert found.ends == ranks
    assert found.level == level
    inside = stats.binom(n, 0.5).cdf(ranks[1] - 1) - stats.binom(n, 0.5).cdf(ranks[0] - 1)
    assert inside >= level


@pytest.mark.parametrize("statistic", sorted(set(STATISTICS) - {"share"}))
def test_too_few_draws_have_an_open_interval(statistic):
    sample = 1 + RNG.random(LEAST[statistic])
    assert np.isfinite(interval(sample, statistic).ends).all()
    few = interval(sample[:-1], statistic)
    assert few == Interval(-inf, inf, METHODS[statistic])


@pytest.mark.parametrize("statistic", sorted(set(STATISTICS) - {"share"}))
def test_draws_without_spread_have_none(statistic):
    value = STATISTICS[statistic](np.full(12, 2.0))
    assert interval(np.full(12, 2.0), statistic).ends == pytest.approx((value, value))


def test_an_exact_number_has_no_level():
    assert Interval.exact(2.0) == Interval(2.0, 2.0, "exact", None)


@pytest.mark.parametrize(
    ("statistic", "values", "problem"),
    [("share", [0.0, 0.5], "'share' of other values"), ("geometric mean", [1.0, 0.0], "not pos")],
)
def test_values_that_a_statistic_cannot_take(statistic, values, problem):
    with pytest.raises(ConfigurationError, match=problem):
        interval(np.array(values), statistic)


def test_few_draws_leave_a_slope_open():
    estimates = [log_estimate(np.array([1.0, 2.0]), "mean"), log_estimate(np.ones(4), "mean")]
    assert linear_interval(estimates, np.ones(2)).ends == (-inf, inf)


@cache
def mean_coverage(name: str, n: int) -> float:
    """How often Student's interval of n draws holds the mean, many samples at once."""
    rng = np.random.default_rng(n)
    samples = DISTRIBUTIONS[name](rng, (min(20_000, 1_000_000 // n), n))
    means, errors = samples.mean(axis=1), samples.std(axis=1, ddof=1) / np.sqrt(n)
    reach = stats.t.ppf(0.975, n - 1) * errors
    ends = interval(samples[0], "mean").ends
    assert ends == pytest.approx((means[0] - reach[0], means[0] + reach[0]))
    return float(np.mean(np.abs(means - truth(name, "mean")) <= reach))


@pytest.mark.parametrize("name", CALM)
def test_the_mean_holds_its_level_at_every_n_in_use(name):
    attained = {n: mean_coverage(name, n) for n in covered("mean")}
    assert {n: one for n, one in attained.items() if one < 0.91} == {}


EVEN = [(name, 1, scale) for name in CALM for scale in (1.0, 3.0)]
UNEVEN = [(name, 4, scale) for name in CALM[:2] for scale in (0.5, 3.0)]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "factor", "scale"), EVEN + UNEVEN)
def test_differences_hold_their_level(name, factor, scale):
    found = {
        n: attained(of_difference(name, n, factor * n, scale), 1000)
        for n in covered("mean")
        if n <= 20
    }
    assert {n: one for n, one in found.items() if one < 0.91} == {}


@pytest.mark.slow
@pytest.mark.parametrize("statistic", ["mean", "geometric mean", "median"])
@pytest.mark.parametrize("spread", [0.1, 0.5])
def test_slopes_hold_their_level(statistic, spread):
    found = {
        n: attained(of_slope(statistic, n, spread), 500) for n in covered(statistic) if n < 300
    }
    assert {n: one for n, one in found.items() if one < 0.91} == {}


# Not the geometric mean of draws that may be negative.
KNOWN = [
    (statistic, name)
    for statistic in ("median", "geometric mean")
    for name in DISTRIBUTIONS
    if truth(name, statistic) is not None
]


@pytest.mark.slow
@pytest.mark.parametrize(("statistic", "name"), KNOWN)
def test_medians_hold_their_level_however_skewed(statistic, name):
    found = {n: attained(of_statistic(name, statistic, n), 500) for n in covered(statistic)}
    assert {n: one for n, one in found.items() if one < 0.91} == {}


def documented() -> dict[tuple[str, str, int], float]:
    """Coverage that docs/verdicts.md tells, by statistic, distribution and n."""
    rows = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 6 and re.fullmatch(r"\d+", cells[1]):
            for name, cell in zip(DISTRIBUTIONS, cells[2:], strict=True):
                if cell != "–":
                    rows[cells[0], name, int(cells[1])] = float(cell)
    return rows


def test_the_page_tells_the_coverage_of_the_mean():
    rows = {key: value for key, value in documented().items() if key[0] == "mean"}
    assert {n for _, _, n in rows} == set(covered("mean"))
    for (_, name, n), value in rows.items():
        assert mean_coverage(name, n) == pytest.approx(value, abs=0.001), (name, n)


@pytest.mark.slow
def test_the_page_tells_the_coverage_of_spreads():
    rows = {key: value for key, value in documented().items() if key[0] != "mean"}
    assert {statistic for statistic, _, _ in rows} == {"std", "dispersion"}
    for (statistic, name, n), value in rows.items():
        found = attained(of_statistic(name, statistic, n), 1000)
        print(f"{statistic}, {name}, n = {n}: {found:.3f}")
        assert found == pytest.approx(value, abs=0.01), (statistic, name, n)


def test_there_are_numbers_in_use():
    assert {3, 5, 10, 20, 100, 200, 500} <= set(numbers_in_use())
