"""Kernel regression on MNIST from images to test accuracy: time per phase, residual, peak memory.

Limit kernel of a ReLU network with sigma_w^2 = 2, in float32, dense or with --convolutions of 3 x 3
pixels and a flat read-out; one-hot targets, centred; the ridge
is relative to the mean of the kernel's diagonal. MNIST_DIR names a folder with the four IDX files.
One kernel is held (14.4 GB at n = 60,000), or none with --anew. With --held-out the ridges are
compared on the last training images and the test images are not read. Prints JSON.

    MNIST_DIR=... python benchmarks/full_mnist.py 60000 --depth 3 --sigma-b 0.1 --ridge 1e-4
    MNIST_DIR=... python benchmarks/full_mnist.py 10000 --convolutions --side 14 --depth 2
    MNIST_DIR=... python benchmarks/full_mnist.py 20000 --held-out 5000 --ridge 1e-4 1e-3 1e-2
"""

import argparse
import gzip
import json
import os
import resource
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import side_by_side  # noqa: F401, threads that wait do not spin, and ntkflow is found
import torch

from ntkflow import cnn, kernel_ridge, limit_kernels, mlp
from ntkflow.linalg.conjugate_gradients import Progress

CLASSES, TEST_ROWS = 10, 500


class Clock:
    """Wall and processor seconds of phases."""

    def __init__(self):
        self.phases = {}

    @contextmanager
    def phase(self, name: str):
        """Measure what is done within."""
        start = time.perf_counter(), time.process_time()
        yield
        taken = time.perf_counter() - start[0], time.process_time() - start[1]
        self.phases[name] = {"wall_s": round(taken[0], 2), "processor_s": round(taken[1], 2)}
        print(f"{name}: {taken[0]:.1f} s", file=sys.stderr, flush=True)


def read(split: str, side: int, count: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels in [0, 1], (N, 1, side, side), means of squares if side < 28, and labels (N,)."""
    found = []
    for name, offset in (("images-idx3", 16), ("labels-idx1", 8)):
        packed = Path(os.environ["MNIST_DIR"], f"{split}-{name}-ubyte.gz")
        plain = packed.with_suffix("")
        data = plain.read_bytes() if plain.exists() else gzip.decompress(packed.read_bytes())
        found.append(np.frombuffer(data, np.uint8, offset=offset))
    images, labels = found[0].reshape(-1, 1, 28, 28)[:count], found[1][:count].astype(np.int64)
    x = torch.from_numpy(images / np.float32(255))
    return torch.nn.functional.avg_pool2d(x, 28 // side), torch.from_numpy(labels)


def tell(progress: Progress) -> None:
    """One line for ten steps."""
    if progress.steps % 10 == 0:
        print(
            f"  step {progress.steps}: residual {progress.residual:.1e}, "
            f"{progress.seconds_left:.0f} s left",
            file=sys.stderr,
            flush=True,
        )


def accuracy(outputs: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of the rows whose largest output is that of their label."""
    return (outputs.argmax(-1) == labels).double().mean(-1).tolist()


def main() -> None:
    """Read the command line, fit and print."""
    options = read_command_line()
    clock, result = Clock(), {"n": options.n, "threads": torch.get_num_threads()}
    side, layers = options.side, [1] * options.depth
    sigmas = dict(sigma_w=2**0.5, sigma_b=options.sigma_b)
    if options.convolutions:
        shape = dict(image_size=side, kernel_size=3, padding="same", head="flatten")
        network = cnn(1, layers, CLASSES, **shape, **sigmas)
    else:
        network = torch.nn.Sequential(torch.nn.Flatten(), mlp(side**2, layers, CLASSES, **sigmas))
    with clock.phase("images"):
        x, labels = read("train", side, options.n)
        y = torch.eye(CLASSES)[labels]
    if not options.anew:
        with clock.phase("memory"):  # which a virtual machine is given at its first use
            torch.empty(options.n, options.n).zero_()
    with clock.phase("kernel"):
        kernel = (network, x)
        some = limit_kernels(network, x[:256], only="ntk", dtype=torch.float32).ntk
        scale = some.diagonal().double().mean().item()
        if not options.anew:
            kernel = limit_kernels(network, x, only="ntk", dtype=torch.float32).ntk
            scale = kernel.diagonal().double().mean().item()
    ridges = [ridge * scale for ridge in options.ridge]
    solving = dict(method=options.method, tolerance=options.tolerance, rank=options.rank)
    if options.anew:
        solving |= dict(memory_budget=options.budget, restart=options.restart, method="iterative")
    with clock.phase("solution"):
        fit = kernel_ridge(
            kernel, y, min(ridges), centre=True, overwrite=True, progress=tell, **solving
        )
    result |= {"reason": fit.reason, "steps": fit.steps, "residual": fit.residual}
    if options.held_out:
        with clock.phase("held-out errors"):
            rows = torch.arange(options.n - options.held_out, options.n)
            errors = fit.held_out(ridges, rows, method="iterative")
        scores = accuracy(errors.predictions, labels[rows])
        result["held_out"] = dict(zip(map(str, options.ridge), scores, strict=True))
        result["held_out_residual"] = errors.residual
    else:
        with clock.phase("test predictions"):
            test, test_labels = read("t10k", side)
            parts = test.split(TEST_ROWS)
            cross = (limit_kernels(network, t, x, only="ntk", dtype=x.dtype).ntk for t in parts)
            outputs = fit.predict(test if options.anew else cross)
        result["test_accuracy"] = accuracy(outputs, test_labels)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(result | {"peak_gb": round(peak / 1e9, 2), "phases": clock.phases}, indent=1))


def read_command_line() -> argparse.Namespace:
    """Number of images and hyperparameters."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("n", type=int, help="training images, the first ones")
    parser.add_argument("--depth", type=int, default=3, help="hidden layers, or convolutions")
    parser.add_argument("--convolutions", action="store_true", help="layers of 3 x 3, not dense")
    parser.add_argument("--side", type=int, choices=(28, 14, 7), default=28, help="of the images")
    parser.add_argument("--sigma-b", type=float, default=0.1)
    parser.add_argument("--ridge", type=float, nargs="+", default=[1e-4])
    parser.add_argument("--held-out", type=int, default=0, help="training images that judge")
    parser.add_argument("--method", choices=("direct", "iterative"))
    parser.add_argument("--tolerance", type=float, default=1e-6)
    parser.add_argument("--rank", type=int)
    parser.add_argument("--anew", action="store_true", help="keep no kernel")
    parser.add_argument("--budget", type=float, default=3e9, help="bytes, with --anew")
    parser.add_argument("--restart", help="file to go on from, with --anew")
    return parser.parse_args()


if __name__ == "__main__":
    main()
