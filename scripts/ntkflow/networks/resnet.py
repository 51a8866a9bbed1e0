"""ResNet-18 without normalisation."""

from jaxtyping import Float
from torch import Tensor, nn

from ..checks import as_whole, check_choice

# Strides of the blocks; where they are 2, channels double.
STRIDES = (1, 1, 2, 1, 2, 1, 2, 1)


class HeConv2d(nn.Conv2d):
    """Convolution without biases, weights drawn from N(0, 2 / fan-in), half of the filter padded.

    Source: He et al. 2015 (arXiv:1502.01852), equation 10.
    """

    def __init__(self, fan_in: int, fan_out: int, size: int, stride: int, **where):
        super().__init__(fan_in, fan_out, size, stride, padding=size // 2, bias=False, **where)

    def reset_parameters(self) -> None:
        """Draw the weights anew from torch's current random state."""
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")


class Block(nn.Module):
    """relu((shortcut(x) + branch(x)) / sqrt(2)), the branch two convolutions of 3 x 3.

    The shortcut is x, or a convolution of 1 x 1 where the shape changes.
    """

    def __init__(self, fan_in: int, fan_out: int, stride: int, **where):
        super().__init__()
        self.branch = nn.Sequential(
            HeConv2d(fan_in, fan_out, 3, stride, **where),
            nn.ReLU(),
            HeConv2d(fan_out, fan_out, 3, 1, **where),
        )
        same = stride == 1 and fan_in == fan_out
        self.shortcut = nn.Identity() if same else HeConv2d(fan_in, fan_out, 1, stride, **where)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        """Apply the block to images."""
        return ((self.shortcut(x) + self.branch(x)) * 0.5**0.5).relu()


def resnet18(
    in_channels: int,
    output_dim: int,
    *,
    width: int = 64,
    stem: str = "imagenet",
    device=None,
    dtype=None,
) -> nn.Sequential:
    """ResNet-18 in standard parameterization, without normalisation, for kernels at initialisation.

    Batch normalisation in evaluation mode, with the statistics of a new network, is the identity,
    and left out with its scales and shifts. In its place convolutions are drawn as He et al. 2015
    do, and the sum of a block is divided by sqrt(2): values keep their size, but for what zeros at
    the edges take away. The read-out is torch's. Source: He et al. 2016 (arXiv:1512.03385), table
    1.

    Args:
        in_channels: channels of the images.
        output_dim: O, number of outputs.
        width: channels of the first two blocks, doubled three times after.
        stem: "imagenet": filters of 7 x 7 with stride 2, then maxima over 3 x 3 with stride 2;
            "cifar": filters of 3 x 3 alone, for small images, at about 16 times the cost.
        device: where the parameters live.
        dtype: type of the parameters.

    Returns:
        Network that maps (N, C, H, W) to (N, O); 11,172,042 parameters for three channels and ten
        outputs.

    Raises:
        ConfigurationError: if the stem is unknown or a number is not positive.

    Examples:
        >>> from ntkflow.networks.resnet import resnet18
        >>> resnet18(3, 10, width=4)(torch.ones(5, 3, 32, 32)).shape
        torch.Size([5, 10])
    """
    check_choice("stem", stem, ("imagenet", "cifar"))
    channels, where = as_whole("width", width, 1), dict(device=device, dtype=dtype)
    size, stride = (7, 2) if stem == "imagenet" else (3, 1)
    layers: list[nn.Module] = [HeConv2d(in_channels, channels, size, stride, **where), nn.ReLU()]
    if stem == "imagenet":
        layers.append(nn.MaxPool2d(3, 2, 1))
    for stride in STRIDES:
        layers.append(Block(channels, stride * channels, stride, **where))
        channels *= stride
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, output_dim, **where)]
    return nn.Sequential(*layers, *head)
