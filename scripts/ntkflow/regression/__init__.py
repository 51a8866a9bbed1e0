"""Kernel regression: ridge of any size, Gaussian processes, kernel machines, learning curves."""

from .fits import RidgeFit
from .fitting import kernel_ridge
from .grids import RidgeErrors
from .learning_curve import LearningCurve, learning_curve, total_learnability
from .ridge import gaussian_process, ridge_regression

__all__ = [
    "LearningCurve",
    "RidgeErrors",
    "RidgeFit",
    "gaussian_process",
    "kernel_ridge",
    "learning_curve",
    "ridge_regression",
    "total_learnability",
]
