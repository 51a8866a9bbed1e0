"""Networks described by a `network` block of the configuration."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ntkflow.errors import ConfigurationError
from ntkflow.networks import cnn, mlp

from .one_parameter import OneParameter


def build_network(network: Mapping[str, Any], input_dim: int, output_dim: int) -> nn.Module:
    """Network described by a `network` block of the configuration.

    Args:
        network: its keys, completed with the schema's defaults.
        input_dim: n0, the input dimension; the pixels of a square image for kind cnn.
        output_dim: O, number of outputs.

    Returns:
        A network on the meta device: its architecture only. Weights come from `draw_parameters`.
    """
    builders = {"mlp": _build_mlp, "cnn": _build_cnn, "one_parameter": _build_one_parameter}
    return builders[network["kind"]](network, input_dim, output_dim)


_COMMON = ("activation", "sigma_w", "sigma_b", "bias", "parameterization")


def _build_one_parameter(*_) -> nn.Module:
    # Drawn in float64, so that the start is exactly zero there.
    return OneParameter(device="meta", dtype=torch.float64)


def _build_mlp(network: Mapping[str, Any], input_dim: int, output_dim: int) -> nn.Sequential:
    options = {key: network[key] for key in ("sigma_w_last", *_COMMON)}
    options["activation_first"] = network.get("activation_first")
    options |= {key: network[key] for key in ("normalization", "dropout") if key in network}
    widths = [network["width"]] * network["depth"]
    return mlp(input_dim, widths, output_dim, device="meta", **options)


def _build_cnn(network: Mapping[str, Any], input_dim: int, output_dim: int) -> nn.Sequential:
    """Channels in place of widths; the flat inputs become images first."""
    side = math.isqrt(input_dim)
    if side**2 != input_dim:
        raise ConfigurationError(
            f"network.kind: 'cnn' is not allowed for {input_dim} inputs; allowed: square images"
        )
    options = {key: network[key] for key in ("kernel_size", "padding", "head", *_COMMON)}
    channels = [network["width"]] * network["depth"]
    layers = cnn(1, channels, output_dim, image_size=side, device="meta", **options)
    return nn.Sequential(nn.Unflatten(1, (1, side, side)), *layers)
