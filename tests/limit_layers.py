"""Networks of the reference kernels tests/data/oracle/layers_*.npz, from their specifications."""

import torch
from torch import nn

import ntkflow


class Channels(nn.Module):
    """A layer for (N, C, *places) on values (N, *places, C)."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x.movedim(-1, 1)).movedim(1, -1)


class Branches(nn.Module):
    """Two branches of one value, joined."""

    def __init__(self, left, right, join):
        super().__init__()
        self.left, self.right, self.join = left, right, join

    def forward(self, x):
        return self.join(self.left(x), self.right(x))


class Places(nn.Module):
    """Mean over all places."""

    def forward(self, x):
        return x.mean(tuple(range(1, x.ndim - 1)))


class SelfAttention(nn.Module):
    def __init__(self, attention):
        super().__init__()
        self.attention = attention

    def forward(self, x):
        return self.attention(x, x, x, need_weights=False)[0]


class Normalized(nn.Module):
    """nn.LayerNorm without gain over all axes of a row, or the last."""

    def __init__(self, axes):
        super().__init__()
        self.axes = axes

    def forward(self, x):
        axes = self.axes if self.axes != [-1] else [x.ndim - 1]
        return nn.functional.layer_norm(x, [x.shape[axis] for axis in axes], eps=1e-12)


ACTIVATIONS = {"relu": nn.ReLU, "erf": ntkflow.Erf, "sin": ntkflow.Sin, "abs": ntkflow.Abs}


class Builder:
    """Layers one after the other, all of one width but the inputs' and the output's."""

    def __init__(self, places, channels, width):
        self.places, self.channels, self.width = len(places), channels, width
        self.flat = 1
        self.grid = list(places)

    def sequence(self, layers):
        return nn.Sequential(*(self.layer(kind, *options) for kind, *options in layers))

    def layer(self, kind, options=None):
        options = options or {}
        if kind in ACTIVATIONS:
            return ACTIVATIONS[kind]()
        return getattr(self, kind)(**options)

    def scales(self, sigma_w=2**0.5, sigma_b=0.1):
        return dict(sigma_w=sigma_w, sigma_b=sigma_b, dtype=torch.float64)

    def dense(self):
        layer = ntkflow.Dense(self.channels * self.flat, self.width, **self.scales())
        self.channels, self.flat = self.width, 1
        return layer

    def conv(self, filter, strides=None, padding="SAME"):
        axes = len(filter)
        kind = (ntkflow.Conv1d, ntkflow.Conv2d)[axes - 1]
        modes = dict(padding_mode="circular") if padding == "CIRCULAR" else {}
        pads = "valid" if padding == "VALID" else "same"
        options = dict(stride=tuple(strides or [1] * axes), padding=pads, **modes)
        layer = kind(self.channels, self.width, tuple(filter), **options, **self.scales())
        self.channels = self.width
        if pads == "valid":
            sizes = zip(self.grid, filter, options["stride"], strict=True)
            self.grid = [(length - k) // s + 1 for length, k, s in sizes]
        return Channels(layer)

    def flatten(self):
        for length in self.grid:
            self.flat *= length
        return nn.Flatten()

    def gap(self):
        return Places()

    def avgpool(self, window):
        self.grid = [length // w for length, w in zip(self.grid, window, strict=True)]
        return Channels((nn.AvgPool1d, nn.AvgPool2d)[len(window) - 1](tuple(window)))

    def leaky(self, alpha):
        return nn.LeakyReLU(alpha)

    def dropout(self, keep):
        return nn.Dropout(1 - keep)

    def residual(self, branch):
        return ntkflow.Residual(self.sequence(branch))

    def concat(self, left, right):
        branches = self.both(left, right)
        self.channels *= 2
        return Branches(*branches, lambda a, b: torch.cat([a, b], -1))

    def product(self, left, right):
        return Branches(*self.both(left, right), lambda a, b: a * b)

    def both(self, left, right):
        before = self.channels
        first = self.sequence(left)
        self.channels = before
        return first, self.sequence(right)

    def layernorm(self, axis=(-1,)):
        return Normalized(list(axis))

    def attention(
        self, linear_scaling, mechanism, W_key_std, W_value_std, W_query_std, W_out_std, b_std
    ):
        scaling = "tied 1/d" if linear_scaling else "many heads"
        return SelfAttention(
            ntkflow.MultiheadAttention(
                self.channels,
                1 if linear_scaling else max(1, self.channels // 4),
                scaling=scaling,
                score=mechanism.lower(),
                sigma_qk=W_key_std,
                sigma_v=W_value_std,
                sigma_o=W_out_std,
                sigma_b=b_std,
                dtype=torch.float64,
            )
        )


def network_of(spec, width=4):
    """The network of a specification, of one width."""
    *places, channels = spec["input"]
    return Builder(places, channels, width).sequence(spec["layers"])


class Recurrent(nn.Module):
    """h_t = W phi(h) + U x_t + b at every step, read at the last step or as a mean."""

    def __init__(self, spec, channels, width=4):
        super().__init__()
        self.phi, self.head = ACTIVATIONS[spec["activation"]](), spec["head"]
        options = dict(dtype=torch.float64)
        self.hidden = ntkflow.Dense(width, width, sigma_w=spec["sigma_w"], **options)
        self.input = ntkflow.Dense(
            channels, width, sigma_w=spec["sigma_u"], sigma_b=spec["sigma_b"], **options
        )
        self.read = ntkflow.Dense(
            width, 1, sigma_w=spec["sigma_v"], sigma_b=spec["sigma_c"], **options
        )

    def forward(self, x):
        state, states = None, []
        for t in range(x.shape[1]):
            h = self.input(x[:, t])
            state = self.phi(h if state is None else h + self.hidden(state))
            states.append(state)
        kept = state if self.head == "last" else torch.stack(states, 1).mean(1)
        return self.read(kept)
