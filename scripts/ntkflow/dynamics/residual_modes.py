"""Residuals along a kernel's eigenvectors: what training leaves of them, and in which order."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import check_shape
from .training_dynamics import Times


class ResidualModes(NamedTuple):
    """What training has left of the residual along K's eigenvectors.

    Attributes:
        left: share of the squared residual left, (k,).
        expected: the same under lazy training, (k,).
        order: Spearman's rank correlation of eigenvalues and shares learned, a scalar: 1 where
            larger eigenvalues have learned more. NaN before the first step and after divergence.

    Examples:
        >>> values, vectors = torch.tensor([1.0, 0.5]), torch.eye(2)
        >>> before, after = torch.tensor([[2.0], [2.0]]), torch.tensor([[0.0], [1.0]])
        >>> found = ntkflow.residual_modes(
        ...     values, vectors, before, after, steps=1, learning_rate=0.25
        ... )
        >>> found.left.tolist(), found.expected.tolist(), found.order.item()
        ([0.0, 0.25], [0.5625, 0.765625], 1.0)
    """

    left: Tensor
    expected: Tensor
    order: Tensor


def residual_modes(
    eigenvalues: Float[Tensor, " k"],
    eigenvectors: Float[Tensor, "n k"],
    before: Float[Tensor, "n o"],
    after: Float[Tensor, "n o"],
    *,
    learning_rate: float | int,
    steps: int,
) -> ResidualModes:
    """Share of the squared residual left along each eigenvector u_i of the initial kernel K_0.

    left_i = |u_i' (f_t - y)|^2 / |u_i' (f_0 - y)|^2, |.|^2 over outputs. Gradient descent on
    (1/n) sum |f - y|^2 with a constant kernel leaves (1 - 2 eta lambda_i / n)^(2t) of it, lambda_i
    the eigenvalue of K_0 itself (Jacot et al. 2018, arXiv:1806.07572, section 5).

    Args:
        eigenvalues: lambda_i, as many as are looked at.
        eigenvectors: u_i as columns, in the same order.
        before: residual f_0 - y on the training set.
        after: residual f_t - y.
        learning_rate: eta.
        steps: t, updates between the two.

    Raises:
        KernelError: if shapes do not fit each other.

    Examples:
        >>> values, vectors = torch.tensor([1.0, 0.5]), torch.eye(2)
        >>> before, after = torch.tensor([[2.0], [2.0]]), torch.tensor([[0.2], [1.0]])
        >>> found = ntkflow.residual_modes(
        ...     values, vectors, before, after, learning_rate=0.5, steps=2
        ... )
        >>> found.left.numpy().round(4), found.expected.numpy().round(4), found.order.item()
        (array([0.01, 0.25]), array([0.0625, 0.3164]), 1.0)
    """
    n, k = eigenvectors.shape
    check_shape("eigenvalues", eigenvalues, k)
    check_shape("before", before, n, None)
    check_shape("after", after, *before.shape)
    left = _projections(eigenvectors, after) / _projections(eigenvectors, before)
    expected = _kept(eigenvalues, n, learning_rate) ** (2 * steps)
    order = _rank_correlation(eigenvalues, -left)
    return ResidualModes(left, expected, order if steps else torch.full_like(order, torch.nan))


def linear_losses(
    eigenvalues: Float[Tensor, " n"],
    eigenvectors: Float[Tensor, "n n"],
    residual: Float[Tensor, "n o"],
    t: Times,
    *,
    learning_rate: float | int,
) -> Float[Tensor, "*t"]:
    """Squared loss of gradient descent with a constant kernel, from its eigenpairs.

    L(t) = (1/n) sum_i (1 - 2 eta lambda_i / n)^(2t) |u_i' (f_0 - y)|^2, the loss summed over
    outputs. Eigenvectors in another order answer what they alone are worth: the spectrum stays.

    Args:
        eigenvalues: lambda_i of K, not divided by n.
        eigenvectors: u_i as columns, in the same order.
        residual: f_0 - y on the training set.
        t: whole number of steps (result a scalar) or T of them (result (T,)).
        learning_rate: eta; n / (2 lambda_max) learns the first direction in one step.

    Raises:
        KernelError: if shapes do not fit each other.

    Examples:
        >>> values, vectors = torch.tensor([2.0, 1.0]), torch.eye(2)
        >>> residual = torch.tensor([[2.0], [0.0]])
        >>> ntkflow.linear_losses(values, vectors, residual, [0, 1], learning_rate=0.5)
        tensor([2., 0.], dtype=torch.float64)
        >>> ntkflow.linear_losses(values, vectors.flip(1), residual, [0, 1], learning_rate=0.5)
        tensor([2.0000, 0.5000], dtype=torch.float64)
    """
    n = len(eigenvectors)
    check_shape("eigenvectors", eigenvectors, n, n)
    check_shape("eigenvalues", eigenvalues, n)
    check_shape("residual", residual, n, None)
    times = torch.as_tensor(t, dtype=torch.float64, device=eigenvalues.device)
    left = _kept(eigenvalues, n, learning_rate) ** (2 * times[..., None])
    return left @ _projections(eigenvectors, residual) / n


def _kept(eigenvalues: Tensor, n: int, learning_rate: float) -> Float[Tensor, " k"]:
    """Fraction of its residual that each direction keeps in one step, with its sign."""
    return 1 - 2 * learning_rate / n * eigenvalues.double()


def _projections(
    eigenvectors: Float[Tensor, "n k"], residual: Float[Tensor, "n o"]
) -> Float[Tensor, " k"]:
    """|u_i' r|^2, summed over outputs."""
    return (eigenvectors.double().T @ residual.double()).square().sum(1)


def _rank_correlation(first: Float[Tensor, " k"], second: Float[Tensor, " k"]) -> Float[Tensor, ""]:
    """Spearman's, 1 - 6 sum d^2 / (k (k^2 - 1)) for values without ties; NaN if one is not finite.

    d are differences of ranks.
    """
    ranks = [values.argsort().argsort().double() for values in (first, second)]
    k = len(first)
    found = 1 - 6 * (ranks[0] - ranks[1]).square().sum() / (k * (k * k - 1))
    sound = first.isfinite().all() & second.isfinite().all()
    return found.where(sound, torch.nan)
