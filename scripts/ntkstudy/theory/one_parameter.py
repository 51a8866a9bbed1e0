"""A model with a single weight, small enough to draw."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class OneParameter(nn.Module):
    """f(x; w) = (w x + w^2 x + sin(exp(w / 10))) (w - w_0), which is zero at its start w_0 = 0.4.

    Source: blog post "Understanding the Neural Tangent Kernel", section on lazy training.

    Args:
        device: where the weight lives.
        dtype: type of the weight.

    Examples:
        >>> OneParameter()(torch.tensor([[1.5]])).item()
        0.0
    """

    start = 0.4

    def __init__(self, *, device=None, dtype=None):
        super().__init__()
        self.weight = nn.Parameter(torch.full((1,), self.start, device=device, dtype=dtype))

    def reset_parameters(self) -> None:
        """Go back to w_0; nothing is random."""
        nn.init.constant_(self.weight, self.start)

    def forward(self, x: Float[Tensor, "n 1"]) -> Float[Tensor, "n 1"]:
        """Outputs, one a row."""
        w = self.weight
        # w_0 in the weight's own type, so that the start is exactly zero in float32 too.
        return (w * x + w**2 * x + torch.sin(torch.exp(w / 10))) * (
            w - torch.full_like(w, self.start)
        )
