"""Recurrent networks that read an image row by row, in NTK parameterization."""

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from ..needs import SQUARE
from ..options import Rule
from ..registry import network
from .common import ActivationRule, ScaleOptions, activation_layer


@dataclass(frozen=True, kw_only=True)
class RecurrentOptions(ScaleOptions):
    """Sizes, and the scale of what is carried from step to step."""

    depth: Annotated[
        int, Rule("recurrent layers, each on the outputs of the one before", minimum=1)
    ] = 1
    width: Annotated[int, Rule("entries of every state", minimum=1)]
    sigma_state: Annotated[
        float | None,
        Rule("standard deviation of the weights of the states; null means sigma_w", minimum=0),
    ] = None
    gates: ClassVar[int] = 1

    def size(self, inputs: int, outputs: int) -> tuple[int, int]:
        """Numbers of weights, and of neurons that an input passes."""
        steps, n = math.isqrt(inputs), self.width
        of_layers = self.gates * n * (steps + n + 1) + (self.depth - 1) * self.gates * n * (
            2 * n + 1
        )
        return of_layers + (n + 1) * outputs, steps * n * self.depth * (2 * self.gates + 2)


@dataclass(frozen=True, kw_only=True)
class RnnOptions(RecurrentOptions):
    """The nonlinearity."""

    activation: Annotated[str, ActivationRule("nonlinearity of every step")] = "relu"
    normalization: Annotated[
        Literal["none", "layer"],
        Rule("layer normalisation of the state, without learned gains, before every activation"),
    ] = "none"
    dropout: Annotated[
        float,
        Rule(
            "probability p that an entry of the averaged outputs is set to zero in a training step",
            minimum=0,
            exclusiveMaximum=1,
        ),
    ] = 0.0


@dataclass(frozen=True, kw_only=True)
class GatedOptions(RecurrentOptions):
    """Those of networks whose gates multiply correlated values: they have no known limit."""

    gates: ClassVar[int] = 4  # of an lstm; a gru has 3

    @property
    def has_limit(self) -> bool:
        """Whether the infinite width is known."""
        return False


@network("rnn", options=RnnOptions, needs=(SQUARE,))
def rnn(options: RnnOptions, input_dim: int, output_dim: int):
    """h_t = W phi(h_{t-1}) + U x_t + b over the rows x_t, mean over t of phi(h_t), read-out."""
    from torch import nn

    from ntkflow import networks

    activation = networks.activation_layer(activation_layer(options.activation))
    if options.normalization == "layer":
        norm = nn.LayerNorm(options.width, elementwise_affine=False, device="meta")
        activation = nn.Sequential(norm, activation)
    found = _network("RNN", options, input_dim, output_dim, activation=activation)
    if not options.dropout:
        return found
    *below, read_out = found
    return nn.Sequential(*below, nn.Dropout(options.dropout), read_out)


@network("lstm", options=GatedOptions, needs=(SQUARE,))
def lstm(options: GatedOptions, input_dim: int, output_dim: int):
    """LSTM over the rows, mean over its outputs, read-out."""
    return _network("LSTM", options, input_dim, output_dim)


@network("gru", options=GatedOptions, needs=(SQUARE,))
def gru(options: GatedOptions, input_dim: int, output_dim: int):
    """Gated recurrent units over the rows, mean over their outputs, read-out."""
    return _network("GRU", options, input_dim, output_dim)


def _network(kind: str, options: RecurrentOptions, input_dim: int, output_dim: int, **more: Any):
    from torch import nn

    from ntkflow import networks
    from ntkflow.networks.averaging import TimeAverage

    side, scales = math.isqrt(input_dim), options.scales | {"device": "meta"}
    state = options.sigma_w if options.sigma_state is None else options.sigma_state
    of_cells = scales | {"sigma_w": state, "sigma_u": options.sigma_w}
    recurrent = getattr(networks, kind)(side, options.width, options.depth, **of_cells, **more)
    read_out = networks.Dense(options.width, output_dim, **scales)
    return nn.Sequential(nn.Unflatten(1, (side, side)), TimeAverage(recurrent), read_out)
