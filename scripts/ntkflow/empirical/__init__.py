"""Kernels of finite networks: dense blocks, matrix-free operators and leading eigenpairs."""

from .kernel import Kernel, empirical_ntk

__all__ = ["Kernel", "empirical_ntk"]
