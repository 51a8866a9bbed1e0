"""Responses in compiled loops, against numbers of forty digits and against torch's operations."""

import math

import mpmath
import numpy as np
import pytest
import torch

from ntkflow.limits import angle_loops
from ntkflow.limits.duals import Homogeneous

ACTIVATIONS = [torch.relu, torch.nn.functional.leaky_relu, torch.abs]


@pytest.fixture(params=[np.float32, np.float64], ids=["single", "double"])
def kind(request):
    return request.param


def deltas(kind):
    """Gaps from tiny to 2 exclusive, 0 and 1 among them."""
    rng = np.random.default_rng(0)
    small = np.logspace(-30, 0, 301)
    return np.concatenate([[0.0, 1.0], small, rng.uniform(0, 1.99, 400)]).astype(kind)


@mpmath.workdps(40)
def exact(delta, odd, even):
    """Slope of the formula in `respond`, gap, and the sum of the sizes of what is added to that."""
    delta, total = mpmath.mpf(float(delta)), mpmath.mpf(odd) + mpmath.mpf(even)
    phi = mpmath.acos(1 - delta)
    slope = odd + even * (1 - 2 * phi / mpmath.pi)
    parts = delta * slope / total, 2 / mpmath.pi * even * (phi - mpmath.sin(phi)) / total
    return slope, sum(parts), sum(map(abs, parts))


@pytest.mark.parametrize("function", ACTIVATIONS)
def test_responses_are_those_of_the_formula(kind, function):
    dual, delta = Homogeneous(function), deltas(kind)
    gap = delta.copy()
    slope = angle_loops.respond(gap, dual.odd, dual.even)
    assert slope.dtype == gap.dtype == kind
    eps = np.finfo(kind).eps
    for at, found_slope, found_gap in zip(delta, slope, gap, strict=True):
        true_slope, true_gap, size = exact(at, dual.odd, dual.even)
        assert abs(float(found_slope - true_slope)) <= 2 * eps * (dual.odd + dual.even)
        assert abs(float(found_gap - true_gap)) <= 4 * eps * float(size)


@pytest.mark.parametrize("function", ACTIVATIONS)
def test_torch_operations_give_the_same_at_wide_angles(kind, function):
    dual = Homogeneous(function)
    delta = torch.from_numpy(np.random.default_rng(1).uniform(0.1, 1.9, (3, 7, 11)).astype(kind))
    gap, slope = dual._respond(delta.clone().mul_(0.5))
    found_gap, found_slope = dual.respond(delta.clone(), None, [], [])
    tolerance = 10 * np.finfo(kind).eps
    torch.testing.assert_close(found_gap, gap, rtol=0, atol=tolerance)
    torch.testing.assert_close(found_slope, slope, rtol=0, atol=tolerance)


def test_pairs_out_of_order_in_memory_and_of_no_number():
    dual, delta = Homogeneous(torch.relu), torch.rand(5, 4, dtype=torch.float64)
    delta[1, 2] = math.nan
    gap, slope = dual.respond(delta.clone(), None, [], [])
    turned_gap, turned_slope = dual.respond(delta.mT.clone().mT, None, [], [])
    assert torch.equal(gap.isnan(), delta.isnan())
    assert torch.equal(slope.isnan(), delta.isnan())
    torch.testing.assert_close(turned_gap, gap, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(turned_slope, slope, rtol=0, atol=0, equal_nan=True)
    assert dual.respond(torch.empty(0, 3), None, [], [])[0].shape == (0, 3)
