"""How much kernels of untrained networks differ from each other."""

from ..registry import measurement
from .blocks import ImageOptions
from .common import labelled


@measurement("kernel_spread", when="initialization", options=ImageOptions, kernel="mean", kept=True)
def kernel_spread(options, networks, data):
    """Relative standard deviation of entries of the kernel (mean over outputs), and their size.

    `spread`: jackknife values of sqrt(mean ||K - K'||^2 / (2 mean <K, K'>)) over all pairs of
    networks that a job holds at once; the means have twice the summed variances of all entries and
    the squared norm of the mean kernel as expectations. `size`: mean of K's diagonal.
    """
    from ntkflow.linalg.distances import pairwise_spread

    kernels = initial_kernels(networks, data, options.images)
    return labelled(
        ("seed",),
        spread=(pairwise_spread(kernels), "relative to the mean kernel"),
        size=(kernels.diagonal(dim1=1, dim2=2).mean(1), "of the kernel"),
    )


def initial_kernels(networks, data, images: int):
    """Kernels (S, n, n), mean over outputs, of the first images, made once; sums are in float64."""
    import torch

    from ntkflow.empirical import empirical_ntk

    x = data.training_set(**networks.where)[0][:images]

    def make() -> torch.Tensor:
        kernels = [
            empirical_ntk(networks.network, x, parameters=one.weights, outputs="mean").values
            for one in networks
        ]
        return torch.stack(kernels).double()

    return networks.once(f"initial kernels of {len(x)} images", make)
