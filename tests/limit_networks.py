"""Networks of any width whose limits are checked against wide finite ones."""

import math

import torch
from torch import nn
from torch.nn import functional as F

import ntkflow
from ntkflow import Conv1d, Conv2d, ConvTranspose2d, Dense

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


def two(w, function, d=6):
    """First layer, a shared one, another and a last."""
    return Net(function, first=dense(d, w), a=dense(w, w), b=dense(w, w), last=dense(w, OUTPUTS))


def gate(m, x):
    u, v = m.a(torch.relu(m.first(x))).chunk(2, -1)
    return m.last(u * torch.sigmoid(v))


class Code(nn.Module):
    """A position code that is added, fixed or learnt."""

    def __init__(self, t, w, learnt):
        super().__init__()
        self.code = nn.Parameter(torch.randn(t, w, dtype=torch.float64), requires_grad=learnt)

    def forward(self, x):
        return x + self.code


class Padded(nn.Module):
    def __init__(self, w):
        super().__init__()
        self.a, self.b = conv(Conv2d, 2, w, 3), conv(Conv2d, w, w, 3, padding="valid")
        self.last = dense(w, OUTPUTS)

    def forward(self, x):
        h = torch.relu(self.a(x))
        h = F.pad(h, (1, 1, 2, 0))
        return self.last(torch.relu(self.b(h)).mean((-2, -1)))


def attention(w, scaling="tied 1/d", score="softmax", heads=1, **options):
    return ntkflow.MultiheadAttention(
        w,
        heads,
        scaling=scaling,
        score=score,
        sigma_qk=1.2,
        sigma_v=1.1,
        sigma_o=1.3,
        sigma_b=0.1,
        dtype=torch.float64,
        **options,
    )


def attend(m, x, **options):
    h = m.embed(x)
    return m.last(torch.relu(m.attention(h, h, h, need_weights=False, **options)[0]).mean(1))


def causal(m, x):
    return attend(m, x, is_causal=True)


def seq(function, d=4, extra=None):
    return lambda w: Net(
        function, embed=dense(d, w), **(extra(w) if extra else {}), last=dense(w, OUTPUTS)
    )


def cell(m, x):
    """A gated cell with the same weights at every step."""
    h = torch.relu(m.embed(x[:, 0]))
    for t in range(1, x.shape[1]):
        h = torch.erf(m.hidden(h) + m.embed(x[:, t])) * torch.sigmoid(m.gate(h))
    return m.last(h)


def both_ways(m, x):
    forward = backward = None
    steps = x.shape[1]
    for t in range(steps):
        h, g = m.embed(x[:, t]), m.embed(x[:, steps - 1 - t])
        forward = torch.relu(h if forward is None else h + m.hidden(forward))
        backward = torch.relu(g if backward is None else g + m.hidden(backward))
    return m.last(torch.cat([forward, backward], -1))


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
    "norm, gain, relu": (
        lambda w: Net(
            lambda m, x: m.last(torch.relu(m.norm(m.first(x)))),
            first=dense(6, w),
            norm=norm(w),
            last=dense(w, OUTPUTS),
        ),
        vectors,
    ),
    "norm, gain, erf": (
        lambda w: Net(
            lambda m, x: m.last(torch.erf(m.norm(m.first(x)))),
            first=dense(6, w),
            norm=norm(w),
            last=dense(w, OUTPUTS),
        ),
        vectors,
    ),
    "norm after relu": (
        lambda w: Net(
            lambda m, x: m.last(m.norm(torch.relu(m.first(x)))),
            first=dense(6, w),
            norm=norm(w),
            last=dense(w, OUTPUTS),
        ),
        vectors,
    ),
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
    "recurrent, gated": (
        lambda w: Net(
            cell,
            embed=dense(4, w),
            hidden=dense(w, w, 1.3, 0.0),
            gate=dense(w, w),
            last=dense(w, OUTPUTS),
        ),
        lambda: sequences(t=3),
    ),
    "both ways, one cell": (
        lambda w: Net(
            both_ways, embed=dense(4, w), hidden=dense(w, w, 1.0, 0.0), last=dense(2 * w, OUTPUTS)
        ),
        lambda: sequences(t=3),
    ),
    "torch's rnn": (
        lambda w: Net(
            lambda m, x: m.last(m.rnn(x)[0].mean(1)),
            rnn=ntkflow.RNN(
                4, w, num_layers=2, bidirectional=True, sigma_w=1.0, dtype=torch.float64
            ),
            last=dense(2 * w, OUTPUTS),
        ),
        lambda: sequences(t=3),
    ),
    "convolution of states": (
        lambda w: Net(
            lambda m, x: m.last(
                torch.relu(
                    m.conv(torch.stack([torch.relu(m.embed(x[:, t])) for t in range(5)], -1))
                ).mean(-1)
            ),
            embed=dense(4, w),
            conv=conv(Conv1d, w, w, 3),
            last=dense(w, OUTPUTS),
        ),
        sequences,
    ),
    "one token": (seq(lambda m, x: m.last(torch.relu(m.embed(x))[:, 2])), sequences),
    "tokens of a table": (
        lambda w: Net(
            lambda m, x: m.last(torch.relu(m.a(m.table(x))).mean(1)),
            table=ntkflow.Embedding(7, w, sigma_w=1.2, padding_idx=0, dtype=torch.float64),
            a=dense(w, w),
            last=dense(w, OUTPUTS),
        ),
        tokens,
    ),
    "fixed code": (
        seq(
            lambda m, x: m.last(torch.relu(m.a(m.code(m.embed(x)))).mean(1)),
            extra=lambda w: dict(code=Code(5, w, False), a=dense(w, w)),
        ),
        sequences,
    ),
    "learnt code": (
        seq(
            lambda m, x: m.last(torch.relu(m.a(m.code(m.embed(x)))).mean(1)),
            extra=lambda w: dict(code=Code(5, w, True), a=dense(w, w)),
        ),
        sequences,
    ),
    "attention": (seq(attend, extra=lambda w: dict(attention=attention(w))), sequences),
    "causal attention": (seq(causal, extra=lambda w: dict(attention=attention(w))), sequences),
    "many heads": (
        lambda w: Net(
            lambda m, x: m.last(
                m.attention(*[m.embed(x)] * 3, is_causal=True, need_weights=False)[0].flatten(1)
            ),
            embed=dense(4, w),
            attention=attention(w, "many heads", "identity", 2 ** round(math.log2(w) / 2)),
            last=dense(5 * w, OUTPUTS),
        ),
        sequences,
    ),
}
