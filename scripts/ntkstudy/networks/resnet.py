"""Convolutional networks with residual blocks, in NTK parameterization."""

import math
from dataclasses import dataclass
from typing import Annotated

from ..needs import SQUARE
from ..options import Rule
from ..registry import network
from .common import ActivationRule, BatchOptions, ScaleOptions, activation_layer, with_modes


@dataclass(frozen=True, kw_only=True)
class ResnetOptions(BatchOptions, ScaleOptions):
    """Sizes, and the nonlinearity."""

    depth: Annotated[int, Rule("number of residual blocks", minimum=0)]
    width: Annotated[int, Rule("channels of every convolution", minimum=1)]
    kernel_size: Annotated[int, Rule("side of the square filters", minimum=1)] = 3
    activation: Annotated[str, ActivationRule("nonlinearity before every convolution")] = "relu"

    def size(self, inputs: int, outputs: int) -> tuple[int, int]:
        """Numbers of weights, and of neurons that an input passes."""
        filters = self.kernel_size**2 * self.width * (1 + 2 * self.depth * self.width)
        biases = self.width * (2 * self.depth + 1) + outputs
        return filters + self.width * outputs + biases, inputs * self.width * (5 * self.depth + 2)


@network("resnet", options=ResnetOptions, needs=(SQUARE,))
def resnet(options: ResnetOptions, input_dim: int, output_dim: int):
    """Convolution, blocks x + conv(phi(conv(phi(x)))), phi, mean over pixels, dense read-out."""
    from torch import nn

    from ntkflow import networks

    side, width = math.isqrt(input_dim), options.width
    where = dict(device="meta", **options.scales)

    def activation() -> nn.Module:
        return networks.activation_layer(activation_layer(options.activation))

    def convolution(channels: int) -> nn.Module:
        return networks.Conv2d(channels, width, options.kernel_size, padding="same", **where)

    def block() -> nn.Module:
        layers = (activation(), convolution(width), activation(), convolution(width))
        return networks.Residual(nn.Sequential(*with_modes(layers, options)))

    return nn.Sequential(
        nn.Unflatten(1, (1, side, side)),
        convolution(1),
        *(block() for _ in range(options.depth)),
        *with_modes([activation()], options),
        networks.GlobalAveragePool(),
        networks.Dense(width, output_dim, **where),
    )
