"""Neural tangent kernels and Gaussian-process kernels of infinitely wide networks."""

from .circle import circle_eigenvalues
from .kernels import LimitKernels, limit_kernels
from .tracing import register_activation

__all__ = ["LimitKernels", "circle_eigenvalues", "limit_kernels", "register_activation"]
