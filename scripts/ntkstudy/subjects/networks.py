"""Networks that a configuration describes."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from ..options import read_options
from ..registry import NETWORKS


def build_network(block: Mapping[str, Any], input_dim: int, output_dim: int) -> nn.Module:
    """Network of a `network` block of the configuration.

    Args:
        block: its keys, completed with their defaults.
        input_dim: n0, the input dimension; the pixels of a square image for kind cnn.
        output_dim: O, number of outputs.

    Returns:
        A network on the meta device: its architecture only. Weights come from `draw_parameters`.
    """
    kind = NETWORKS[block["kind"]]
    return kind.build(read_options(kind.options, block), input_dim, output_dim)


def build_narrow(block: Mapping[str, Any], input_dim: int, output_dim: int) -> nn.Module:
    """The same network with a small width, for its limit, which does not depend on the width."""
    kind = NETWORKS[block["kind"]]
    options = read_options(kind.options, {**block, "width": 1})
    return build_network({**block, "width": kind.narrow(options, input_dim)}, input_dim, output_dim)
