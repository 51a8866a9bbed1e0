"""Networks made of layers, from sizes."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from ..checks import check_choice
from ..errors import ConfigurationError
from .activations import activation_layer
from .layers import GlobalAveragePool
from .parameterizations import layers_of


def mlp(
    input_dim: int,
    widths: Sequence[int],
    output_dim: int = 1,
    *,
    activation: str | nn.Module = "relu",
    activation_first: str | nn.Module | None = None,
    sigma_w: float = 1.0,
    sigma_w_last: float | None = None,
    sigma_b: float = 0.0,
    bias: str = "normal",
    parameterization: str = "ntk",
    normalization: str = "none",
    dropout: float = 0.0,
    device=None,
    dtype=None,
) -> nn.Sequential:
    """Fully connected network: dense layer, activation, ..., dense layer.

    With batch normalisation a hidden layer is phi((h - mu) / sqrt(sigma^2 + 1e-5)), mu and sigma^2
    mean and variance of h over the batch, without learned scale and shift (Ioffe, Szegedy 2015,
    arXiv:1502.03167). Dropout sets each activation to zero with probability p in training and
    divides the others by 1 - p (Srivastava et al. 2014, JMLR 15).

    Args:
        input_dim: n0, the input dimension.
        widths: one width per hidden layer.
        output_dim: O, number of outputs.
        activation: a name in `ACTIVATIONS`, or a module, which is copied for every layer.
        activation_first: that of the first hidden layer; default: `activation`.
        sigma_w: standard deviation of the weights in every layer.
        sigma_w_last: that of the output layer; default: `sigma_w`.
        sigma_b: standard deviation of the biases in every layer, the output layer included.
        bias: "normal" or "zero", the biases at initialisation.
        parameterization: "ntk"; "standard", with the same scales in the initialisation; or
            "pytorch", torch.nn's own layers, with biases and no scales to choose.
        normalization: "none", or "batch" before every activation.
        dropout: p in [0, 1), after every activation.
        device: where the parameters live.
        dtype: type of the parameters.

    Returns:
        Network that maps (N, n0) to (N, O).

    Raises:
        ConfigurationError: if a name is unknown or a number out of range.

    Examples:
        >>> ntkflow.mlp(3, [64, 64], 2, sigma_w=2**0.5, sigma_b=0.1)(torch.ones(5, 3)).shape
        torch.Size([5, 2])
    """
    options = dict(sigma_w=sigma_w, sigma_b=sigma_b, bias=bias, device=device, dtype=dtype)
    dense, _ = layers_of(parameterization)
    _check_modes(normalization, dropout)
    layers: list[nn.Module] = []
    name = activation_first or activation
    for fan_in, width in zip([input_dim, *widths], widths, strict=False):
        layers.append(dense(fan_in, width, **options))
        if normalization == "batch":
            layers.append(_batch_normalization(width, device=device, dtype=dtype))
        layers.append(activation_layer(name))
        if dropout:
            layers.append(nn.Dropout(dropout))
        name = activation
    last = widths[-1] if widths else input_dim
    if sigma_w_last is not None:
        options["sigma_w"] = sigma_w_last
    return nn.Sequential(*layers, dense(last, output_dim, **options))


def _check_modes(normalization: str, dropout: float) -> None:
    check_choice("normalization", normalization, ("none", "batch"))
    if not 0 <= dropout < 1:
        raise ConfigurationError(f"dropout: {dropout!r} is not allowed; use a number >= 0 and < 1")


def _batch_normalization(width: int, **options: Any) -> nn.BatchNorm1d:
    """Full batches need no running averages."""
    return nn.BatchNorm1d(width, affine=False, track_running_stats=False, **options)


def cnn(
    in_channels: int,
    channels: Sequence[int],
    output_dim: int = 1,
    *,
    image_size: int,
    kernel_size: int = 3,
    padding: str = "same",
    head: str = "flatten",
    activation: str | nn.Module = "relu",
    sigma_w: float = 1.0,
    sigma_b: float = 0.0,
    bias: str = "normal",
    parameterization: str = "ntk",
    device=None,
    dtype=None,
) -> nn.Sequential:
    """Convolutional network: (convolution, activation) ..., head, dense layer.

    Args:
        in_channels: channels of the images.
        channels: one number of channels per convolution.
        output_dim: O, number of outputs.
        image_size: side of the square images.
        kernel_size: side of the square filters.
        padding: "same" (zeros around the images) or "valid" (no padding: images shrink).
        head: "flatten" or "gap" (global average pooling), before the dense read-out.
        activation: a name in `ACTIVATIONS`, or a module, which is copied for every layer.
        sigma_w: standard deviation of the weights in every layer.
        sigma_b: standard deviation of the biases in every layer.
        bias: "normal" or "zero", the biases at initialisation.
        parameterization: "ntk"; "standard", with the same scales in the initialisation; or
            "pytorch", torch.nn's own layers, with biases and no scales to choose.
        device: where the parameters live.
        dtype: type of the parameters.

    Returns:
        Network that maps (N, C, H, W) to (N, O).

    Raises:
        ConfigurationError: if the head, activation or parameterization is unknown, or the images
            are too small.

    Examples:
        >>> network = ntkflow.cnn(1, [16, 16], 10, image_size=8, head="gap")
        >>> network(torch.ones(5, 1, 8, 8)).shape
        torch.Size([5, 10])
    """
    check_choice("head", head, ("flatten", "gap"))
    options = dict(sigma_w=sigma_w, sigma_b=sigma_b, bias=bias, device=device, dtype=dtype)
    dense, convolution = layers_of(parameterization)
    layers: list[nn.Module] = []
    for c_in, c_out in zip([in_channels, *channels], channels, strict=False):
        filters = convolution(c_in, c_out, kernel_size, padding=padding, **options)
        layers += [filters, activation_layer(activation)]
    last = channels[-1] if channels else in_channels
    if head == "gap":
        return nn.Sequential(*layers, GlobalAveragePool(), dense(last, output_dim, **options))
    side = image_size - (kernel_size - 1) * len(channels) * (padding == "valid")
    if side < 1:
        raise ConfigurationError(
            f"image_size: {image_size} is not allowed with {len(channels)} convolutions of size "
            f"{kernel_size} without padding; use at least {image_size + 1 - side}"
        )
    return nn.Sequential(*layers, nn.Flatten(), dense(last * side**2, output_dim, **options))
