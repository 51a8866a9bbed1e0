"""Kernels of infinitely wide networks against neural-tangents, jitted and warm.

Each pair runs in one process, interleaved; seconds are medians. Prints CSV.

    python benchmarks/limit_kernels.py [--repeats 7] [WORK ...]
"""

import argparse
import csv
import sys

import numpy as np
from side_by_side import seconds

WORKS = {
    "limit NTK, 3 hidden ReLU layers, N = 4000, d = 784, float32": ("dense", "float32"),
    "limit NTK, 3 hidden ReLU layers, N = 4000, d = 784, float64": ("dense", "float64"),
    "convolutional limit NTK, 3 layers, 14x14, N = 100, flatten head": ("flatten", "float32"),
    "convolutional limit NTK, 3 layers, 14x14, N = 100, pooling head": ("gap", "float32"),
}


def inputs(kind: str, dtype: str) -> np.ndarray:
    """Normal inputs, (4000, 784) or images (100, 14, 14, 1)."""
    shape = (4000, 784) if kind == "dense" else (100, 14, 14, 1)
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def ours(kind: str, dtype: str):
    """The NTK by `limit_kernels`."""
    import torch

    from ntkflow import cnn, limit_kernels, mlp

    x, scales = torch.from_numpy(inputs(kind, dtype)), dict(sigma_w=2**0.5, sigma_b=0.1)
    if kind == "dense":
        network = mlp(784, [1] * 3, device="meta", **scales)
    else:
        x = x.permute(0, 3, 1, 2)
        network = cnn(1, [1] * 3, image_size=14, head=kind, device="meta", **scales)
    return lambda: limit_kernels(network, x, only="ntk", dtype=x.dtype).ntk


def neural_tangents(kind: str, dtype: str):
    """The same by its jitted kernel function."""
    import jax

    jax.config.update("jax_enable_x64", dtype == "float64")
    from neural_tangents import stax

    if kind == "dense":
        layer, head = stax.Dense(1, 2**0.5, 0.1), []
    else:
        layer = stax.Conv(1, (3, 3), padding="SAME", W_std=2**0.5, b_std=0.1)
        head = [stax.Flatten() if kind == "flatten" else stax.GlobalAvgPool()]
    hidden = [part for _ in range(3) for part in (layer, stax.Relu())]
    _, _, kernel_fn = stax.serial(*hidden, *head, stax.Dense(1, 2**0.5, 0.1))
    kernel = jax.jit(kernel_fn, static_argnames="get")
    x = inputs(kind, dtype)
    return lambda: kernel(x, None, get="ntk").block_until_ready()


def main() -> None:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("works", nargs="*", help="default: all", metavar="WORK")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    table = csv.writer(sys.stdout)
    table.writerow(["work", "ours_s", "theirs_s", "ratio"])
    for work in options.works or WORKS:
        calls = [ours(*WORKS[work]), neural_tangents(*WORKS[work])]
        # All pixel pairs of all image pairs take the peer minutes a call.
        mine, theirs = seconds(calls, 1 if "pooling" in work else options.repeats)
        table.writerow([work, f"{mine:.4f}", f"{theirs:.4f}", f"{theirs / mine:.2f}"])
        sys.stdout.flush()


if __name__ == "__main__":
    main()
