import math
from pathlib import Path

import pytest
import torch

from ntkflow.spectrum_cost import measure_cost

COUNT = 5 * 10**7


def test_second_call_that_takes_the_same_memory_is_seen():
    torch.ones(COUNT)  # starts torch's threads, which would count in the first call
    for _ in range(3):
        result, seconds, size = measure_cost(lambda: torch.ones(COUNT))
        assert result.sum() == COUNT
        assert seconds > 0
        # Only Linux lets a process reset its high-water mark.
        if Path("/proc/self/clear_refs").exists():
            assert size == pytest.approx(4 * COUNT, rel=0.1)
        else:
            assert math.isnan(size)
