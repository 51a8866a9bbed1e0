"""The jackknife against statistics whose answer is known."""

import numpy as np
import pytest

from ntkstudy.derived.jackknife import jackknife_variance, leave_one_out, pseudo_values

SAMPLE = np.random.default_rng(0).standard_normal((9, 4)) ** 3


def mean(sample):
    return sample.mean(axis=0)


def test_pseudo_values_of_a_mean_are_the_sample():
    np.testing.assert_allclose(pseudo_values(mean, SAMPLE), SAMPLE, rtol=0, atol=1e-12)


def test_pseudo_values_remove_the_bias_of_the_variance():
    found = pseudo_values(lambda sample: sample.var(axis=0), SAMPLE).mean(axis=0)
    np.testing.assert_allclose(found, SAMPLE.var(axis=0, ddof=1), rtol=1e-12)


def test_variance_is_that_of_the_mean_of_the_pseudo_values():
    found = jackknife_variance(leave_one_out(np.median, SAMPLE[:, 0]))
    by_hand = [np.median([v for j, v in enumerate(SAMPLE[:, 0]) if j != i]) for i in range(9)]
    pseudo = [9 * np.median(SAMPLE[:, 0]) - 8 * value for value in by_hand]
    assert found == pytest.approx(np.var(pseudo, ddof=1) / 9)


def test_nothing_is_left_out_of_one_observation():
    np.testing.assert_array_equal(pseudo_values(mean, SAMPLE[:1]), SAMPLE[:1])
