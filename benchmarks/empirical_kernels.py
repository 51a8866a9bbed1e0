"""Block kernels against neural-tangents, and against a Jacobian contraction with torch.func.

Each pair runs in one process, interleaved, after a warm-up: seconds are medians, and peaks are
what a process of its own needs for one kernel beyond its imports. Prints CSV.

    python benchmarks/empirical_kernels.py [--repeats 7] [WORK ...]
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

# Two thread pools share the cores: a thread of one that spins would keep the other waiting.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

WORKS = {
    "mlp block kernel, N = 1000": ("mlp", 1000),
    "mlp block kernel, N = 200": ("mlp", 200),
    "cnn block kernel, N = 200": ("cnn", 200),
}
CONTRACTION = "mlp block kernel, N = 1000, against torch.func"


def inputs(kind: str, count: int) -> np.ndarray:
    """Normal images, (N, 784) or (N, 28, 28, 1), the same for everyone."""
    shape = (count, 784) if kind == "mlp" else (count, 28, 28, 1)
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def ours(kind: str, count: int):
    """784-100-100-100-10 with biases, or two 3x3 convolutions of 20 channels and a dense head."""
    import torch

    from ntkflow import cnn, empirical_ntk, mlp

    x, scales = torch.from_numpy(inputs(kind, count)), dict(sigma_w=2**0.5, sigma_b=0.1)
    if kind == "mlp":
        network = mlp(784, [100] * 3, 10, **scales)
    else:
        x, network = x.permute(0, 3, 1, 2), cnn(1, [20, 20], 10, image_size=28, **scales)
    return lambda: empirical_ntk(network, x).values


def neural_tangents(kind: str, count: int):
    """The same nets by structured derivatives, jitted, no axis traced out."""
    import jax
    import neural_tangents as nt
    from neural_tangents import stax

    def dense(width):
        return stax.Dense(width, 2**0.5, 0.1)

    convolution = stax.Conv(20, (3, 3), padding="SAME", W_std=2**0.5, b_std=0.1)
    hidden = [dense(100)] * 3 if kind == "mlp" else [convolution] * 2
    layers = [layer for each in hidden for layer in (each, stax.Relu())]
    head = [dense(10)] if kind == "mlp" else [stax.Flatten(), dense(10)]
    initialise, apply, _ = stax.serial(*layers, *head)
    x = inputs(kind, count)
    _, parameters = initialise(jax.random.PRNGKey(0), x.shape)
    structured = nt.NtkImplementation.STRUCTURED_DERIVATIVES
    options = dict(trace_axes=(), vmap_axes=0, implementation=structured)
    kernel = jax.jit(nt.empirical_ntk_fn(apply, **options))
    return lambda: kernel(x, None, parameters).block_until_ready()


def contraction(kind: str, count: int):
    """Jacobian contraction as the tutorial of torch.func does it."""
    import torch

    from ntkflow import mlp

    x, network = torch.from_numpy(inputs(kind, count)), mlp(784, [100] * 3, 10, sigma_b=0.1)
    parameters = {name: p.detach() for name, p in network.named_parameters()}

    def single(parameters, row):
        return torch.func.functional_call(network, parameters, (row[None],))[0]

    def kernel():
        rows = torch.func.vmap(torch.func.jacrev(single), (None, 0))(parameters, x)
        flat = [each.flatten(2) for each in rows.values()]
        return sum(torch.einsum("Naf,Mbf->NMab", each, each) for each in flat)

    return kernel


def seconds(calls: list, repeats: int) -> list[float]:
    """Medians of interleaved runs, after one to warm up."""
    taken = [[] for _ in calls]
    for _ in range(repeats + 1):
        for call, times in zip(calls, taken, strict=True):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
    return [statistics.median(times[1:]) for times in taken]


def resident_mb() -> float:
    """Memory that the process holds now, in MB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def peak_mb(name: str, kind: str, count: int) -> float:
    """Most memory that one kernel needs beyond what was held before, in a fresh process."""
    command = [sys.executable, __file__, "--peak", json.dumps([name, kind, count])]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(printed.split()[-1])


def print_peak(name: str, kind: str, count: int) -> None:
    """Measure in this process, every few milliseconds, and print."""
    globals()[name](kind, 2)()
    call, before, stop, seen = globals()[name](kind, count), resident_mb(), threading.Event(), []

    def watch():
        while not stop.wait(0.003):
            seen.append(resident_mb())

    thread = threading.Thread(target=watch)
    thread.start()
    call()
    stop.set()
    thread.join()
    print(max(seen, default=before) - before)


def compare(work: str, repeats: int) -> list:
    """One row of the table."""
    kind, count = WORKS.get(work, ("mlp", 1000))
    if work == CONTRACTION:
        # The contraction's work grows with N^2, so that N = 200 stands for N = 1000.
        mine, theirs = seconds([ours(kind, 1000), contraction(kind, 200)], repeats)
        theirs *= (1000 / 200) ** 2
        peaks = ["", ""]
    else:
        mine, theirs = seconds([ours(kind, count), neural_tangents(kind, count)], repeats)
        peaks = [f"{peak_mb(name, kind, count):.0f}" for name in ("ours", "neural_tangents")]
    return [work, f"{mine:.4f}", f"{theirs:.4f}", f"{theirs / mine:.2f}", *peaks]


def main() -> None:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("works", nargs="*", help="default: all", metavar="WORK")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--peak", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        print_peak(*options.peak)
        return
    table = csv.writer(sys.stdout)
    table.writerow(["work", "ours_s", "theirs_s", "ratio", "ours_peak_mb", "theirs_peak_mb"])
    for work in options.works or [*WORKS, CONTRACTION]:
        table.writerow(compare(work, options.repeats))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
