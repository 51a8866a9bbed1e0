"""Seconds and bytes of kernels and of their spectra."""

import math
import os
from pathlib import Path

import pytest
import torch
from study_cases import (
    digits_data,
    digits_networks,
    labelled_data,
    labelled_networks,
    measured,
)

from ntkflow.empirical import empirical_ntk
from ntkstudy.theory.costs import loop_kernel, measure_cost, vmap_kernel

COUNT = 5 * 10**7


def resolution():
    """Bytes that Linux may not have counted yet: a batch of pages on every processor."""
    processors = os.cpu_count()
    return max(32, 2 * processors) * processors * os.sysconf("SC_PAGE_SIZE")


def test_second_call_that_takes_the_same_memory_is_seen():
    torch.ones(COUNT)  # starts torch's threads, which would count in the first call
    for _ in range(3):
        result, seconds, size = measure_cost(lambda: torch.ones(COUNT))
        assert result.sum() == COUNT
        assert seconds > 0
        # Only Linux lets a process reset its high-water mark.
        if Path("/proc/self/clear_refs").exists():
            assert size == pytest.approx(4 * COUNT, abs=4e6 + resolution())
        else:
            assert math.isnan(size)


@pytest.fixture
def digits(tmp_path):
    with digits_data(tmp_path) as data:
        yield data


@pytest.mark.parametrize("way", [loop_kernel, vmap_kernel])
def test_every_way_gives_one_kernel(digits, way):
    one = digits_networks()
    x = digits.training_set(dtype=torch.float64, device="cpu")[0][:4]
    parameters = {name: p.double() for name, p in one.weights.items()}
    ours = empirical_ntk(one.network, x, parameters=parameters).values
    torch.testing.assert_close(way(one.network, parameters, x), ours, rtol=1e-10, atol=1e-12)


def test_cost_has_a_row_a_network(digits):
    found = measured("kernel_cost", digits_networks(seeds=2), digits, "initialization")
    assert len(found) == 10
    for values in found.values():
        assert values.shape == (2,)
    assert (found["loop_seconds"] > 0).all()


def test_few_eigenvalues_are_the_first_of_all(tmp_path):
    with labelled_data(tmp_path) as data:
        networks = labelled_networks(data)
        found = measured("spectrum_cost", networks, data, "initialization", eigenvalues=2)
    assert (found["seconds"] > 0).all()
    assert (found["error"] < 1e-6).all()
