"""NumPy arrays of whatever a user hands over."""

from typing import Any

import numpy as np


def to_numpy(values: Any) -> np.ndarray:
    """A number, an array, a sequence, or a tensor of any device and with any graph, as an array."""
    for plain in ("detach", "cpu"):  # NumPy refuses graphs and other devices
        values = getattr(values, plain)() if hasattr(values, plain) else values
    return np.asarray(values)
