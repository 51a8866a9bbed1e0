"""Kernel regression: ridge, Gaussian processes, kernel machines."""

from .fits import RidgeFit
from .fitting import kernel_ridge
from .grids import RidgeErrors
from .ridge import gaussian_process, ridge_regression

__all__ = [
    "RidgeErrors",
    "RidgeFit",
    "gaussian_process",
    "kernel_ridge",
    "ridge_regression",
]
