"""Time and memory of kernels and of their spectra, each way beside the others."""

from functools import partial

from ..needs import ONE_HIDDEN_LAYER
from ..registry import measurement
from .common import labelled
from .gram import TopOptions


@measurement("kernel_cost", when="initialization", kernel="block")
def kernel_cost(options, networks, data):
    """Seconds and bytes of three ways to a block kernel: a loop, torch.func, and layer by layer.

    Bytes are those that the process holds at most, beyond what it held before.
    """
    import numpy as np

    from ..theory import costs

    ways = [costs.loop_kernel, costs.vmap_kernel, costs.layerwise_kernel]
    x, rows = data.training_set(**networks.where)[0], []
    for one in networks:
        row = []
        for way in ways:
            way(networks.network, one.weights, x[:1])  # first calls load code
            call = partial(way, networks.network, one.weights, x)
            row += costs.measure_cost(call)[1:]
        share = row[5] / row[3] if row[3] else np.nan  # too small to be seen
        rows.append([*row, row[0] / row[2], row[0] / row[4], row[3] / len(x), share])
    names = ["loop", "vmap", "layerwise"]
    columns = [(f"{way}_{what}", what) for way in names for what in ("seconds", "bytes")]
    columns += [
        ("vmap_speedup", "loop_seconds / vmap_seconds"),
        ("layerwise_speedup", "loop_seconds / layerwise_seconds"),
        ("vmap_bytes_per_image", "vmap_bytes over the number of images"),
        ("layerwise_share", "layerwise_bytes / vmap_bytes"),
    ]
    return _columns(columns, np.array(rows))


@measurement(
    "spectrum_cost",
    when="initialization",
    options=TopOptions,
    needs=(ONE_HIDDEN_LAYER,),
    kernel="mean",
)
def spectrum_cost(options, networks, data):
    """Seconds and bytes for all eigenvalues of K, and for the first few without forming K.

    Bytes are those that the process holds at most, beyond what it held before.
    """
    import numpy as np
    import torch

    from ..theory.costs import all_eigenvalues, few_eigenvalues, measure_cost

    x, _ = data.training_set(**{**networks.where, "dtype": torch.float64})
    count, network, rows = options.eigenvalues, networks.network, []
    few, every = partial(few_eigenvalues, count=count), all_eigenvalues
    for index, one in enumerate(networks):
        weights = {name: p.double() for name, p in one.weights.items()}
        if not index:  # first calls load code
            _ = every(network, weights, x[: 4 * count]), few(network, weights, x[: 4 * count])
        first, free_seconds, free_bytes = measure_cost(partial(few, network, weights, x))
        values, seconds, size = measure_cost(partial(every, network, weights, x))
        error = float((first / values[:count] - 1).abs().max())
        ratios = [seconds / free_seconds, free_bytes / size if size else np.nan]
        rows.append([seconds, free_seconds, size, free_bytes, *ratios, error])
    columns = [
        ("seconds", "all eigenvalues of K"),
        ("free_seconds", "the first few, without K"),
        ("bytes", "all eigenvalues of K"),
        ("free_bytes", "the first few, without K"),
        ("speedup", "seconds / free_seconds"),
        ("memory_ratio", "free_bytes / bytes"),
        ("error", "largest relative difference of the first few"),
    ]
    return _columns(columns, np.array(rows))


def _columns(columns, rows):
    named = {name: (values, unit) for (name, unit), values in zip(columns, rows.T, strict=True)}
    return labelled(("seed",), **named)
