"""Fully connected networks."""

from dataclasses import dataclass
from typing import Annotated, Literal

from ..options import Rule
from ..registry import network
from .common import ActivationRule, LayerOptions, activation_layer


@dataclass(frozen=True, kw_only=True)
class MlpOptions(LayerOptions):
    """Sizes, and what stands between the layers."""

    depth: Annotated[int, Rule("number of hidden layers", minimum=0)]
    width: Annotated[int, Rule("neurons per hidden layer", minimum=1)]
    activation_first: Annotated[
        str | None,
        ActivationRule("that of the first hidden layer; null means activation", or_null=True),
    ] = None
    sigma_w_last: Annotated[
        float | None,
        Rule("standard deviation of the output layer's weights; null means sigma_w", minimum=0),
    ] = None
    normalization: Annotated[
        Literal["none", "batch"],
        Rule("batch normalisation, without learned scale and shift, before every activation"),
    ] = "none"
    dropout: Annotated[
        float,
        Rule(
            "probability p that an activation is set to zero in a training step",
            minimum=0,
            exclusiveMaximum=1,
        ),
    ] = 0.0


@network("mlp", options=MlpOptions)
def mlp(options: MlpOptions, input_dim: int, output_dim: int):
    """Dense layer, activation, ..., dense layer."""
    from ntkflow import networks

    first = options.activation_first
    return networks.mlp(
        input_dim,
        [options.width] * options.depth,
        output_dim,
        activation=activation_layer(options.activation),
        activation_first=None if first is None else activation_layer(first),
        sigma_w_last=options.sigma_w_last,
        normalization=options.normalization,
        dropout=options.dropout,
        device="meta",
        **options.scales,
    )
