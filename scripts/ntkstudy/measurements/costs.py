"""Time and memory of kernels and of their spectra, each way beside the others."""

from functools import partial

from ..needs import ONE_HIDDEN_LAYER, TWO_POINTS
from ..registry import measurement
from .common import labelled
from .gram import TopOptions


@measurement("kernel_cost", when="initialization", each=True, kernel="block")
def kernel_cost(options, network, data):
    """Seconds and bytes of three ways to a block kernel: a loop, torch.func, and layer by layer.

    Bytes are those that the process holds at most, beyond what it held before, in a second call.
    """
    import numpy as np

    from ..theory import costs

    ways = {
        "loop": costs.loop_kernel,
        "vmap": costs.vmap_kernel,
        "layerwise": costs.layerwise_kernel,
    }
    x, found = data.training_set(**network.where)[0], {}
    for name, way in ways.items():
        # A first call loads code, and that layer by layer is compared with plain autograd.
        way(network.network, network.weights, x)
        call = partial(way, network.network, network.weights, x)
        found[f"{name}_seconds"], found[f"{name}_bytes"] = costs.measure_cost(call)[1:]
    seconds, size = found["loop_seconds"], found["vmap_bytes"]
    layerwise = found["layerwise_bytes"]
    columns = {name: (value, name.split("_")[1]) for name, value in found.items()}
    return labelled(
        **columns,
        vmap_speedup=(seconds / found["vmap_seconds"], "loop_seconds / vmap_seconds"),
        layerwise_speedup=(seconds / found["layerwise_seconds"], "loop_ / layerwise_seconds"),
        vmap_bytes_per_image=(size / len(x), "vmap_bytes over the number of images"),
        # Where it is too small to be seen, there is no share of it.
        layerwise_share=(layerwise / size if size else np.nan, "layerwise_bytes / vmap_bytes"),
    )


@measurement(
    "spectrum_cost",
    when="initialization",
    options=TopOptions,
    needs=(ONE_HIDDEN_LAYER, TWO_POINTS),
    each=True,
    kernel="mean",
)
def spectrum_cost(options, network, data):
    """Seconds and bytes for all eigenvalues of K, and for the first few without forming K.

    Bytes are those that the process holds at most, beyond what it held before.
    """
    import numpy as np

    from ..theory.costs import all_eigenvalues, few_eigenvalues, measure_cost

    double = network.in_double
    x, _ = data.training_set(**network.where_double)
    count = min(options.eigenvalues, len(x) - 1)  # a Krylov space finds no more
    few = partial(few_eigenvalues, network.network, double.weights, count=count)
    every = partial(all_eigenvalues, network.network, double.weights)
    _ = every(x[: 4 * count]), few(x[: 4 * count])  # first calls load code
    first, free_seconds, free_bytes = measure_cost(partial(few, x))
    values, seconds, size = measure_cost(partial(every, x))
    return labelled(
        seconds=(seconds, "all eigenvalues of K"),
        free_seconds=(free_seconds, "the first few, without K"),
        bytes=(size, "all eigenvalues of K"),
        free_bytes=(free_bytes, "the first few, without K"),
        speedup=(seconds / free_seconds, "seconds / free_seconds"),
        memory_ratio=(free_bytes / size if size else np.nan, "free_bytes / bytes"),
        error=(
            float((first / values[:count] - 1).abs().max()),
            "largest relative difference of the first few",
        ),
    )
