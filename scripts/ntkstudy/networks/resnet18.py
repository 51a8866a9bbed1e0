"""ResNet-18."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from ..needs import SQUARE
from ..options import Rule
from ..registry import network


@dataclass(frozen=True, kw_only=True)
class Resnet18Options:
    """Channels, and how images come in."""

    channels: Annotated[
        int, Rule("channels of the first two blocks, doubled three times after", minimum=1)
    ] = 64
    stem: Annotated[
        Literal["imagenet", "cifar"],
        Rule(
            "imagenet: filters of 7 x 7 with stride 2, then maxima with stride 2; cifar: filters "
            "of 3 x 3 alone"
        ),
    ] = "imagenet"
    padding: Annotated[int, Rule("zeros on every side of the images", minimum=0)] = 0


@network("resnet18", options=Resnet18Options, needs=(SQUARE,))
def resnet18(options: Resnet18Options, input_dim: int, output_dim: int):
    """ResNet-18 without normalisation; the flat inputs become images of one channel first."""
    from torch import nn

    from ntkflow.networks.resnet import resnet18

    side = math.isqrt(input_dim)
    layers = resnet18(1, output_dim, width=options.channels, stem=options.stem, device="meta")
    return nn.Sequential(nn.Unflatten(1, (1, side, side)), nn.ZeroPad2d(options.padding), *layers)
