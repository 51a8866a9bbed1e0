"""Lazy training: the linearised network, and how far from it a network is."""

from .curvature import Kappa, jacobian_norm, kappa, second_derivative_norm
from .linearization import Linearized, ScaledOutput

__all__ = [
    "Kappa",
    "Linearized",
    "ScaledOutput",
    "jacobian_norm",
    "kappa",
    "second_derivative_norm",
]
