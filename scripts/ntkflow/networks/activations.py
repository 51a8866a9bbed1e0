"""Activations that torch.nn lacks, and all activations by name."""

import torch
from torch import Tensor, nn

from ..errors import ConfigurationError


class Erf(nn.Module):
    """Activation erf(x).

    Example:
        >>> ntkflow.Erf()(torch.zeros(1))
        tensor([0.])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply elementwise."""
        return torch.erf(x)


class Sin(nn.Module):
    """Activation sin(x).

    Example:
        >>> ntkflow.Sin()(torch.zeros(1))
        tensor([0.])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply elementwise."""
        return torch.sin(x)


class Abs(nn.Module):
    """Activation |x|.

    Example:
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


def activation_layer(name: str) -> nn.Module:
    """Activation by its name in `ACTIVATIONS`; an unknown name is a ConfigurationError."""
    if name not in ACTIVATIONS:
        allowed = ", ".join(ACTIVATIONS)
        raise ConfigurationError(f"activation: {name!r} is unknown; use one of {allowed}")
    return ACTIVATIONS[name]()
