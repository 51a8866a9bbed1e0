"""Layers in NTK parameterization, networks made of them, and parameters of whole ensembles.

NTK parameterization (Jacot, Gabriel, Hongler 2018, arXiv:1806.07572) keeps every weight and bias
N(0, 1) and scales the layer instead: h = sigma_w W x / sqrt(fan_in) + sigma_b b.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from .errors import ConfigurationError, UnsupportedLayerError
from .randomness import torch_seed


class _ScaledLayer(nn.Module):
    """Weights and biases N(0, 1) (biases N(0, 1) or zero), scaled in the forward pass."""

    def __init__(self, weight_shape, *, sigma_w, sigma_b, bias, device, dtype):
        super().__init__()
        if bias not in ("normal", "zero"):
            raise ConfigurationError(f"bias: {bias!r} is not allowed; use 'normal' or 'zero'")
        for name, value in (("sigma_w", sigma_w), ("sigma_b", sigma_b)):
            if not value >= 0:
                raise ConfigurationError(f"{name}: {value!r} is not allowed; use a number >= 0")
        self.sigma_w, self.sigma_b, self.bias_init = float(sigma_w), float(sigma_b), bias
        self.weight = nn.Parameter(torch.empty(*weight_shape, device=device, dtype=dtype))
        if sigma_b > 0:
            self.bias = nn.Parameter(torch.empty(weight_shape[0], device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    @property
    def fan_in(self) -> int:
        """Number of inputs that each output sums over."""
        return self.weight[0].numel()

    @property
    def weight_scale(self) -> float:
        """Factor sigma_w / sqrt(fan_in) in front of the weights."""
        return self.sigma_w / math.sqrt(self.fan_in)

    def reset_parameters(self) -> None:
        """Draw the parameters anew from torch's current random state."""
        nn.init.normal_(self.weight)
        if self.bias is not None:
            nn.init.normal_(self.bias) if self.bias_init == "normal" else nn.init.zeros_(self.bias)


class Dense(_ScaledLayer):
    """Dense layer in NTK parameterization.

    h = sigma_w W x / sqrt(in_features) + sigma_b b with W (out_features, in_features) ~ N(0, 1)
    and b (out_features,) ~ N(0, 1), or b = 0 at initialisation with `bias="zero"` (still
    trainable). `sigma_b=0` has no bias parameter. Source: Jacot et al. 2018, section 2.

    Args:
        in_features: size of the last axis of the input.
        out_features: size of the last axis of the output.
        sigma_w: standard deviation of the weights, >= 0.
        sigma_b: standard deviation of the biases, >= 0.
        bias: "normal" or "zero", the biases at initialisation.
        device: where the parameters live.
        dtype: type of the parameters.

    Raises:
        ConfigurationError: if a scale is negative or `bias` is unknown.

    Example:
        >>> ntkflow.Dense(3, 4, sigma_w=2**0.5)(torch.ones(5, 3)).shape
        torch.Size([5, 4])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        sigma_w: float = 1.0,
        sigma_b: float = 0.0,
        bias: str = "normal",
        device=None,
        dtype=None,
    ):
        super().__init__(
            (out_features, in_features),
            sigma_w=sigma_w,
            sigma_b=sigma_b,
            bias=bias,
            device=device,
            dtype=dtype,
        )
        self.in_features, self.out_features = in_features, out_features

    def forward(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch out"]:
        """Apply the layer to the last axis."""
        h = F.linear(x, self.weight) * self.weight_scale
        return h if self.bias is None else h + self.sigma_b * self.bias

    def extra_repr(self) -> str:
        """Sizes and scales, for printing."""
        sizes = f"{self.in_features}, {self.out_features}"
        return f"{sizes}, sigma_w={self.sigma_w}, sigma_b={self.sigma_b}"


class Conv2d(_ScaledLayer):
    """Two-dimensional convolution, stride 1, in NTK parameterization.

    h[c, p] = sigma_w sum_{c', d} W[c, c', d] x[c', p + d] / sqrt(k k in_channels) + sigma_b b[c],
    zero padding. Source: Arora et al. 2019 (arXiv:1904.11955), section 4, up to scales.

    Args:
        in_channels: channels of the input (N, C, H, W).
        out_channels: channels of the output.
        kernel_size: side k of the square filter; odd where `padding` is "same".
        sigma_w: standard deviation of the weights, >= 0.
        sigma_b: standard deviation of the biases, >= 0.
        bias: "normal" or "zero", the biases at initialisation.
        padding: "same" (output as large as the input) or "valid" (no padding).
        device: where the parameters live.
        dtype: type of the parameters.

    Raises:
        ConfigurationError: if a scale is negative, or `bias` or `padding` is unknown.

    Example:
        >>> ntkflow.Conv2d(1, 4, kernel_size=3)(torch.ones(5, 1, 8, 8)).shape
        torch.Size([5, 4, 8, 8])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        sigma_w: float = 1.0,
        sigma_b: float = 0.0,
        bias: str = "normal",
        padding: str = "same",
        device=None,
        dtype=None,
    ):
        if padding not in ("same", "valid"):
            raise ConfigurationError(f"padding: {padding!r} is not allowed; use 'same' or 'valid'")
        if padding == "same" and kernel_size % 2 == 0:
            raise ConfigurationError(
                f"kernel_size: {kernel_size} is even; padding 'same' needs an odd filter"
            )
        super().__init__(
            (out_channels, in_channels, kernel_size, kernel_size),
            sigma_w=sigma_w,
            sigma_b=sigma_b,
            bias=bias,
            device=device,
            dtype=dtype,
        )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.padding = kernel_size, padding

    def forward(self, x: Float[Tensor, "*n c h w"]) -> Float[Tensor, "*n out h2 w2"]:
        """Apply the convolution to images (N, C, H, W) or one image (C, H, W)."""
        # The weights are fewer than the outputs, so scaling them is the cheaper order.
        h = F.conv2d(x, self.weight * self.weight_scale, padding=self.padding)
        return h if self.bias is None else h + self.sigma_b * self.bias[:, None, None]

    def extra_repr(self) -> str:
        """Sizes and scales, for printing."""
        sizes = f"{self.in_channels}, {self.out_channels}, {self.kernel_size}, {self.padding!r}"
        return f"{sizes}, sigma_w={self.sigma_w}, sigma_b={self.sigma_b}"


class Erf(nn.Module):
    """Activation erf(x).

    Example:
        >>> ntkflow.Erf()(torch.zeros(1))
        tensor([0.])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply elementwise."""
        return torch.erf(x)


class Sin(nn.Module):
    """Activation sin(x).

    Example:
        >>> ntkflow.Sin()(torch.zeros(1))
        tensor([0.])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply elementwise."""
        return torch.sin(x)


class Abs(nn.Module):
    """Activation |x|.

    Example:
        >>> ntkflow.Abs()(torch.tensor([-2.0]))
        tensor([2.])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply elementwise."""
        return torch.abs(x)


class GlobalAveragePool(nn.Module):
    """Mean over the two spatial axes: (N, C, H, W) to (N, C).

    Example:
        >>> ntkflow.GlobalAveragePool()(torch.ones(5, 4, 8, 8)).shape
        torch.Size([5, 4])
    """

    def forward(self, x: Float[Tensor, "*n c h w"]) -> Float[Tensor, "*n c"]:
        """Average over height and width."""
        return x.mean(dim=(-2, -1))


class Residual(nn.Module):
    """Residual sum x + branch(x).

    Example:
        >>> ntkflow.Residual(torch.nn.ReLU())(torch.tensor([-1.0, 1.0]))
        tensor([-1.,  2.])
    """

    def __init__(self, branch: nn.Module):
        super().__init__()
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        """Add the branch to its input."""
        return x + self.branch(x)


ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "erf": Erf,
    "gelu": nn.GELU,
    "sin": Sin,
    "abs": Abs,
    "tanh": nn.Tanh,
    "linear": nn.Identity,
}


def activation_layer(name: str) -> nn.Module:
    """Activation by its name in `ACTIVATIONS`; an unknown name is a ConfigurationError."""
    if name not in ACTIVATIONS:
        allowed = ", ".join(ACTIVATIONS)
        raise ConfigurationError(f"activation: {name!r} is unknown; use one of {allowed}")
    return ACTIVATIONS[name]()


def mlp(
    input_dim: int,
    widths: Sequence[int],
    output_dim: int = 1,
    *,
    activation: str = "relu",
    sigma_w: float = 1.0,
    sigma_w_last: float | None = None,
    sigma_b: float = 0.0,
    bias: str = "normal",
    device=None,
    dtype=None,
) -> nn.Sequential:
    """Fully connected network in NTK parameterization: Dense, activation, ..., Dense.

    Args:
        input_dim: n0, the input dimension.
        widths: one width per hidden layer.
        output_dim: O, number of outputs.
        activation: a name in `ACTIVATIONS`.
        sigma_w: standard deviation of the weights in every layer.
        sigma_w_last: that of the output layer; default: `sigma_w`.
        sigma_b: standard deviation of the biases in every layer, the output layer included.
        bias: "normal" or "zero", the biases at initialisation.
        device: where the parameters live.
        dtype: type of the parameters.

    Returns:
        Network that maps (N, n0) to (N, O).

    Example:
        >>> ntkflow.mlp(3, [64, 64], 2, sigma_w=2**0.5, sigma_b=0.1)(torch.ones(5, 3)).shape
        torch.Size([5, 2])
    """
    options = dict(sigma_w=sigma_w, sigma_b=sigma_b, bias=bias, device=device, dtype=dtype)
    layers: list[nn.Module] = []
    for fan_in, width in zip([input_dim, *widths], widths, strict=False):
        layers += [Dense(fan_in, width, **options), activation_layer(activation)]
    last = widths[-1] if widths else input_dim
    if sigma_w_last is not None:
        options["sigma_w"] = sigma_w_last
    return nn.Sequential(*layers, Dense(last, output_dim, **options))


def cnn(
    in_channels: int,
    channels: Sequence[int],
    output_dim: int = 1,
    *,
    image_size: int,
    kernel_size: int = 3,
    head: str = "flatten",
    activation: str = "relu",
    sigma_w: float = 1.0,
    sigma_b: float = 0.0,
    bias: str = "normal",
    device=None,
    dtype=None,
) -> nn.Sequential:
    """Convolutional network in NTK parameterization: (Conv2d, activation) ..., head, Dense.

    Args:
        in_channels: channels of the images.
        channels: one number of channels per convolution.
        output_dim: O, number of outputs.
        image_size: side of the square images.
        kernel_size: side of the square filters, zero padding "same".
        head: "flatten" or "gap" (global average pooling), before the dense read-out.
        activation: a name in `ACTIVATIONS`.
        sigma_w: standard deviation of the weights in every layer.
        sigma_b: standard deviation of the biases in every layer.
        bias: "normal" or "zero", the biases at initialisation.
        device: where the parameters live.
        dtype: type of the parameters.

    Returns:
        Network that maps (N, C, H, W) to (N, O).

    Raises:
        ConfigurationError: if the head or activation is unknown.

    Example:
        >>> network = ntkflow.cnn(1, [16, 16], 10, image_size=8, head="gap")
        >>> network(torch.ones(5, 1, 8, 8)).shape
        torch.Size([5, 10])
    """
    if head not in ("flatten", "gap"):
        raise ConfigurationError(f"head: {head!r} is unknown; use 'flatten' or 'gap'")
    options = dict(sigma_w=sigma_w, sigma_b=sigma_b, bias=bias, device=device, dtype=dtype)
    layers: list[nn.Module] = []
    for c_in, c_out in zip([in_channels, *channels], channels, strict=False):
        layers += [Conv2d(c_in, c_out, kernel_size, **options), activation_layer(activation)]
    last = channels[-1] if channels else in_channels
    if head == "gap":
        return nn.Sequential(*layers, GlobalAveragePool(), Dense(last, output_dim, **options))
    features = last * image_size**2
    return nn.Sequential(*layers, nn.Flatten(), Dense(features, output_dim, **options))


def build_network(network: Mapping[str, Any], input_dim: int, output_dim: int) -> nn.Sequential:
    """Network described by a `network` block of the configuration.

    Args:
        network: keys kind, width, depth, activation, sigma_w, sigma_w_last, sigma_b, bias.
        input_dim: n0, the input dimension.
        output_dim: O, number of outputs.

    Returns:
        A network on the meta device: its architecture only. Weights come from `draw_parameters`.
    """
    builders = {"mlp": _build_mlp}
    return builders[network["kind"]](network, input_dim, output_dim)


def _build_mlp(network: Mapping[str, Any], input_dim: int, output_dim: int) -> nn.Sequential:
    keys = ("activation", "sigma_w", "sigma_w_last", "sigma_b", "bias")
    options = {key: network[key] for key in keys}
    widths = [network["width"]] * network["depth"]
    return mlp(input_dim, widths, output_dim, device="meta", **options)


def draw_parameters(
    network: nn.Module, seeds: Sequence[int], *, dtype: torch.dtype | None = None, device=None
) -> dict[str, Tensor]:
    """Parameters of an ensemble, one initialisation of `network` per seed.

    Every seed calls `reset_parameters` of each layer on the CPU under its own random state, so a
    seed gives the same network whatever its neighbours, the device and the thread count are. The
    random numbers are drawn in the network's own dtype and then cast.

    Args:
        network: every module with parameters of its own must have `reset_parameters`, as ntkflow's
            and nearly all of torch.nn's have; it is not changed.
        seeds: one per member of the ensemble.
        dtype: type of the result; default: the network's own.
        device: where the result lives; default: the CPU.

    Returns:
        Name to tensor (S, *shape) with S = len(seeds).

    Raises:
        UnsupportedLayerError: if a module with parameters of its own has no `reset_parameters`.

    Example:
        >>> drawn = ntkflow.draw_parameters(ntkflow.mlp(3, [64]), seeds=range(10))
        >>> drawn["0.weight"].shape
        torch.Size([10, 64, 3])
    """
    _check_can_be_drawn(network)
    template = copy.deepcopy(network).to_empty(device="cpu")
    stacked = {
        name: torch.empty(len(seeds), *like.shape, dtype=dtype or like.dtype, device=device)
        for name, like in template.named_parameters()
    }
    with torch.random.fork_rng(devices=[]):
        for index, seed in enumerate(seeds):
            torch.manual_seed(torch_seed(seed, "init"))
            for module in template.modules():
                if hasattr(module, "reset_parameters"):
                    module.reset_parameters()
            for name, parameter in template.named_parameters():
                stacked[name][index] = parameter.detach()
    return stacked


def _check_can_be_drawn(network: nn.Module) -> None:
    for name, module in network.named_modules():
        if dict(module.named_parameters(recurse=False)) and not hasattr(module, "reset_parameters"):
            raise UnsupportedLayerError(
                f"layer {name!r}: {type(module).__name__} has parameters but no reset_parameters() "
                "that draws them; allowed: layers that have it"
            )


def member(parameters: dict[str, Tensor], index: int) -> dict[str, Tensor]:
    """Parameters of one member of an ensemble, ready for `torch.func.functional_call`."""
    return {name: tensor[index] for name, tensor in parameters.items()}
