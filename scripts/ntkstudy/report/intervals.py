"""Statistics over seeds with their intervals, as error bars.

Apart from `plotting`, so that figures without them do not depend on how claims are judged.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ..claims.uncertainty import evaluate, interval


def draw_intervals(
    axes: Axes, places: Iterable, samples: Sequence[np.ndarray], statistic: str, **style: Any
) -> None:
    """A statistic of samples over seeds against their places, with its 95 % interval as a bar."""
    centres = np.array([evaluate(sample, statistic) for sample in samples])
    ends = np.array([interval(sample, statistic).ends for sample in samples])
    axes.errorbar(places, centres, np.abs(ends.T - centres), **style)
