"""How far training has moved the weights of networks."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import check_shape
from ..errors import ConfigurationError


class Movement(NamedTuple):
    """Distances of S networks' weights from their start, Euclidean over all parameters.

    Attributes:
        distance: ||theta - theta_0||, (S,).
        relative: over ||theta_0||, (S,); NaN for a start at 0 that has not moved.
        start: ||theta_0||, (S,).

    Examples:
        >>> start = {"weight": torch.tensor([[3.0, 4.0]])}
        >>> moved = ntkflow.parameter_distances({"weight": torch.tensor([[3.0, 5.0]])}, start)
        >>> moved.start.item(), moved.relative.item()
        (5.0, 0.2)
    """

    distance: Tensor
    relative: Tensor
    start: Tensor


def parameter_distances(parameters: dict[str, Tensor], start: dict[str, Tensor]) -> Movement:
    """Distance of the weights of every network from their start, in float64.

    With the loss of f = alpha h divided by alpha^2, lazy training moves them by O(1 / alpha)
    (Chizat, Bach 2018, arXiv:1812.07956).

    Args:
        parameters: theta, name to tensor (S, *shape).
        start: theta_0, in the same way.

    Raises:
        ConfigurationError: if the names differ.
        KernelError: if a shape does.

    Examples:
        >>> start = {"weight": torch.tensor([[3.0, 4.0]])}
        >>> moved = ntkflow.parameter_distances({"weight": torch.tensor([[3.0, 5.0]])}, start)
        >>> moved.distance.item(), moved.relative.item()
        (1.0, 0.2)
    """
    if parameters.keys() != start.keys():
        name = sorted(parameters.keys() ^ start.keys())[0]
        raise ConfigurationError(f"parameters: {name!r} is not in both; use the names of the start")
    for name, p in parameters.items():
        check_shape(name, p, *start[name].shape)
    moved = _norms({name: p.double() - start[name].double() for name, p in parameters.items()})
    size = _norms(start)
    return Movement(moved, moved / size, size)


def _norms(parameters: dict[str, Tensor]) -> Float[Tensor, " s"]:
    squares = [p.double().square().reshape(len(p), -1).sum(1) for p in parameters.values()]
    return torch.stack(squares).sum(0).sqrt()
