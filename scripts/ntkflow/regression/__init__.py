"""Kernel regression: ridge, Gaussian processes, kernel machines."""

from .ridge import gaussian_process, ridge_regression

__all__ = ["gaussian_process", "ridge_regression"]
