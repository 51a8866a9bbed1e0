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
        mean_square: `<K_s - K, K_(s+1) - K>` / ||K||^2, (S,), the last one beside the first. Its
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
        >>> sample.tolist(), mean_square.tolist(), scale.tolist()
        ([0.5, 0.5], [-0.25, -0.25], [0.5, -0.5])
    """
    check_shape("samples", samples, None, *limit.shape)
    size = limit.norm()
    off = ((samples - limit) / size).flatten(1)
    beside = off.roll(-1, dims=0) if len(off) > 1 else off * torch.nan
    return RelativeDistances(off.norm(dim=1), (off * beside).sum(1), off @ (limit / size).flatten())


def pairwise_spread(samples: Float[Tensor, "s *n"]) -> Float[Tensor, " s"]:
    """Relative standard deviation of the entries of independent kernels, pair by pair.

    ||K_s - K_(s+1)|| / sqrt(2 <K_s, K_(s+1)>), the last one beside the first, with Frobenius norms:
    the squared numerator has the mean 2 sum_ij Var K_ij and the product the mean ||E K||^2, so that
    no limit and no mean of few samples has to stand in for E K.

    Args:
        samples: K_s of independent networks, of one shape.

    Returns:
        One number a sample; NaN for a single sample, or where a product is negative.

    Examples:
        >>> from ntkflow.linalg.distances import pairwise_spread
        >>> pairwise_spread(torch.tensor([[2.0, 2.0], [1.0, 1.0]]))
        tensor([0.5000, 0.5000])
    """
    if len(samples) < 2:
        return samples.new_full((len(samples),), torch.nan)
    beside = samples.roll(-1, dims=0)
    apart = (samples - beside).flatten(1).norm(dim=1)
    return apart / (2 * (samples * beside).flatten(1).sum(1)).sqrt()
