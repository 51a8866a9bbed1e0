"""A small regression problem, and kernel ridge regression in a line of NumPy."""

import numpy as np
import torch

from ntkflow import limit_kernels, mlp

NETWORK = mlp(4, [8, 8], 2, sigma_w=2**0.5, sigma_b=0.1)


def problem(n=120, m=9, outputs=(3,), dtype=torch.float64):
    """Inputs, targets, test inputs and the kernels of both, in float64 but for `dtype`."""
    generator = torch.Generator().manual_seed(n)
    x = torch.randn(n + m, 4, generator=generator, dtype=torch.float64)
    y = torch.randn(n, *outputs, generator=generator, dtype=torch.float64)
    kernel = limit_kernels(NETWORK, x, only="ntk").ntk.to(dtype)
    return x[:n], y, x[n:], kernel[:n, :n], kernel[n:, :n], kernel[n:, n:]


def solution(kernel, y, ridge, centre=False):
    """Coefficients and offset by NumPy's solver."""
    kernel, y = kernel.double().numpy(), y.double().numpy()
    offset = y.mean(0) if centre else 0 * y.mean(0)
    flat = (y - offset).reshape(len(y), -1)
    found = np.linalg.solve(kernel + ridge * np.eye(len(kernel)), flat)
    return torch.from_numpy(found.reshape(y.shape)), torch.from_numpy(np.asarray(offset))


def relative(found, expected):
    """Relative distance in the Frobenius norm."""
    return ((found - expected).norm() / expected.norm()).item()
