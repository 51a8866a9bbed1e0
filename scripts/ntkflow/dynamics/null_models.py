"""What regularisation alone does to a kernel: null models for its measurements."""

import math

from torch import nn

from ..networks import (
    Abs,
    Conv2d,
    Dense,
    GlobalAveragePool,
    StandardConv2d,
    StandardLinear,
)

_WEIGHTED = (Dense, Conv2d, StandardLinear, StandardConv2d, nn.Linear, nn.Conv2d)
# A mask of dropout is a linear map too, and a network is evaluated without it.
_HOMOGENEOUS = (nn.ReLU, nn.LeakyReLU, Abs, nn.Identity, nn.Flatten, GlobalAveragePool, nn.Dropout)


def is_positively_homogeneous(network: nn.Module) -> bool:
    """Whether f(c theta) = c^(L+1) f(theta) for c > 0, with L + 1 layers that have weights.

    So it is for dense and convolutional layers without biases one after the other, with relu,
    leaky relu, abs or nothing between them; the kernel is homogeneous of degree 2 L then. Layers
    that are normalised do not follow the size of their weights. For layers that are not known here
    the answer is no.

    Examples:
        >>> from ntkflow.dynamics.null_models import is_positively_homogeneous
        >>> [is_positively_homogeneous(ntkflow.mlp(2, [8], sigma_b=b)) for b in (0.0, 0.1)]
        [True, False]
    """
    if type(network) is nn.Sequential:
        return all(map(is_positively_homogeneous, network))
    if type(network) in _WEIGHTED:
        return network.bias is None
    return type(network) in _HOMOGENEOUS


def shrinkage_factor(
    step: int,
    *,
    learning_rate: float,
    l1: float = 0.0,
    l2: float = 0.0,
    decay: str = "coupled",
    hidden_layers: int = 1,
) -> float:
    """Factor on the NTK of a positively homogeneous network whose weights only shrink.

    Its kernel is of degree 2 L in the weights. Gradient descent on the penalty alone,
    theta <- keep theta - eta l1 sign(theta) with keep = 1 - 2 eta l2 (for the decay `seed` l2
    less), takes a weight z to the sign of z times max(k |z| - d, 0), k = keep^t and
    d = eta l1 (1 - k) / (1 - keep). So the second moment of N(0, 1) weights, on which a wide
    network's kernel depends layer by layer, becomes k^2 m(d / k), m as in `soft_second_moment`, and
    the factor is its power L: keep^(2 L t) without L1, for any weights and any width.

    Args:
        step: t >= 0, number of gradient steps.
        learning_rate: eta.
        l1: factor >= 0; with it weights are N(0, 1) at the start, as in the NTK parameterization.
        l2: factor >= 0, with keep > 0.
        decay: "coupled", "decoupled" (the same here) or "seed", as in `ntkflow.train_ensemble`.
        hidden_layers: L.

    Returns:
        The factor, a number between 0 and 1.

    Examples:
        >>> from ntkflow.dynamics.null_models import shrinkage_factor
        >>> round(shrinkage_factor(100, learning_rate=0.1, l2=0.01), 4)
        0.6701
    """
    keep = 1 - 2 * learning_rate * l2 - (l2 if decay == "seed" else 0.0)
    kept = keep**step
    steps = step if keep == 1 else (1 - kept) / (1 - keep)
    shift = learning_rate * l1 * steps
    return (kept**2 * soft_second_moment(shift / kept)) ** hidden_layers if kept else 0.0


def soft_second_moment(s: float) -> float:
    """E[max(|z| - s, 0)^2] for z ~ N(0, 1): 2 (1 + s^2) (1 - Phi(s)) - 2 s phi(s)."""
    tail = math.erfc(s / math.sqrt(2))
    density = math.exp(-s * s / 2) / math.sqrt(2 * math.pi)
    return max(0.0, (1 + s * s) * tail - 2 * s * density)
