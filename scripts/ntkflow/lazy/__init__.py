"""Lazy training: the linearised network, its training, and how far from it a network is."""

from .curvature import Kappa, jacobian_norm, kappa, second_derivative_norm
from .dynamics import LinearizedTraining
from .linearization import Linearized, ScaledOutput

__all__ = [
    "Kappa",
    "Linearized",
    "LinearizedTraining",
    "ScaledOutput",
    "jacobian_norm",
    "kappa",
    "second_derivative_norm",
]
