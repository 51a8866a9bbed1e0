"""Kernels of infinitely wide networks against neural-tangents, jitted and warm.

Each pair runs in one process, interleaved; seconds are medians, peaks are what a process of its own
needs beyond the inputs. Prints CSV.

    python benchmarks/limit_kernels.py [--repeats 7] [WORK ...]
"""

import csv
import sys
from collections.abc import Callable

import numpy as np
from side_by_side import peak_mb, print_peak, read_options, seconds

SCALES = dict(sigma_w=2**0.5, sigma_b=0.1)
# Kind, type, and shape of the inputs (channels last).
WORKS = {
    "3 hidden ReLU layers, N = 4000, d = 784, float32": ("dense", "float32", (4000, 784)),
    "3 hidden ReLU layers, N = 4000, d = 784, float64": ("dense", "float64", (4000, 784)),
    "3 convolutions, 14x14, N = 100, flatten head": ("flatten", "float32", (100, 14, 14, 1)),
    "3 convolutions, 14x14, N = 40, pooling head": ("gap", "float32", (40, 14, 14, 1)),
    "strided CNN, 28x28, N = 500, flatten head": ("strided", "float32", (500, 28, 28, 1)),
    "ResNet, 3 blocks, 14x14, N = 50, pooling head": ("resnet", "float32", (50, 14, 14, 1)),
    "transformer block, 16 tokens, N = 200": ("transformer", "float32", (200, 16, 8)),
    "recurrent net, 28 steps, N = 500, read at the last": ("recurrent", "float32", (500, 28, 28)),
    "recurrent net, 28 steps, N = 500, mean over steps": ("mean", "float32", (500, 28, 28)),
}
SLOW = ("gap", "resnet")  # all pixel pairs of all image pairs take the peer minutes: one call
ALONE = ("recurrent", "mean")  # the peer has no recurrence


def inputs(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Normal inputs."""
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def ours(kind: str, dtype: str, shape: tuple[int, ...]) -> Callable:
    """The NTK by `limit_kernels`."""
    import torch

    from ntkflow import limit_kernels

    x, network = torch.from_numpy(inputs(dtype, shape)), NETWORKS[kind](shape[-1])
    x = x.permute(0, 3, 1, 2) if x.ndim == 4 else x
    return lambda: limit_kernels(network, x, only="ntk", dtype=x.dtype).ntk


def dense(channels: int):
    """Three hidden layers."""
    from ntkflow import mlp

    return mlp(channels, [1] * 3, device="meta", **SCALES)


def convolutional(head: str) -> Callable:
    """Three convolutions and a head."""
    from ntkflow import cnn

    return lambda channels: cnn(
        channels, [1] * 3, image_size=14, head=head, device="meta", **SCALES
    )


def strided(channels: int):
    """Two convolutions of stride 2 between two of stride 1, as `peer_strided`."""
    from torch import nn

    from ntkflow import Conv2d, Dense

    def conv(inside: int, stride: int):
        return [Conv2d(inside, 1, 3, stride=stride, padding=1, **SCALES), nn.ReLU()]

    layers = [*conv(channels, 1), *conv(1, 2), *conv(1, 1), *conv(1, 2)]
    return nn.Sequential(*layers, nn.Flatten(), Dense(49, 1, **SCALES))


def resnet(channels: int):
    """A convolution, three blocks x + conv(relu(conv(relu(x)))), ReLU, mean over pixels."""
    from torch import nn

    from ntkflow import Conv2d, Dense, GlobalAveragePool, Residual

    def conv(inside: int = 1):
        return Conv2d(inside, 1, 3, **SCALES)

    def block():
        return Residual(nn.Sequential(nn.ReLU(), conv(), nn.ReLU(), conv()))

    blocks = [block() for _ in range(3)]
    return nn.Sequential(
        conv(channels), *blocks, nn.ReLU(), GlobalAveragePool(), Dense(1, 1, **SCALES)
    )


def transformer(channels: int):
    """Embedding, x + attention(norm x), x + dense(relu(dense(norm x))), mean over tokens."""
    from torch import nn

    from ntkflow import Dense, MultiheadAttention, Residual

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.LayerNorm(1, elementwise_affine=False)
            self.attention = MultiheadAttention(1, sigma_b=0.1)

        def forward(self, x):
            x = self.norm(x)
            return self.attention(x, x, x, need_weights=False)[0]

    class Tokens(nn.Module):
        def forward(self, x):
            return x.mean(1)

    norm = nn.LayerNorm(1, elementwise_affine=False)
    hidden = [Dense(1, 1, **SCALES), nn.ReLU(), Dense(1, 1, **SCALES)]
    blocks = [Residual(Attention()), Residual(nn.Sequential(norm, *hidden))]
    return nn.Sequential(Dense(channels, 1, **SCALES), *blocks, Tokens(), Dense(1, 1, **SCALES))


def recurrent(mean: bool) -> Callable:
    """h_t = W relu(h_{t-1}) + U x_t + b, read at the last step or as a mean over steps."""

    def build(channels: int):
        from torch import nn

        from ntkflow import RNN, Dense

        class Read(nn.Module):
            def __init__(self):
                super().__init__()
                self.rnn = RNN(channels, 1, activation="relu", sigma_w=1.0, sigma_b=0.1)
                self.read = Dense(1, 1, **SCALES)

            def forward(self, x):
                states, _ = self.rnn(x)
                return self.read(states.mean(1) if mean else states[:, -1])

        return Read()

    return build


NETWORKS: dict[str, Callable] = {
    "dense": dense,
    "flatten": convolutional("flatten"),
    "gap": convolutional("gap"),
    "strided": strided,
    "resnet": resnet,
    "transformer": transformer,
    "recurrent": recurrent(False),
    "mean": recurrent(True),
}


def neural_tangents(kind: str, dtype: str, shape: tuple[int, ...]) -> Callable:
    """The same by its jitted kernel function."""
    import jax

    jax.config.update("jax_enable_x64", dtype == "float64")
    _, _, kernel_fn = peer(kind)
    kernel = jax.jit(kernel_fn, static_argnames="get")
    x = inputs(dtype, shape)
    return lambda: kernel(x, None, get="ntk").block_until_ready()


def peer(kind: str):
    """Layers of neural-tangents."""
    from neural_tangents import stax

    scales = dict(W_std=2**0.5, b_std=0.1)
    dense, relu = stax.Dense(1, **scales), stax.Relu()

    def conv(stride: int = 1):
        return stax.Conv(1, (3, 3), strides=(stride, stride), padding="SAME", **scales)

    if kind == "dense":
        return stax.serial(*[dense, relu] * 3, dense)
    if kind in ("flatten", "gap"):
        head = stax.Flatten() if kind == "flatten" else stax.GlobalAvgPool()
        return stax.serial(*[conv(), relu] * 3, head, dense)
    if kind == "strided":
        layers = [layer for stride in (1, 2, 1, 2) for layer in (conv(stride), relu)]
        return stax.serial(*layers, stax.Flatten(), dense)
    if kind == "resnet":
        branch = stax.serial(relu, conv(), relu, conv())
        block = stax.serial(stax.FanOut(2), stax.parallel(stax.Identity(), branch), stax.FanInSum())
        return stax.serial(conv(), *[block] * 3, relu, stax.GlobalAvgPool(), dense)
    attention = stax.GlobalSelfAttention(
        1, 1, 1, 1, linear_scaling=True, W_key_std=1.0, W_query_std=1.0, W_value_std=1.0,
        W_out_std=1.0, b_std=0.1,
    )  # fmt: skip
    norm = stax.LayerNorm(eps=1e-5)

    def residual(*branch):
        parts = stax.parallel(stax.Identity(), stax.serial(norm, *branch))
        return stax.serial(stax.FanOut(2), parts, stax.FanInSum())

    blocks = residual(attention), residual(dense, relu, dense)
    return stax.serial(dense, *blocks, stax.GlobalAvgPool(), dense)


def main() -> None:
    """Read the command line and print the table."""
    options = read_options(__doc__)
    if options.peak:
        work, name = options.peak
        call = (ours if name == "ours" else neural_tangents)(*WORKS[work])
        if WORKS[work][0] not in SLOW:
            call()
        print_peak(call)
        return
    table = csv.writer(sys.stdout)
    table.writerow(["work", "ours_s", "theirs_s", "ratio", "ours_mb", "theirs_mb"])
    for work in options.works or WORKS:
        kind, *_ = WORKS[work]
        makers = [ours] if kind in ALONE else [ours, neural_tangents]
        calls = [make(*WORKS[work]) for make in makers]
        repeats = 1 if kind in SLOW else options.repeats
        times = seconds(calls, repeats)
        peaks = [peak_mb(__file__, work, make.__name__) for make in makers]
        table.writerow([work, *_cells(times), *(f"{peak:.0f}" for peak in peaks)])
        sys.stdout.flush()


def _cells(times: list[float]) -> list[str]:
    if len(times) == 1:
        return [f"{times[0]:.4f}", "none", ""]
    return [*(f"{time:.4f}" for time in times), f"{times[1] / times[0]:.2f}"]


if __name__ == "__main__":
    main()
