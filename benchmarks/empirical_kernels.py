"""Block kernels against neural-tangents, and against a Jacobian contraction with torch.func.

Each pair runs in one process, interleaved, after a warm-up: seconds are medians, and peaks are
what a process of its own needs for one kernel beyond its imports. Prints CSV.

    python benchmarks/empirical_kernels.py [--repeats 7] [WORK ...]
"""

import csv
import sys

import numpy as np
from side_by_side import peak_mb, print_peak, read_options, seconds

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
        peaks = [
            f"{peak_mb(__file__, name, kind, count):.0f}" for name in ("ours", "neural_tangents")
        ]
    return [work, f"{mine:.4f}", f"{theirs:.4f}", f"{theirs / mine:.2f}", *peaks]


def main() -> None:
    """Read the command line and print the table."""
    options = read_options(__doc__)
    if options.peak:
        name, kind, count = options.peak
        globals()[name](kind, 2)()  # imports and compiles, which is not counted
        print_peak(globals()[name](kind, count))
        return
    table = csv.writer(sys.stdout)
    table.writerow(["work", "ours_s", "theirs_s", "ratio", "ours_peak_mb", "theirs_peak_mb"])
    for work in options.works or [*WORKS, CONTRACTION]:
        table.writerow(compare(work, options.repeats))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
