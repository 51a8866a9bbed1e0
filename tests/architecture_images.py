"""Toy networks on images, each with the parts of the published one at a few channels."""

import torch
from torch import nn
from torch.nn import functional as F


def normed(*channels, size=3, stride=1, groups=1, act=None):
    """Convolution without bias, batch normalisation, activation."""
    conv = nn.Conv2d(*channels, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels[1]), *([act()] if act else []))


def pooled(channels, outputs):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, outputs))


class BasicBlock(nn.Module):
    """Two convolutions and a shortcut, which is a convolution where the shape changes."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.body = nn.Sequential(
            normed(inputs, outputs, stride=stride, act=nn.ReLU), normed(outputs, outputs)
        )
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else normed(inputs, outputs, size=1, stride=stride)

    def forward(self, x):
        return F.relu(self.body(x) + self.shortcut(x), inplace=True)


def resnet18(width=2):
    """He et al. 2016 (arXiv:1512.03385), with the 3x3 stem that is used on CIFAR."""
    widths = [width, width, 2 * width, 4 * width, 8 * width]
    blocks = []
    for stage in range(4):
        blocks.append(BasicBlock(widths[stage], widths[stage + 1], 1 if stage == 0 else 2))
        blocks.append(BasicBlock(widths[stage + 1], widths[stage + 1], 1))
    return nn.Sequential(normed(3, width, act=nn.ReLU), *blocks, pooled(8 * width, 3))


class SqueezeExcite(nn.Module):
    """Channels times gates that are computed from their means."""

    def __init__(self, channels):
        super().__init__()
        self.down, self.up = nn.Conv2d(channels, 2, 1), nn.Conv2d(2, channels, 1)

    def forward(self, x):
        return x * torch.sigmoid(self.up(F.silu(self.down(x.mean((2, 3), keepdim=True)))))


class InvertedResidual(nn.Module):
    """Expand, filter each channel on its own, project."""

    def __init__(self, inputs, outputs, stride, act=nn.ReLU6, squeeze=False):
        super().__init__()
        inner = 2 * inputs
        self.body = nn.Sequential(
            normed(inputs, inner, size=1, act=act),
            normed(inner, inner, stride=stride, groups=inner, act=act),
            SqueezeExcite(inner) if squeeze else nn.Identity(),
            normed(inner, outputs, size=1),
        )
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.body(x) if self.adds else self.body(x)


def mobilenet_v2():
    """Sandler et al. 2018 (arXiv:1801.04381)."""
    blocks = [InvertedResidual(4, 4, 1), InvertedResidual(4, 6, 2), InvertedResidual(6, 6, 1)]
    stem, last = normed(3, 4, stride=2, act=nn.ReLU6), normed(6, 8, size=1, act=nn.ReLU6)
    return nn.Sequential(stem, *blocks, last, nn.Dropout(0.2), pooled(8, 3))


def efficientnet():
    """Tan and Le 2019 (arXiv:1905.11946)."""
    blocks = [InvertedResidual(4, 4, 1, nn.SiLU, True), InvertedResidual(4, 6, 2, nn.SiLU, True)]
    return nn.Sequential(normed(3, 4, stride=2, act=nn.SiLU), *blocks, pooled(6, 3))


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of an image."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNextBlock(nn.Module):
    """Each channel on its own, then a perceptron over channels whose outputs are scaled."""

    def __init__(self, channels):
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        dense = nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels)
        self.body = nn.Sequential(nn.LayerNorm(channels, eps=1e-6), *dense)
        self.scale = nn.Parameter(torch.full((channels, 1, 1), 0.5))

    def forward(self, x):
        h = self.body(self.depthwise(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return x + self.scale * h


def convnext():
    """Liu et al. 2022 (arXiv:2201.03545)."""
    stem = nn.Conv2d(3, 4, 2, 2), ChannelNorm(4), ConvNextBlock(4)
    down = ChannelNorm(4), nn.Conv2d(4, 6, 2, 2), ConvNextBlock(6)
    return nn.Sequential(*stem, *down, ChannelNorm(6), pooled(6, 3))


class Vit(nn.Module):
    """Vision transformer with a class token. Dosovitskiy et al. 2021 (arXiv:2010.11929)."""

    def __init__(self, width=8, activation="gelu"):
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.places = nn.Parameter(torch.randn(1, 5, width))
        options = dict(activation=activation, batch_first=True, norm_first=True)
        layer = nn.TransformerEncoderLayer(width, 2, 2 * width, **options)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.read = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 3))

    def forward(self, x):
        h = self.patches(x).flatten(2).mT
        h = torch.cat([self.token.expand(len(x), -1, -1), h], 1) + self.places
        return self.read(self.body(h)[:, 0])


def in_windows(x, size):
    """Images (N, H, W, C) as windows (N * windows, size * size, C)."""
    n, height, width, channels = x.shape
    x = x.reshape(n, height // size, size, width // size, size, channels)
    return x.transpose(2, 3).reshape(-1, size**2, channels)


def from_windows(windows, size, side):
    """The inverse of `in_windows` for square images."""
    count = side // size
    x = windows.reshape(-1, count, count, size, size, windows.shape[-1])
    return x.transpose(2, 3).reshape(-1, side, side, windows.shape[-1])


class WindowAttention(nn.Module):
    """Attention inside windows, shifted or not, with a bias for each relative position."""

    def __init__(self, width, side, size, shift):
        super().__init__()
        self.side, self.size, self.shift = side, size, shift
        self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.bias = nn.Parameter(torch.randn((2 * size - 1) ** 2, 2))
        place = torch.cartesian_prod(torch.arange(size), torch.arange(size))
        steps = place[:, None] - place[None] + size - 1
        self.register_buffer("index", steps[..., 0] * (2 * size - 1) + steps[..., 1])
        self.register_buffer("mask", self.make_mask())

    def make_mask(self):
        """Minus infinity, nearly, between pixels that only the shift made neighbours."""
        inside = torch.arange(self.side) < self.side - self.shift
        regions = (inside[:, None] * 2 + inside[None] * 1)[None, ..., None]
        regions = in_windows(regions, self.size)[..., 0]
        return -100.0 * (regions[:, :, None] != regions[:, None]).float()

    def forward(self, x):
        h = in_windows(x.roll((-self.shift, -self.shift), (1, 2)), self.size)
        q, k, v = self.qkv(h).unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        scores = q @ k.mT / q.shape[-1] ** 0.5 + self.bias[self.index].permute(2, 0, 1)
        scores = scores.unflatten(0, (-1, len(self.mask))) + self.mask[:, None].to(h)
        h = scores.flatten(0, 1).softmax(-1) @ v
        h = self.project(h.transpose(1, 2).flatten(2))
        return from_windows(h, self.size, self.side).roll((self.shift, self.shift), (1, 2))


class SwinBlock(nn.Module):
    def __init__(self, width, side, size, shift):
        super().__init__()
        self.attention = WindowAttention(width, side, size, shift)
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        dense = nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        self.body = nn.Sequential(*dense)

    def forward(self, x):
        x = x + self.attention(self.first(x))
        return x + self.body(self.second(x))


class Swin(nn.Module):
    """Shifted windows and merged patches. Liu et al. 2021 (arXiv:2103.14030)."""

    def __init__(self):
        super().__init__()
        self.patches, self.norm = nn.Conv2d(3, 4, 2, 2), nn.LayerNorm(4)
        self.blocks = nn.Sequential(SwinBlock(4, 4, 2, 0), SwinBlock(4, 4, 2, 1))
        self.merge = nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 8, bias=False))
        self.last = SwinBlock(8, 2, 2, 0)
        self.read = nn.Linear(8, 3)

    def forward(self, x):
        h = self.blocks(self.norm(self.patches(x).permute(0, 2, 3, 1)))
        corners = [h[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]
        return self.read(self.last(self.merge(torch.cat(corners, -1))).mean((1, 2)))


class UNet(nn.Module):
    """Down and up again with skips; the output is an image. Ronneberger et al. 2015."""

    def __init__(self, width=2):
        super().__init__()
        self.down = normed(1, width, act=nn.ReLU)
        self.middle = normed(width, 2 * width, act=nn.ReLU)
        self.up = nn.ConvTranspose2d(2 * width, width, 2, 2)
        self.join = normed(2 * width, width, act=nn.ReLU)
        self.read = nn.Conv2d(width, 1, 1)

    def forward(self, x):
        skip = self.down(x)
        h = self.up(self.middle(F.max_pool2d(skip, 2)))
        return self.read(self.join(torch.cat([skip, h], 1)))


class DenseNet(nn.Module):
    """Every layer sees all before it. Huang et al. 2017 (arXiv:1608.06993)."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(2 + 2 * i, 2, 3, padding=1) for i in range(3))
        self.read = pooled(8, 3)

    def forward(self, x):
        for layer in self.layers:
            x = torch.cat([x, layer(x.relu())], 1)
        return self.read(x)


class Mixer(nn.Module):
    """Dense layers over patches and over channels. Tolstikhin et al. 2021 (arXiv:2105.01601)."""

    def __init__(self, width=6, places=4):
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.over_places = nn.Sequential(nn.Linear(places, 5), nn.GELU(), nn.Linear(5, places))
        self.over_channels = nn.Sequential(nn.Linear(width, 7), nn.GELU(), nn.Linear(7, width))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.read = nn.Linear(width, 3)

    def forward(self, x):
        h = self.patches(x).flatten(2).mT
        h = h + self.over_places(self.norms[0](h).mT).mT
        h = h + self.over_channels(self.norms[1](h))
        return self.read(self.norms[2](h).mean(1))


def autoencoder_1d():
    return nn.Sequential(
        nn.Conv1d(1, 4, 5, stride=2, padding=2), nn.GELU(),
        nn.ConvTranspose1d(4, 1, 4, stride=2, padding=1),
    )  # fmt: skip


def conv_3d():
    return nn.Sequential(nn.Conv3d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24, 3))


def instance_norm():
    layers = nn.Conv2d(3, 4, 3, padding_mode="circular"), nn.InstanceNorm2d(4, affine=True)
    return nn.Sequential(*layers, nn.LeakyReLU(), nn.MaxPool2d(2), nn.PixelShuffle(2), pooled(1, 2))
