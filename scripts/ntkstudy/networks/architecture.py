"""Architectures side by side: one name and one width for each, the same keys for all."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import count
from math import isqrt
from typing import Annotated, Any

from ..needs import SQUARE, Facts, Need
from ..options import Rule, read_options
from ..registry import NETWORKS, network
from . import cnn, mlp, recurrent, resnet, transformer  # noqa: F401 (register what stands here)
from .common import ActivationRule

RELU = 2**0.5  # sigma_w that keeps the size of what ReLU passes on


@dataclass(frozen=True)
class _Architecture:
    """A kind of network with its usual options; a width n means features(n) of them."""

    kind: str
    depth: int
    activation: str | None
    sigma_w: float
    more: Mapping[str, Any]
    normalized: str = "batch"  # with normalization usual
    features: Callable[[int], int] = lambda width: width
    of_width: Callable[[int], Mapping[str, Any]] = lambda width: {}


# Side of images to that of patches and to the zeros on every side: 16 tokens, or 9 of 7 x 7 pixels.
PATCHES = {4: (1, 0), 7: (3, 1), 14: (4, 1), 28: (7, 0)}
_CNN = {"kernel_size": 3, "padding": "same", "head": "gap"}
ARCHITECTURES = {
    "mlp": _Architecture("mlp", 2, "relu", RELU, {}),
    "cnn": _Architecture("cnn", 2, "relu", RELU, _CNN),
    "resnet": _Architecture("resnet", 2, "relu", RELU, {}),
    "rnn": _Architecture("rnn", 1, "relu", RELU, {}, "layer"),
    "rnn_erf": _Architecture("rnn", 1, "erf", 1.5**0.5, {}, "layer"),
    "transformer": _Architecture("transformer", 2, "relu", RELU, {}, "layer"),
    "transformer_heads": _Architecture(
        "transformer", 2, "relu", RELU, {"scores": "many heads"}, "layer",
        features=lambda width: width**2 // 4, of_width=lambda width: {"heads": width // 4},
    ),
    "lstm": _Architecture("lstm", 1, None, 1.0, {}),
    "gru": _Architecture("gru", 1, None, 1.0, {}),
}  # fmt: skip
WITHOUT_LIMIT = ("lstm", "gru")


@dataclass(frozen=True, kw_only=True)
class ArchitectureOptions:
    """Which architecture, and what differs from its usual options."""

    architecture: Annotated[
        str,
        Rule(
            "mlp, cnn, resnet, rnn, transformer, lstm and gru as those kinds, with constants of "
            "their own; rnn_erf, with erf in place of ReLU; transformer_heads, with n / 4 heads of "
            "size n",
            enum=list(ARCHITECTURES),
        ),
    ]
    width: Annotated[
        int, Rule("n: neurons, channels, entries of a state, features or size of a head", minimum=1)
    ]
    depth: Annotated[
        int | None,
        Rule(
            "hidden layers, convolutions, blocks or recurrent layers; null means 2, but 1 "
            "recurrent layer",
            minimum=1,
        ),
    ] = None
    activation: Annotated[
        str | None,
        ActivationRule("nonlinearity; null means relu, and erf of rnn_erf", or_null=True),
    ] = None
    sigma_w: Annotated[
        float | None,
        Rule(
            "standard deviation of the weights, times 1 / sqrt(2) for the states of rnn; null "
            "means sqrt(2), sqrt(1.5) of rnn_erf, and 1 of lstm and gru",
            minimum=0,
        ),
    ] = None
    sigma_b: Annotated[
        float, Rule("standard deviation of the biases; 0 means no biases", minimum=0)
    ] = 0.1
    normalization: Annotated[
        str | None,
        Rule(
            "none, or usual: batch normalisation before the activations of mlp, cnn and resnet, "
            "layer normalisation of rnn and transformer; null means usual of transformers, none of "
            "others; not of lstm and gru",
            enum=["none", "usual", None],
        ),
    ] = None
    dropout: Annotated[
        float,
        Rule("p of dropout as the kind has it; 0 of lstm and gru", minimum=0, exclusiveMaximum=1),
    ] = 0.0

    def __post_init__(self):
        usual = ARCHITECTURES[self.architecture]
        for name in ("depth", "activation", "sigma_w"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, getattr(usual, name))
        by_default = usual.normalized if usual.kind == "transformer" else "none"
        found = {None: by_default, "usual": usual.normalized}
        object.__setattr__(self, "normalization", found.get(self.normalization, self.normalization))

    @property
    def has_limit(self) -> bool:
        """Whether the infinite width is known."""
        return self.architecture not in WITHOUT_LIMIT

    @property
    def normalized(self) -> bool:
        """Whether something is normalised."""
        return self.normalization != "none"

    def block(self, input_dim: int) -> dict[str, Any]:
        """The `network` block of a configuration that describes the same network."""
        usual, names = ARCHITECTURES[self.architecture], ("depth", "sigma_w", "sigma_b")
        block = {name: getattr(self, name) for name in names} | usual.more
        block |= {"kind": usual.kind, "width": usual.features(self.width)}
        if self.architecture not in WITHOUT_LIMIT:
            names = ("activation", "normalization", "dropout")
            block |= {name: getattr(self, name) for name in names}
        if self.architecture == "rnn":
            block["sigma_state"] = self.sigma_w / RELU
        if usual.kind == "transformer":
            patch_size, padding = PATCHES[isqrt(input_dim)]
            block |= {"patch_size": patch_size, "padding": padding}
        return block | usual.of_width(self.width)

    def stands_for(self, input_dim: int) -> Any:
        """Options of the network that is built."""
        block = self.block(input_dim)
        return read_options(NETWORKS[block["kind"]].options, block)


def _fits_images(facts: Facts) -> bool:
    kind = ARCHITECTURES[facts.options.architecture].kind
    return kind != "transformer" or isqrt(facts.sizes.inputs) in PATCHES


def _fits_width(options: ArchitectureOptions, input_dim: int) -> bool:
    """Whether the kind of network takes the width."""
    if ARCHITECTURES[options.architecture].kind != "transformer":
        return True
    if options.architecture == "transformer_heads" and options.width % 4:
        return False
    found = options.stands_for(input_dim)
    return found.width > found.tokens(input_dim)


IMAGES = Need("images of 4, 7, 14 or 28 pixels a side for a transformer", _fits_images)
ROOM = Need(
    "a width above the number of patches for a transformer, 9 of 7 x 7 pixels and else 16; a "
    "multiple of 4 with a quarter of its square above that for transformer_heads",
    lambda facts: not _fits_images(facts) or _fits_width(facts.options, facts.sizes.inputs),
)


def _has_no_gates(options: ArchitectureOptions) -> bool:
    changed = options.normalized or options.dropout or options.activation is not None
    return not changed or options.architecture not in WITHOUT_LIMIT


GATES = Need(
    "network.activation null, normalization none and dropout 0 of lstm and gru",
    lambda facts: _has_no_gates(facts.options),
)


def _narrow(options: ArchitectureOptions, input_dim: int) -> int:
    """The least width that the architecture can have."""
    widths = (replace(options, width=width) for width in count(1))
    return next(each.width for each in widths if _fits_width(each, input_dim))


@network(
    "architecture",
    options=ArchitectureOptions,
    needs=(SQUARE, IMAGES, ROOM, GATES),
    narrow=_narrow,
    sources=lambda options: [NETWORKS[ARCHITECTURES[options.architecture].kind].module],
)
def architecture(options: ArchitectureOptions, input_dim: int, output_dim: int):
    """One of several architectures under one set of keys, for sweeps over them."""
    kind = NETWORKS[ARCHITECTURES[options.architecture].kind]
    return kind.build(options.stands_for(input_dim), input_dim, output_dim)
