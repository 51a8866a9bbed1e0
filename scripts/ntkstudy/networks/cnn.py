"""Convolutional networks."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from ..needs import FITS_FILTERS, SQUARE
from ..options import Rule
from ..registry import network
from .common import BatchOptions, LayerOptions, activation_layer, with_modes


@dataclass(frozen=True, kw_only=True)
class CnnOptions(BatchOptions, LayerOptions):
    """Sizes, and how images become outputs."""

    depth: Annotated[int, Rule("number of convolutions", minimum=0)]
    width: Annotated[int, Rule("channels of every convolution", minimum=1)]
    kernel_size: Annotated[int, Rule("side of the square filters", minimum=1)] = 5
    padding: Annotated[
        Literal["same", "valid"],
        Rule("same: zeros around the images; valid: none, images shrink"),
    ] = "valid"
    head: Annotated[
        Literal["flatten", "gap"], Rule("what the dense read-out sees: all pixels, or their mean")
    ] = "flatten"


@network("cnn", options=CnnOptions, needs=(SQUARE, FITS_FILTERS))
def cnn(options: CnnOptions, input_dim: int, output_dim: int):
    """Convolution, activation, ..., read-out; the flat inputs become images first."""
    from torch import nn

    from ntkflow import networks

    side = math.isqrt(input_dim)
    layers = networks.cnn(
        1,
        [options.width] * options.depth,
        output_dim,
        image_size=side,
        kernel_size=options.kernel_size,
        padding=options.padding,
        head=options.head,
        activation=activation_layer(options.activation),
        device="meta",
        **options.scales,
    )
    return nn.Sequential(nn.Unflatten(1, (1, side, side)), *with_modes(layers, options))
