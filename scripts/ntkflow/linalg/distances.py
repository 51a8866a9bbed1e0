"""How far an ensemble of kernels or functions is from its limit."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import check_shape


class RelativeDistances(NamedTuple):
    """Distances of S samples K_s from a limit K; <., .> and norms are Frobenius.

    Attributes:
        sample: ||K_s - K|| / ||K||, (S,).
        mean_square: (S,), values whose mean is that of `<K_s - K, K_t - K>` / ||K||^2 over all
            pairs of samples, and whose standard deviation over sqrt(S) is its standard error. Its
            expectation over independent samples is the squared relative distance of their mean from
            K, without the noise of few samples; it may be negative. NaN for a single sample.
        scale: `<K_s, K>` / ||K||^2 - 1, (S,): how much larger a sample is along K.

    Examples:
        >>> found = ntkflow.relative_distances(torch.stack([1.5 * torch.eye(4)] * 2), torch.eye(4))
        >>> found.sample.tolist(), found.scale.tolist()
        ([0.5, 0.5], [0.5, 0.5])
    """

    sample: Tensor
    mean_square: Tensor
    scale: Tensor


def relative_distances(
    samples: Float[Tensor, "s *n"], limit: Float[Tensor, "*n"]
) -> RelativeDistances:
    """Distances of kernels (or functions) of an ensemble from their limit, relative to its size.

    Args:
        samples: K_s of independent networks, all of the limit's shape and units.
        limit: K, not 0, relative to which nothing is finite.

    Returns:
        `RelativeDistances`.

    Raises:
        KernelError: if the samples have not the shape of the limit.

    Examples:
        >>> kernels = torch.stack([1.5 * torch.eye(4), 0.5 * torch.eye(4)])
        >>> sample, mean_square, scale = ntkflow.relative_distances(kernels, torch.eye(4))
        >>> sample.tolist(), mean_square.mean().item(), scale.tolist()
        ([0.5, 0.5], -0.25, [0.5, -0.5])
    """
    check_shape("samples", samples, None, *limit.shape)
    size = limit.norm()
    off = ((samples - limit) / size).flatten(1)
    scale = off @ (limit / size).flatten()
    return RelativeDistances(off.norm(dim=1), _square_of_mean(off), scale)


def _square_of_mean(off: Float[Tensor, "s n"]) -> Float[Tensor, " s"]:
    """Jackknife values of the mean product of two rows, spread by as much as rows scatter at least.

    Where the mean is 0, those values may be nearly equal by chance, and the variance of the
    estimate is 2 tr(C^2) / S^2, C the covariance of the rows (Serfling 1980, section 5.5.2).
    """
    values, count = _jackknife(*_mean_products(off)), len(off)
    if count < 2:
        return values
    apart = off - off.mean(0)
    square = apart @ apart.T if count < off.shape[1] else apart.T @ apart
    least = (2 / count) ** 0.5 * square.norm() / (count - 1)
    places = torch.arange(count, dtype=off.dtype, device=off.device)
    around = values - values.mean()
    around = torch.where(around.std() > 0, around, places)
    around = around - around.mean()
    return values.mean() + around * torch.maximum(least, values.std()) / around.std()


def pairwise_spread(samples: Float[Tensor, "s *n"]) -> Float[Tensor, " s"]:
    """Relative standard deviation of the entries of independent kernels, from all pairs of them.

    sqrt(mean ||K_s - K_t||^2 / (2 mean <K_s, K_t>)) with Frobenius norms and means over pairs: the
    numerator has the expectation 2 sum_ij Var K_ij and the product ||E K||^2, so that no limit and
    no mean of few samples has to stand in for E K.

    Args:
        samples: K_s of independent networks, of one shape.

    Returns:
        Jackknife values, one a sample: their mean is the spread, less its bias of order 1 / S, and
        their standard deviation over sqrt(S) its standard error (Efron, Tibshirani 1993, section
        11.5). NaN for a single sample, or where a mean product is negative.

    Examples:
        >>> from ntkflow.linalg.distances import pairwise_spread
        >>> pairwise_spread(torch.tensor([[2.0, 2.0], [1.0, 1.0]]))
        tensor([0.5000, 0.5000])
    """
    flat = samples.flatten(1)
    squares = (flat - flat.mean(0)).square().sum(1)
    apart = _over_pairs(len(flat) * squares + squares.sum())
    pairs = zip(apart, _mean_products(flat), strict=True)
    return _jackknife(*(torch.sqrt(a / (2 * b)) for a, b in pairs))


def _mean_products(flat: Float[Tensor, "s n"]) -> tuple[Tensor, Float[Tensor, " s"]]:
    """Mean product of two different rows, and without each of them."""
    return _over_pairs(flat @ flat.sum(0) - flat.square().sum(1))


def _over_pairs(sums: Float[Tensor, " s"]) -> tuple[Tensor, Float[Tensor, " s"]]:
    """Mean over pairs of samples, and over those without each one, from its sums with the others.

    Of two samples there is one pair, which stands for both.
    """
    count, total = len(sums), sums.sum()
    mean = total / (count * (count - 1))
    if count == 2:
        return mean, mean.expand(2)
    return mean, (total - 2 * sums) / ((count - 1) * (count - 2))


def _jackknife(found: Tensor, others: Float[Tensor, " s"]) -> Float[Tensor, " s"]:
    """S times a statistic less S - 1 times that of the others; NaN for a single sample."""
    return len(others) * found - (len(others) - 1) * others
