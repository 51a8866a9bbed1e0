"""What layers in NTK parameterization share: weights N(0, 1), scaled in the forward pass."""

import math

import torch
from torch import nn

from ..checks import check_choice, check_not_negative


def check_scales(sigma_w: float, sigma_b: float, bias: str) -> None:
    """Raise a ConfigurationError if a scale is negative or `bias` is unknown."""
    check_choice("bias", bias, ("normal", "zero"))
    for name, value in (("sigma_w", sigma_w), ("sigma_b", sigma_b)):
        check_not_negative(name, value)


class ScaledLayer(nn.Module):
    """Weights and biases N(0, 1) (biases N(0, 1) or zero), scaled in the forward pass."""

    def __init__(self, weight_shape, *, sigma_w, sigma_b, bias, device, dtype, outputs=None):
        super().__init__()
        check_scales(sigma_w, sigma_b, bias)
        self.sigma_w, self.sigma_b, self.bias_init = float(sigma_w), float(sigma_b), bias
        self.weight = nn.Parameter(torch.empty(*weight_shape, device=device, dtype=dtype))
        if sigma_b > 0:
            count = weight_shape[0] if outputs is None else outputs
            self.bias = nn.Parameter(torch.empty(count, device=device, dtype=dtype))
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
