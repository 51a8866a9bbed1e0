"""NumPy arrays of whatever a user hands over."""

from typing import Any

import numpy as np


def to_numpy(values: Any) -> np.ndarray:
    """An array, a sequence, or a tensor of any device, which NumPy would refuse, as an array."""
    return np.asarray(values.cpu() if hasattr(values, "cpu") else values)
