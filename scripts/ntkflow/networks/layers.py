"""Layers in NTK parameterization, and layers without parameters.

NTK parameterization (Jacot, Gabriel, Hongler 2018, arXiv:1806.07572) keeps every weight and bias
N(0, 1) and scales the layer instead: h = sigma_w W x / sqrt(fan_in) + sigma_b b.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ..checks import check_choice
from ..errors import ConfigurationError


def check_scales(sigma_w: float, sigma_b: float, bias: str) -> None:
    """Raise a ConfigurationError if a scale is negative or `bias` is unknown."""
    check_choice("bias", bias, ("normal", "zero"))
    for name, value in (("sigma_w", sigma_w), ("sigma_b", sigma_b)):
        if not value >= 0:
            raise ConfigurationError(f"{name}: {value!r} is not allowed; use a number >= 0")


class ScaledLayer(nn.Module):
    """Weights and biases N(0, 1) (biases N(0, 1) or zero), scaled in the forward pass."""

    def __init__(self, weight_shape, *, sigma_w, sigma_b, bias, device, dtype):
        super().__init__()
        check_scales(sigma_w, sigma_b, bias)
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
        if self.weight.is_meta:
            return  # nothing to draw, and torch would load its compiler to find that out
        nn.init.normal_(self.weight)
        if self.bias is not None:
            nn.init.normal_(self.bias) if self.bias_init == "normal" else nn.init.zeros_(self.bias)


class Dense(ScaledLayer):
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


class Conv2d(ScaledLayer):
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
        check_choice("padding", padding, ("same", "valid"))
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
