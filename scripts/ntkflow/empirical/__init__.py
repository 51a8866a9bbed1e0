"""Kernels of finite networks: dense blocks, matrix-free operators and leading eigenpairs."""

from .differential import gradient, laplacian
from .eigenpairs import Eigenpairs, top_eigenpairs
from .explanation import Explanation, explain
from .kernel import Kernel, empirical_ntk
from .norms import gradient_norms
from .on_diagonal import diagonal_kernel
from .operator import NtkOperator, ntk_operator
from .sketched import SketchedFeatures, sketched_features

__all__ = [
    "Eigenpairs",
    "Explanation",
    "Kernel",
    "NtkOperator",
    "SketchedFeatures",
    "diagonal_kernel",
    "empirical_ntk",
    "explain",
    "gradient",
    "gradient_norms",
    "laplacian",
    "ntk_operator",
    "sketched_features",
    "top_eigenpairs",
]
