"""Largest eigenvalues of a block kernel that no memory holds, matrix-free.

784-128-10 ReLU network, 10 outputs, N = 1000, 3000, 10,000 inputs (a dense float32 kernel of the
last: 40 GB). The inputs are the first MNIST images where MNIST_DIR names a folder with the IDX
files, else seeded random images of the same shape. Prints CSV.

    python benchmarks/top_eigenpairs.py [--peak N]
"""

import argparse
import csv
import gzip
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
from side_by_side import peak_mb, print_peak

COUNTS = (1000, 3000, 10_000)


def images(count: int) -> np.ndarray:
    """Pixels in [0, 1], (N, 784): MNIST, or uniform random ones."""
    folder = os.environ.get("MNIST_DIR")
    if folder is None:
        return np.random.default_rng(0).random((count, 784), dtype=np.float32)
    packed = Path(folder, "train-images-idx3-ubyte.gz")
    plain = packed.with_suffix("")
    data = plain.read_bytes() if plain.exists() else gzip.decompress(packed.read_bytes())
    pixels = np.frombuffer(data, np.uint8, offset=16).reshape(-1, 784)
    return pixels[:count].astype(np.float32) / 255


def problem(count: int):
    """Call that finds the ten largest eigenvalues, their vectors and residual norms."""
    import torch

    from ntkflow import draw_parameters, mlp, ntk_operator, top_eigenpairs
    from ntkflow.networks import member

    network = mlp(784, [128], 10)
    parameters = member(draw_parameters(network, [0]), 0)
    x = torch.from_numpy(images(count))
    return lambda: top_eigenpairs(ntk_operator(network, x, parameters=parameters), 10)


def main() -> None:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--peak", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        print_peak(problem(*options.peak))
        return
    table = csv.writer(sys.stdout)
    table.writerow(["work", "ours_s", "peak_mb", "lambda_1", "residual / lambda_1"])
    for count in COUNTS:
        find = problem(count)
        start = time.perf_counter()
        found = find()
        taken = time.perf_counter() - start
        worst = float(max(found.residual_norms) / found.values[0])
        work = f"top 10 eigenpairs, 784-128-10, N = {count}"
        peak = f"{peak_mb(__file__, count):.0f}"
        table.writerow([work, f"{taken:.2f}", peak, f"{found.values[0]:.6g}", f"{worst:.1e}"])
        sys.stdout.flush()


if __name__ == "__main__":
    main()
