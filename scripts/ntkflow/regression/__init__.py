"""Kernel regression: ridge of any size, Gaussian processes, kernel machines, learning curves.

`kernel_ridge` is in `fitting`: it reads files, and the rest does without h5py.
"""

from .learning_curve import LearningCurve, learning_curve, total_learnability
from .ridge import gaussian_process, ridge_regression

__all__ = [
    "LearningCurve",
    "gaussian_process",
    "learning_curve",
    "ridge_regression",
    "total_learnability",
]
