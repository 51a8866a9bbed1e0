"""What regularisation alone does to a kernel: null models for its measurements."""

import math
from collections.abc import Mapping
from typing import Any


def shrinkage_factor(training: Mapping[str, Any], step: int, *, hidden_layers: int = 1) -> float:
    """Factor on the NTK of a network without biases whose weights only shrink, for `step` steps.

    The kernel is homogeneous of degree 2L in the weights of L hidden layers of a positively
    homogeneous activation: L2 shrinks them by `keep` a step, so the factor is keep^(2 L t), with
    keep = 1 - 2 eta l2 and, for the decay `seed`, l2 less. L1 moves every N(0, 1) weight by
    s = eta l1 t towards 0, which takes its second moment to 2 (1 + s^2) (1 - Phi(s)) - 2 s phi(s),
    here to the power L.

    Args:
        training: block of the configuration.
        step: t, number of gradient steps.
        hidden_layers: L.

    Returns:
        The factor; NaN for Adam with a penalty that is part of the loss, whose step is not
        proportional to its gradient.
    """
    if training.get("optimizer", "sgd") != "sgd" and training.get("decay") != "decoupled":
        return math.nan
    rate = training.get("learning_rate", 0.0)
    l1, l2 = training.get("l1", 0.0), training.get("l2", 0.0)
    keep = 1 - 2 * rate * l2 - (l2 if training.get("decay") == "seed" else 0.0)
    return (keep ** (2 * step) * soft_second_moment(rate * l1 * step)) ** hidden_layers


def soft_second_moment(s: float) -> float:
    """E[max(|z| - s, 0)^2] for z ~ N(0, 1): 2 (1 + s^2) (1 - Phi(s)) - 2 s phi(s)."""
    tail = math.erfc(s / math.sqrt(2))
    density = math.exp(-s * s / 2) / math.sqrt(2 * math.pi)
    return max(0.0, (1 + s * s) * tail - 2 * s * density)
