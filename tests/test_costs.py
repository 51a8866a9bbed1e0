"""Seconds and bytes of kernels and of their spectra."""

import ctypes
import math
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from study_cases import (
    DIGITS,
    digits_data,
    digits_networks,
    labelled_data,
    labelled_networks,
    measured,
)

from ntkflow.empirical import empirical_ntk
from ntkstudy.theory.costs import layerwise_kernel, loop_kernel, measure_cost, vmap_kernel

COUNT = 5 * 10**7


def test_seconds_are_those_of_the_call():
    def call():
        time.sleep(0.2)
        return torch.ones(1)

    begin = time.perf_counter()
    result, seconds, _ = measure_cost(call)
    assert 0.2 <= seconds <= time.perf_counter() - begin
    assert result.item() == 1


def resolution():
    """Bytes that Linux may not have counted yet: a batch of pages on every processor."""
    processors = os.cpu_count()
    return max(32, 2 * processors) * processors * os.sysconf("SC_PAGE_SIZE")


def test_second_call_that_takes_the_same_memory_is_seen():
    torch.ones(COUNT)  # starts torch's threads, which would count in the first call
    for _ in range(3):
        result, _, size = measure_cost(lambda: torch.ones(COUNT))
        assert result.sum() == COUNT
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


def test_cost_has_a_row_a_network_and_a_column_a_way(digits, monkeypatch):
    costs = {loop_kernel: (8.0, 10.0), vmap_kernel: (2.0, 240.0), layerwise_kernel: (1.0, 60.0)}

    def measure(call):
        return call(), *costs[call.func]

    monkeypatch.setattr("ntkstudy.theory.costs.measure_cost", measure)
    found = measured("kernel_cost", digits_networks(seeds=2), digits, "initialization")
    expected = {
        "loop_seconds": 8, "vmap_seconds": 2, "layerwise_seconds": 1, "loop_bytes": 10,
        "vmap_bytes": 240, "layerwise_bytes": 60, "vmap_speedup": 4, "layerwise_speedup": 8,
        "vmap_bytes_per_image": 240 / DIGITS["train_points"], "layerwise_share": 0.25,
    }  # fmt: skip
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], [value] * 2, rtol=1e-15, err_msg=name)


def test_cost_compares_the_two_ways(tmp_path, monkeypatch):
    costs = {2: (2.0, 100.0), 8: (6.0, 400.0)}  # by the number of eigenvalues

    def measure(call):
        values = call()
        return values, *costs[len(values)]

    monkeypatch.setattr("ntkstudy.theory.costs.measure_cost", measure)
    with labelled_data(tmp_path) as data:
        networks = labelled_networks(data)
        found = measured("spectrum_cost", networks, data, "initialization", eigenvalues=2)
    expected = {
        "seconds": 6, "free_seconds": 2, "bytes": 400, "free_bytes": 100, "speedup": 3,
        "memory_ratio": 0.25,
    }  # fmt: skip
    assert found.keys() == {*expected, "error"}
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], [value] * 3, err_msg=name)
    assert (found["error"] < 1e-6).all()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prctl is of Linux")
def test_costs_are_measured_on_small_pages_and_large_ones_come_back():
    prctl = ctypes.CDLL(None).prctl
    disabled = 42  # Linux: PR_GET_THP_DISABLE
    before = prctl(disabled, 0, 0, 0, 0)
    found, *_ = measure_cost(lambda: prctl(disabled, 0, 0, 0, 0))
    assert found == 1
    assert prctl(disabled, 0, 0, 0, 0) == before
