"""Options that architectures with layers share."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

from ..options import Rule
from ..registry import ACTIVATIONS

if TYPE_CHECKING:
    from torch import nn


class ActivationRule(Rule):
    """A rule that allows the activations that are registered when it is asked."""

    def __init__(self, description: str, *, or_null: bool = False):
        self._description, self._or_null = description, or_null

    @property
    def keywords(self) -> dict[str, Any]:
        """As `Rule.keywords`."""
        return {
            "enum": [*ACTIVATIONS, *([None] if self._or_null else [])],
            "description": self._description,
        }


def activation_keys(options: type) -> list[str]:
    """Options of a network that name an activation."""
    hints = get_type_hints(options, include_extras=True)
    return [
        name
        for name, hint in hints.items()
        if any(isinstance(rule, ActivationRule) for rule in getattr(hint, "__metadata__", ()))
    ]


@dataclass(frozen=True, kw_only=True)
class ScaleOptions:
    """Scales of layers in NTK parameterization."""

    sigma_w: Annotated[float, Rule("standard deviation of the weights", minimum=0)] = 1.0
    sigma_b: Annotated[
        float, Rule("standard deviation of the biases; 0 means no biases", minimum=0)
    ] = 0.0
    bias: Annotated[Literal["normal", "zero"], Rule("biases at initialisation")] = "normal"

    @property
    def scales(self) -> dict[str, Any]:
        """What layers of ntkflow take under the same names."""
        return {name: getattr(self, name) for name in ("sigma_w", "sigma_b", "bias")}


@dataclass(frozen=True, kw_only=True)
class LayerOptions:
    """Activation, parameterization and scales."""

    activation: Annotated[str, ActivationRule("nonlinearity after every hidden layer")] = "relu"
    parameterization: Annotated[
        Literal["ntk", "standard", "pytorch"],
        Rule(
            "ntk: scales in the forward pass; standard: in the initialisation; pytorch: torch.nn's "
            "default initialisation, with biases"
        ),
    ] = "ntk"
    sigma_w: Annotated[
        float,
        Rule(
            "standard deviation of the weights (of sqrt(fan-in) times the weights in "
            "parameterization standard); not for pytorch",
            minimum=0,
        ),
    ] = 1.0
    sigma_b: Annotated[
        float,
        Rule("standard deviation of the biases; 0 means no biases; not for pytorch", minimum=0),
    ] = 0.0
    bias: Annotated[Literal["normal", "zero"], Rule("biases at initialisation")] = "normal"

    @property
    def scales(self) -> dict[str, Any]:
        """What builders of ntkflow take under the same names."""
        names = ("parameterization", "sigma_w", "sigma_b", "bias")
        return {name: getattr(self, name) for name in names}


def activation_layer(name: str) -> "str | nn.Module":
    """What builders of ntkflow take for an activation: its name there, or a module."""
    make = ACTIVATIONS[name].make
    return name if make is None else make()


Dropout = Annotated[
    float,
    Rule(
        "probability p that an activation is set to zero in a training step",
        minimum=0,
        exclusiveMaximum=1,
    ),
]


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """What makes a network another function in training than in evaluation."""

    normalization: Annotated[
        Literal["none", "batch"],
        Rule("batch normalisation, without learned scale and shift, before every activation"),
    ] = "none"
    dropout: Dropout = 0.0


def with_modes(layers: "Iterable[nn.Module]", options: BatchOptions) -> "list[nn.Module]":
    """Layers of images with batch normalisation before and dropout after every activation.

    Args:
        layers: what has no weights, and neither pools nor flattens, is an activation.
        options: `normalization`, `dropout`, and the `width` that all images have as channels.
    """
    from torch import nn

    from ntkflow.networks import GlobalAveragePool

    found: list[nn.Module] = []
    for layer in layers:
        weighted = any(True for _ in layer.parameters())
        if weighted or isinstance(layer, GlobalAveragePool | nn.Flatten):
            found.append(layer)
            continue
        if options.normalization == "batch":
            statistics = dict(affine=False, track_running_stats=False, device="meta")
            found.append(nn.BatchNorm2d(options.width, **statistics))
        found.append(layer)
        if options.dropout:
            found.append(nn.Dropout(options.dropout))
    return found
