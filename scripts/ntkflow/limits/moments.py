"""Moments of the coordinates of a wide network against those of its Gaussian limit."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import check_shape

MOMENTS = ("x", "x^2", "relu(x) relu(y)", "x^2 y^2")


def gaussian_moments(
    covariance: Float[Tensor, "n n"],
) -> tuple[Float[Tensor, "psi n n"], Float[Tensor, "psi n n"]]:
    """E[psi(x_i, x_j)] and its standard deviation for x ~ N(0, Sigma), psi the four `MOMENTS`.

    With s_i^2 = Sigma_ii, rho the correlation and cos t = rho, E[relu(x)^k relu(y)^k] is
    (s_i s_j)^k J_k(t) / (2 pi), J_1 = sin t + (pi - t) cos t and J_2 = 3 sin t cos t +
    (pi - t) (1 + 2 cos^2 t) (Cho, Saul 2009, section 2); E[x^2 y^2] = (s_i s_j)^2 (1 + 2 rho^2) and
    E[x^4 y^4] = (s_i s_j)^4 (9 + 72 rho^2 + 24 rho^4) by Isserlis' theorem.

    Args:
        covariance: Sigma, with a positive diagonal.

    Returns:
        Means and standard deviations; those of x and x^2 are of x_i, the same for every j.

    Raises:
        KernelError: if the covariance is not square.

    Examples:
        >>> from ntkflow.limits.moments import gaussian_moments
        >>> mean, std = gaussian_moments(torch.eye(2, dtype=torch.float64))
        >>> mean[:, 0, 0].tolist(), mean[3, 0, 1].item(), round(std[3, 0, 0].item() ** 2, 9)
        ([0.0, 1.0, 0.5, 3.0], 1.0, 96.0)
    """
    check_shape("covariance", covariance, len(covariance), len(covariance))
    variance = covariance.diagonal()
    sizes = (variance[:, None] * variance).sqrt()
    rho = (covariance / sizes).clamp(-1.0, 1.0)
    angle = rho.arccos()
    sine, rest = (1 - rho**2).sqrt(), math.pi - angle
    first = (sine + rest * rho) / (2 * math.pi)
    second = (3 * sine * rho + rest * (1 + 2 * rho**2)) / (2 * math.pi)
    alone = variance[:, None].expand_as(covariance)
    mean = [torch.zeros_like(covariance), alone, sizes * first, sizes**2 * (1 + 2 * rho**2)]
    square = [alone, 3 * alone**2, sizes**2 * second, sizes**4 * (9 + 72 * rho**2 + 24 * rho**4)]
    means = torch.stack(mean)
    return means, (torch.stack(square) - means**2).sqrt()


def moment_errors(
    coordinates: Float[Tensor, "n width"], covariance: Float[Tensor, "n n"]
) -> Float[Tensor, " psi"]:
    """How far averages over the coordinates of a vector are from the moments of its limit.

    The root mean square, over pairs i, j of different inputs, of ((1/n) sum_a psi(h_a(x_i),
    h_a(x_j)) - E psi) / std psi, psi the four `MOMENTS` and n the width: n^(-1/2) on average for
    independent coordinates. Source: Yang 2019 (arXiv:1910.12478), Theorem 5.4.

    Args:
        coordinates: h_a(x_i), of two inputs or more.
        covariance: that of a coordinate at infinite width, `limit_kernels(...).nngp`.

    Returns:
        One number for each psi, in the order of `MOMENTS`.

    Raises:
        KernelError: if the covariance has not a row and a column for each input.

    Examples:
        >>> from ntkflow.limits.moments import moment_errors
        >>> moment_errors(torch.randn(3, 100), torch.eye(3)).shape
        torch.Size([4])
    """
    check_shape("covariance", covariance, len(coordinates), len(coordinates))
    h, positive, width = coordinates, coordinates.relu(), coordinates.shape[1]
    rows = [each.mean(1, keepdim=True).expand_as(covariance) for each in (h, h**2)]
    pairs = [each @ each.mT / width for each in (positive, h**2)]
    mean, std = gaussian_moments(covariance)
    off = (torch.stack([*rows, *pairs]) - mean) / std
    different = ~torch.eye(len(h), dtype=torch.bool, device=h.device)
    return off[:, different].square().mean(1).sqrt()
