"""Eigenvalues of a kernel for inputs on the unit circle, one per Fourier mode."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..checks import check_choice
from ..errors import ConfigurationError
from .kernels import LimitKernels, limit_kernels


def circle_eigenvalues(
    network: nn.Module | Callable[[Tensor, Tensor], Tensor],
    modes: Sequence[int],
    *,
    kernel: str = "ntk",
    nodes: int = 256,
) -> Float[Tensor, "k"]:
    """Eigenvalue of a rotation-invariant kernel for each Fourier mode of the unit circle in R^2.

    lambda_k = (1/2pi) integral_{-pi}^{pi} Theta(D) cos(k D) dD, Theta(D) being the kernel at angle
    D: the Gram eigenvalue divided by N of N equally spaced inputs, N -> infinity; two-fold (cos and
    sin) for k >= 1. By symmetry it is (1/pi) times the integral over [0, pi], where kernels of
    ReLU nets are smooth up to both ends (their |D| is at 0): Gauss-Legendre converges fast.

    Args:
        network: a network of inputs (N, 2) as in `limit_kernels`, or a function of inputs (1, 2)
            and (M, 2) that returns a kernel (1, M).
        modes: Fourier modes k >= 0.
        kernel: "ntk" or "nngp", which limit of a network.
        nodes: number of Gauss-Legendre nodes; 256 give about 1e-14 absolute up to k = 128.

    Returns:
        lambda_k for each mode, in float64.

    Raises:
        ConfigurationError: if `kernel` is neither, or a mode is beyond what the nodes resolve.

    Source: Bietti, Mairal 2019, arXiv:1905.12173, Proposition 5; Basri et al. 2020,
    arXiv:2003.04560, eq. 16, lists Fourier coefficients, which are twice these for k >= 1.

    Examples:
        >>> network = ntkflow.mlp(2, [1], sigma_b=0.0, device="meta")
        >>> ntkflow.circle_eigenvalues(network, [1])  # exactly 1/8
        tensor([0.1250], dtype=torch.float64)
    """
    check_choice("kernel", kernel, LimitKernels._fields)
    k = torch.as_tensor(modes, dtype=torch.float64)
    if not ((k >= 0) & (k < nodes)).all():
        raise ConfigurationError(f"modes: {list(modes)} must lie in 0 ... nodes - 1 = {nodes - 1}")
    angles, weights = _half_circle(nodes)
    points = torch.stack([angles.cos(), angles.sin()], dim=1)
    values = _kernel_function(network, kernel)(torch.tensor([[1.0, 0.0]]).double(), points)[0]
    return torch.cos(k[:, None] * angles) @ (values * weights) / math.pi


def _kernel_function(network, kernel: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The limit kernel of a network, or the given function itself."""
    if isinstance(network, nn.Module):
        return lambda x1, x2: getattr(limit_kernels(network, x1, x2, only=kernel), kernel)
    return network


def _half_circle(nodes: int) -> tuple[Tensor, Tensor]:
    """Gauss-Legendre nodes and weights on [0, pi]."""
    x, weights = (torch.from_numpy(each) for each in np.polynomial.legendre.leggauss(nodes))
    return (x + 1) * (math.pi / 2), weights * (math.pi / 2)
