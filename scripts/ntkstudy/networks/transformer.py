"""Transformers on patches of images, in NTK parameterization."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from ..needs import SQUARE, Facts, Need
from ..options import Rule
from ..registry import network
from .common import ActivationRule, ScaleOptions, activation_layer


@dataclass(frozen=True, kw_only=True)
class TransformerOptions(ScaleOptions):
    """Sizes, patches, attention and the nonlinearity."""

    depth: Annotated[int, Rule("number of blocks", minimum=0)]
    width: Annotated[int, Rule("features of every token", minimum=1)]
    patch_size: Annotated[int, Rule("side of the square patches that are tokens", minimum=1)] = 4
    padding: Annotated[int, Rule("zeros on every side of the images", minimum=0)] = 0
    heads: Annotated[int, Rule("heads of the attention, a divisor of width", minimum=1)] = 1
    scores: Annotated[
        Literal["tied 1/d", "many heads"],
        Rule(
            "scores of attention with heads of size d: q.k / d with one matrix for queries and "
            "keys, or q.k / sqrt(d), whose limit is that of many heads"
        ),
    ] = "tied 1/d"
    activation: Annotated[str, ActivationRule("nonlinearity of the dense layers")] = "relu"
    normalization: Annotated[
        Literal["none", "layer"],
        Rule("layer normalisation, without learned gains, before attention and dense layers"),
    ] = "layer"
    dropout: Annotated[
        float,
        Rule(
            "probability p that a weight of the attention, an activation or an entry of what is "
            "added to the tokens is set to zero in a training step",
            minimum=0,
            exclusiveMaximum=1,
        ),
    ] = 0.0

    def side(self, input_dim: int) -> int:
        """Of padded images."""
        return math.isqrt(input_dim) + 2 * self.padding

    def tokens(self, input_dim: int) -> int:
        """Number of patches."""
        return (self.side(input_dim) // self.patch_size) ** 2

    def size(self, inputs: int, outputs: int) -> tuple[int, int]:
        """Numbers of weights, and of neurons that an input passes."""
        tokens, n = self.tokens(inputs), self.width
        weights = n * (self.patch_size**2 + 1) + self.depth * n * (6 * n + 3) + (n + 1) * outputs
        return weights, tokens * (n + self.depth * (10 * n + 2 * self.heads * tokens))


def _divided(facts: Facts) -> bool:
    return facts.options.side(facts.sizes.inputs) % facts.options.patch_size == 0


def _has_room(facts: Facts) -> bool:
    return facts.options.width > facts.options.tokens(facts.sizes.inputs)


PATCHES = Need(
    "patches that divide the padded images (network.patch_size, network.padding)", _divided
)
HEADS = Need(
    "heads that divide the width (network.heads)",
    lambda facts: facts.options.width % facts.options.heads == 0,
)
CODES = Need(
    "more features than patches, for orthogonal codes of positions (network.width)", _has_room
)


def _narrow(options: TransformerOptions, input_dim: int) -> int:
    """The least multiple of the heads with room for the codes."""
    return options.heads * (options.tokens(input_dim) // options.heads + 1)


@network(
    "transformer",
    options=TransformerOptions,
    needs=(SQUARE, PATCHES, HEADS, CODES),
    narrow=_narrow,
)
def transformer(options: TransformerOptions, input_dim: int, output_dim: int):
    """Patches with codes of positions, blocks, mean over tokens, read-out.

    A block is x + attention(norm(x)), then x + dense(phi(dense(norm(x)))), whose hidden layer is as
    wide as the tokens; queries and keys have sigma 1, all other weights sigma_w.
    """
    from torch import nn

    from ntkflow import networks
    from ntkflow.networks.averaging import TokenAverage
    from ntkflow.networks.patches import PatchEmbedding

    image, width = math.isqrt(input_dim), options.width
    scales = options.scales | {"device": "meta"}
    sizes = dict(image_size=options.side(input_dim), patch_size=options.patch_size)
    attention = dict(scaling=options.scores, sigma_v=options.sigma_w, sigma_o=options.sigma_w)
    activation = activation_layer(options.activation)

    def block() -> nn.Module:
        layer = networks.TransformerEncoderLayer(
            width,
            options.heads,
            width,
            activation=activation,
            norm_first=True,
            dropout=options.dropout,
            **attention,
            **scales,
        )
        if options.normalization == "none":
            layer.norm1, layer.norm2 = nn.Identity(), nn.Identity()
        return layer

    return nn.Sequential(
        nn.Unflatten(1, (image, image)),
        nn.ZeroPad2d(options.padding),
        PatchEmbedding(width, **sizes, **scales),
        networks.TransformerEncoder(block() for _ in range(options.depth)),
        TokenAverage(),
        networks.Dense(width, output_dim, **scales),
    )
