"""Networks of any width whose limits are checked against wide finite ones."""

import torch
from torch import nn
from torch.nn import functional as F

import ntkflow
from ntkflow import Conv2d, ConvTranspose2d, Dense

OUTPUTS = 8


def dense(a, b, sigma_w=1.3, sigma_b=0.2):
    return Dense(a, b, sigma_w=sigma_w, sigma_b=sigma_b, dtype=torch.float64)


class Net(nn.Module):
    """Named layers and a forward given as a function."""

    def __init__(self, function, **layers):
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x):
        return self.function(self, x)


def vectors(n=4, d=6):
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def images(n=3, c=2, side=5):
    generator = torch.Generator().manual_seed(4)
    return torch.randn(n, c, side, side, dtype=torch.float64, generator=generator)


def sequences(n=3, t=5, d=4):
    return torch.randn(n, t, d, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


def tokens(n=4, t=5):
    return torch.randint(0, 7, (n, t), generator=torch.Generator().manual_seed(6))


def conv(kind, a, b, k, **options):
    return kind(a, b, k, sigma_w=1.3, sigma_b=0.2, dtype=torch.float64, **options)


def norm(n, affine=True):
    return nn.LayerNorm(n, elementwise_affine=affine, dtype=torch.float64)


def normed(function):
    """Two layers with a norm between."""
    return lambda w: Net(function, first=dense(6, w), norm=norm(w), last=dense(w, OUTPUTS))


def two(w, function, d=6):
    """First layer, a shared one, another and a last."""
    return Net(function, first=dense(d, w), a=dense(w, w), b=dense(w, w), last=dense(w, OUTPUTS))


def gate(m, x):
    u, v = m.a(torch.relu(m.first(x))).chunk(2, -1)
    return m.last(u * torch.sigmoid(v))


class Padded(nn.Module):
    def __init__(self, w):
        super().__init__()
        self.a, self.b = conv(Conv2d, 2, w, 3), conv(Conv2d, w, w, 3, padding="valid")
        self.last = dense(w, OUTPUTS)

    def forward(self, x):
        h = torch.relu(self.a(x))
        h = F.pad(h, (1, 1, 2, 0))
        return self.last(torch.relu(self.b(h)).mean((-2, -1)))


# Name: width to network, inputs.
NETWORKS = {
    "tied layers": (
        lambda w: two(
            w, lambda m, x: m.last(torch.relu(m.a(torch.erf(m.a(torch.relu(m.first(x)))))))
        ),
        vectors,
    ),
    "tied, added": (
        lambda w: two(
            w,
            lambda m, x: m.last(
                torch.relu(
                    m.a(torch.relu(m.first(x))) + m.a(torch.relu(m.a(torch.relu(m.first(x)))))
                )
            ),
        ),
        vectors,
    ),
    "siamese": (
        lambda w: Net(
            lambda m, x: m.last(
                torch.cat([torch.relu(m.first(x[:, :3])), torch.relu(m.first(x[:, 3:]))], -1)
            ),
            first=dense(3, w),
            last=dense(2 * w, OUTPUTS),
        ),
        vectors,
    ),
    "siamese, added": (
        lambda w: Net(
            lambda m, x: m.last(
                torch.relu(m.first(x[:, :3])) - 0.5 * torch.relu(m.first(x[:, 3:]))
            ),
            first=dense(3, w),
            last=dense(w, OUTPUTS),
        ),
        vectors,
    ),
    "value and its activation": (
        lambda w: two(w, lambda m, x: m.last(m.first(x) + torch.relu(m.first(x)))),
        vectors,
    ),
    "two activations": (
        lambda w: two(
            w, lambda m, x: m.last(torch.relu(m.a(m.first(x))) + torch.relu(m.b(m.first(x))))
        ),
        vectors,
    ),
    "scaled residual": (
        lambda w: two(
            w,
            lambda m, x: m.last(
                torch.relu((m.first(x) + m.b(torch.relu(m.a(torch.relu(m.first(x)))))) / 2**0.5)
            ),
        ),
        vectors,
    ),
    "swish by hand": (
        lambda w: two(w, lambda m, x: m.last(m.first(x) * torch.sigmoid(m.first(x)))),
        vectors,
    ),
    "gate": (
        lambda w: Net(gate, first=dense(6, w), a=dense(w, 2 * w), last=dense(w, OUTPUTS)),
        vectors,
    ),
    "norm, gain, relu": (normed(lambda m, x: m.last(torch.relu(m.norm(m.first(x))))), vectors),
    "norm, gain, erf": (normed(lambda m, x: m.last(torch.erf(m.norm(m.first(x))))), vectors),
    "norm after relu": (normed(lambda m, x: m.last(m.norm(torch.relu(m.first(x))))), vectors),
    "norm twice": (
        lambda w: Net(
            lambda m, x: m.last(m.two(m.one(torch.relu(m.first(x))) + m.a(torch.relu(m.first(x))))),
            first=dense(6, w),
            a=dense(w, w),
            one=norm(w),
            two=norm(w),
            last=dense(w, OUTPUTS),
        ),
        vectors,
    ),
    "norm over pixels": (
        lambda w: nn.Sequential(
            conv(Conv2d, 2, w, 3),
            nn.LayerNorm((w, 5, 5), dtype=torch.float64),
            nn.ReLU(),
            ntkflow.GlobalAveragePool(),
            dense(w, OUTPUTS),
        ),
        images,
    ),
    "group norm": (
        lambda w: nn.Sequential(
            conv(Conv2d, 2, w, 3),
            nn.ReLU(),
            nn.GroupNorm(2, w, dtype=torch.float64),
            conv(Conv2d, w, w, 3),
            nn.ReLU(),
            nn.Flatten(),
            dense(25 * w, OUTPUTS),
        ),
        images,
    ),
    "dilated and strided": (
        lambda w: nn.Sequential(
            conv(Conv2d, 2, w, 3, padding=2, dilation=2),
            nn.ReLU(),
            conv(Conv2d, w, w, (3, 2), stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            dense(9 * w, OUTPUTS),
        ),
        images,
    ),
    "transposed": (
        lambda w: nn.Sequential(
            conv(Conv2d, 2, w, 3, stride=2, padding=1),
            nn.ReLU(),
            conv(ConvTranspose2d, w, w, 3, stride=2, padding=1),
            nn.ReLU(),
            ntkflow.GlobalAveragePool(),
            dense(w, OUTPUTS),
        ),
        images,
    ),
    "groups": (
        lambda w: nn.Sequential(
            conv(Conv2d, 2, w, 3),
            nn.ReLU(),
            conv(Conv2d, w, w, 3, groups=2),
            nn.ReLU(),
            ntkflow.GlobalAveragePool(),
            dense(w, OUTPUTS),
        ),
        images,
    ),
    "padded by hand": (Padded, images),
    "average pool and conv": (
        lambda w: nn.Sequential(
            conv(Conv2d, 2, w, 3),
            nn.ReLU(),
            nn.AvgPool2d(3, 2, 1),
            conv(Conv2d, w, w, 3),
            nn.ReLU(),
            nn.Flatten(),
            dense(9 * w, OUTPUTS),
        ),
        images,
    ),
    "skip at another scale": (
        lambda w: Net(
            lambda m, x: m.last(
                torch.relu(
                    m.a(torch.cat([torch.relu(m.first(x)), torch.relu(m.b(m.first(x)))], 1))
                ).mean((-2, -1))
            ),
            first=conv(Conv2d, 2, w, 3),
            b=conv(Conv2d, w, w, 3),
            a=conv(Conv2d, 2 * w, w, 3),
            last=dense(w, OUTPUTS),
        ),
        images,
    ),
    "channels to pixels": (
        lambda w: nn.Sequential(
            dense(6, 4 * w),
            nn.ReLU(),
            nn.Unflatten(1, (w, 2, 2)),
            conv(Conv2d, w, w, 3),
            nn.ReLU(),
            nn.Upsample(scale_factor=2),
            conv(Conv2d, w, w, 3),
            nn.ReLU(),
            ntkflow.GlobalAveragePool(),
            dense(w, OUTPUTS),
        ),
        vectors,
    ),
    "pixels from channels": (
        lambda w: nn.Sequential(
            conv(Conv2d, 2, 4 * w, 3),
            nn.ReLU(),
            nn.PixelShuffle(2),
            conv(Conv2d, w, w, 3),
            nn.ReLU(),
            ntkflow.GlobalAveragePool(),
            dense(w, OUTPUTS),
        ),
        images,
    ),
}
