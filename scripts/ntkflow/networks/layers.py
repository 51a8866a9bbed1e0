"""Dense layers in NTK parameterization, and layers without parameters.

NTK parameterization (Jacot, Gabriel, Hongler 2018, arXiv:1806.07572) keeps every weight and bias
N(0, 1) and scales the layer instead: h = sigma_w W x / sqrt(fan_in) + sigma_b b.
"""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from .convolutions import Conv2d
from .scaled import ScaledLayer

__all__ = ["Conv2d", "Dense", "GlobalAveragePool", "Residual"]  # pickles look for Conv2d here


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

    Examples:
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


class GlobalAveragePool(nn.Module):
    """Mean over the two spatial axes: (N, C, H, W) to (N, C).

    Examples:
        >>> ntkflow.GlobalAveragePool()(torch.ones(5, 4, 8, 8)).shape
        torch.Size([5, 4])
    """

    def forward(self, x: Float[Tensor, "*n c h w"]) -> Float[Tensor, "*n c"]:
        """Average over height and width."""
        return x.mean(dim=(-2, -1))


class Residual(nn.Module):
    """Residual sum x + branch(x).

    Examples:
        >>> ntkflow.Residual(torch.nn.ReLU())(torch.tensor([-1.0, 1.0]))
        tensor([-1.,  2.])
    """

    def __init__(self, branch: nn.Module):
        super().__init__()
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        """Add the branch to its input."""
        return x + self.branch(x)
