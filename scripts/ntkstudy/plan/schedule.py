"""Steps of training at which something is recorded."""

import numpy as np


def spread_steps(count: int, steps: int, spacing: str) -> list[int]:
    """About `count` steps after 0, spread over training, 0 and the last step included.

    Args:
        count: how many; fewer where rounding makes two equal.
        steps: the last step.
        spacing: "linear" or "log" (equal ratios from step 1 on).
    """
    if spacing == "log":
        after = np.geomspace(1, steps, count) if count > 1 else [steps]
    else:
        after = np.linspace(0, steps, count + 1)[1:]
    return sorted({0, *(round(float(step)) for step in after)})
