"""Where a layer's scales go: into its forward pass, or into its initialisation.

- "ntk": h = sigma_w W x / sqrt(fan_in) + sigma_b b, everything N(0, 1) (`layers`, `convolutions`);
- "standard": h = W x + b with W ~ N(0, sigma_w^2 / fan_in) and b ~ N(0, sigma_b^2): the same
  function at initialisation, but another kernel, which grows like the width;
- "pytorch": torch.nn's own layers, h = W x + b, weights and biases uniform with variance
  1 / (3 fan_in).
"""

from collections.abc import Callable
from typing import Any

from torch import nn

from ..checks import check_choice
from ..errors import ConfigurationError
from .convolutions import Conv2d
from .layers import Dense
from .scaled import check_scales


class StandardLinear(nn.Linear):
    """Dense layer in standard parameterization: h = W x + b.

    W (out_features, in_features) ~ N(0, sigma_w^2 / in_features) and b (out_features,) ~
    N(0, sigma_b^2), or b = 0 at initialisation with `bias="zero"`. `sigma_b=0` has no bias.

    Args:
        in_features: size of the last axis of the input.
        out_features: size of the last axis of the output.
        sigma_w: standard deviation of the weights times sqrt(in_features), >= 0.
        sigma_b: standard deviation of the biases, >= 0.
        bias: "normal" or "zero", the biases at initialisation.
        device: where the parameters live.
        dtype: type of the parameters.

    Raises:
        ConfigurationError: if a scale is negative or `bias` is unknown.

    Examples:
        >>> ntkflow.StandardLinear(3, 4, sigma_w=2**0.5)(torch.ones(5, 3)).shape
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
        check_scales(sigma_w, sigma_b, bias)
        self.init_scales = (float(sigma_w), float(sigma_b), bias)
        super().__init__(in_features, out_features, bias=sigma_b > 0, device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """Draw the parameters anew from torch's current random state."""
        _draw(self)


class StandardConv2d(nn.Conv2d):
    """Two-dimensional convolution, stride 1, in standard parameterization.

    As `StandardLinear`, the sum running over the k k in_channels entries of a filter.

    Args:
        in_channels: channels of the input (N, C, H, W).
        out_channels: channels of the output.
        kernel_size: side k of the square filter.
        sigma_w: standard deviation of the weights times sqrt(k k in_channels), >= 0.
        sigma_b: standard deviation of the biases, >= 0.
        bias: "normal" or "zero", the biases at initialisation.
        padding: "same" (output as large as the input) or "valid" (no padding).
        device: where the parameters live.
        dtype: type of the parameters.

    Raises:
        ConfigurationError: if a scale is negative or `bias` is unknown.

    Examples:
        >>> ntkflow.StandardConv2d(1, 4, kernel_size=3)(torch.ones(5, 1, 8, 8)).shape
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
        check_scales(sigma_w, sigma_b, bias)
        self.init_scales = (float(sigma_w), float(sigma_b), bias)
        options = dict(padding=padding, bias=sigma_b > 0, device=device, dtype=dtype)
        super().__init__(in_channels, out_channels, kernel_size, **options)

    def reset_parameters(self) -> None:
        """Draw the parameters anew from torch's current random state."""
        _draw(self)


def _draw(layer: nn.Linear | nn.Conv2d) -> None:
    if layer.weight.is_meta:
        return  # as in `ScaledLayer`
    sigma_w, sigma_b, bias = layer.init_scales
    nn.init.normal_(layer.weight, std=sigma_w / layer.weight[0].numel() ** 0.5)
    if layer.bias is not None:
        nn.init.normal_(layer.bias, std=sigma_b) if bias == "normal" else nn.init.zeros_(layer.bias)


def _pytorch(kind: type[nn.Module]) -> Callable[..., nn.Module]:
    def make(*sizes: int, sigma_w: float, sigma_b: float, bias: str, **options: Any) -> nn.Module:
        for name, value, default in (
            *(("sigma_w", sigma_w, 1.0), ("sigma_b", sigma_b, 0.0)),
            ("bias", bias, "normal"),
        ):
            if value != default:
                raise ConfigurationError(
                    f"{name}: {value!r} is not allowed with parameterization 'pytorch', whose "
                    "layers have scales of their own; leave it out"
                )
        return kind(*sizes, **options)

    return make


DENSE: dict[str, Callable[..., nn.Module]] = {
    "ntk": Dense,
    "standard": StandardLinear,
    "pytorch": _pytorch(nn.Linear),
}
CONVOLUTION: dict[str, Callable[..., nn.Module]] = {
    "ntk": Conv2d,
    "standard": StandardConv2d,
    "pytorch": _pytorch(nn.Conv2d),
}


def layers_of(parameterization: str) -> tuple[Callable[..., nn.Module], Callable[..., nn.Module]]:
    """Dense and convolutional layer of a parameterization; an unknown name is an error."""
    check_choice("parameterization", parameterization, DENSE)
    return DENSE[parameterization], CONVOLUTION[parameterization]
