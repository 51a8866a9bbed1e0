"""Neural tangent kernels and Gaussian-process kernels of infinitely wide networks."""

from .activations import register_activation
from .circle import circle_eigenvalues
from .kernels import LimitKernels, SampledKernels, limit_kernels

__all__ = [
    "LimitKernels",
    "SampledKernels",
    "circle_eigenvalues",
    "limit_kernels",
    "register_activation",
]
