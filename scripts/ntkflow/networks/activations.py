"""Activations that torch.nn lacks, and all activations by name."""

import copy

import torch
from torch import Tensor, nn

from ..errors import unknown


class Erf(nn.Module):
    """Activation erf(x).

    Examples:
        >>> ntkflow.Erf()(torch.zeros(1))
        tensor([0.])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply elementwise."""
        return torch.erf(x)


class Sin(nn.Module):
    """Activation sin(x).

    Examples:
        >>> ntkflow.Sin()(torch.zeros(1))
        tensor([0.])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply elementwise."""
        return torch.sin(x)


class Abs(nn.Module):
    """Activation |x|.

    Examples:
        >>> ntkflow.Abs()(torch.tensor([-2.0]))
        tensor([2.])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply elementwise."""
        return torch.abs(x)


ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "erf": Erf,
    "gelu": nn.GELU,
    "sin": Sin,
    "abs": Abs,
    "tanh": nn.Tanh,
    "linear": nn.Identity,
}


def activation_layer(activation: str | nn.Module) -> nn.Module:
    """Activation by its name in `ACTIVATIONS`, or a copy of a module.

    Raises:
        ConfigurationError: if the name is unknown.
    """
    if isinstance(activation, nn.Module):
        return copy.deepcopy(activation)
    if activation not in ACTIVATIONS:
        raise unknown("activation", activation, list(ACTIVATIONS))
    return ACTIVATIONS[activation]()
