"""Lazy training: the linearised network, and how far from it a network is."""

from .curvature import Kappa, jacobian_norm, kappa, second_derivative_norm
from .linearization import Linearized, ScaledOutput
from .movement import Movement, parameter_distances

__all__ = [
    "Kappa",
    "Linearized",
    "Movement",
    "ScaledOutput",
    "jacobian_norm",
    "kappa",
    "parameter_distances",
    "second_derivative_norm",
]
