import math
import os
import time
from pathlib import Path

import pytest
import torch

from ntkstudy.measurements.spectrum_cost import measure_cost

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
