"""What a read-out sees of a sequence: the mean over its positions."""

from jaxtyping import Float
from torch import Tensor, nn


class TimeAverage(nn.Module):
    """Mean over time of what a recurrent network returns: (N, T, d) to (N, n).

    Args:
        recurrent: such as `ntkflow.RNN`, which returns its outputs (N, T, n) first.

    Examples:
        >>> from ntkflow.networks.averaging import TimeAverage
        >>> TimeAverage(ntkflow.RNN(3, 8, activation="relu"))(torch.ones(5, 4, 3)).shape
        torch.Size([5, 8])
    """

    def __init__(self, recurrent: nn.Module):
        super().__init__()
        self.recurrent = recurrent

    def forward(self, x: Float[Tensor, "n t d"]) -> Float[Tensor, "n h"]:
        """Run through the sequence and average over its steps."""
        return self.recurrent(x)[0].mean(1)


class TokenAverage(nn.Module):
    """Mean over tokens: (N, T, n) to (N, n).

    Examples:
        >>> from ntkflow.networks.averaging import TokenAverage
        >>> TokenAverage()(torch.ones(5, 4, 3)).shape
        torch.Size([5, 3])
    """

    def forward(self, x: Float[Tensor, "n t d"]) -> Float[Tensor, "n d"]:
        """Average over the tokens."""
        return x.mean(1)
