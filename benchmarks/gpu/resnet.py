"""ResNet-18 (He et al. 2016, arXiv:1512.03385, table 1), as torchvision builds it."""

from torch import Tensor, nn


def _convolution(fan_in: int, fan_out: int, size: int, stride: int) -> nn.Sequential:
    """Convolution and batch normalisation, whose running statistics are those of a new network."""
    filters = nn.Conv2d(fan_in, fan_out, size, stride, padding=size // 2, bias=False)
    nn.init.kaiming_normal_(filters.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(filters, nn.BatchNorm2d(fan_out))


class Block(nn.Module):
    """relu(x + convolution(relu(convolution(x)))), x itself convolved where its shape changes."""

    def __init__(self, fan_in: int, fan_out: int, stride: int):
        super().__init__()
        self.first = _convolution(fan_in, fan_out, 3, stride)
        self.second = _convolution(fan_out, fan_out, 3, 1)
        same = stride == 1 and fan_in == fan_out
        self.shortcut = nn.Identity() if same else _convolution(fan_in, fan_out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to (N, C, H, W)."""
        return (self.second(self.first(x).relu()) + self.shortcut(x)).relu()


def resnet18(outputs: int = 1000, width: int = 64) -> nn.Sequential:
    """The network in evaluation mode: batch normalisation uses no statistics of the batch.

    Args:
        outputs: O.
        width: channels of the first stage, doubled at each of the three others.

    Returns:
        Network that maps images (N, 3, H, W) to (N, O); 11,689,512 parameters by default.
    """
    layers = [_convolution(3, width, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    channels = width
    for stage in range(4):
        for stride in (2 if stage else 1, 1):
            layers.append(Block(channels, width * 2**stage, stride))
            channels = width * 2**stage
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, outputs)]
    return nn.Sequential(*layers, *head).eval()
