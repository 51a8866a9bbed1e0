"""Predictions with kernels of narrow networks, extrapolated to infinite width."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ntkflow.arrays import to_numpy
from ntkflow.empirical import empirical_ntk
from ntkflow.limits import limit_kernels
from ntkflow.linalg.distances import relative_distances
from ntkflow.linalg.extrapolation import extrapolate_width
from ntkflow.networks import draw_parameters, member

from ..data.dataset import DataSet
from ..data.storage import Array
from .members import Members
from .networks import build_network

UNITS = {
    "gap": "relative to infinite width",
    "widest": "relative to infinite width",
    "single": "relative to infinite width",
    "mean_square": "squared, relative to infinite width",
    "widest_square": "squared, relative to infinite width",
    "linear_square": "squared, relative to infinite width",
}


def estimate_wide(options: Any, networks: Members, data: DataSet) -> dict[str, Array]:
    """Distances from the prediction with the limit kernel, by seed, each an estimate of its own.

    Args:
        options: of the measurement `estimate_wide`.
        networks: tell the architecture, its width and the seeds; their weights are not used.
        data: the data set.
    """
    (x, y), test = data.training_set(**networks.where_double), data.probe(**networks.where_double)
    inputs, module = torch.cat([x, test]), networks.network
    f_inf = networks.once(
        "prediction with the limit",
        lambda: _predict(options, limit_kernels(module, inputs, x).ntk, y),
    )
    widths = options.widths(networks.described["width"])
    estimates, widest, single = [], [], []
    for seed in networks.seeds:
        kernels = [
            _kernels(networks, width, inputs, len(x), _seeds(options, seed, place))
            for place, width in enumerate(widths)
        ]
        means = torch.stack([each.mean(0) for each in kernels])
        for found, kernel in (
            (estimates, extrapolate_width(means, widths)),
            (widest, means[0]),
            (single, kernels[0][0]),
        ):
            found.append(_predict(options, kernel, y))
    extrapolated, wide, one = (
        relative_distances(torch.stack(each), f_inf) for each in (estimates, widest, single)
    )
    linear = _predict(options, inputs @ x.T, y) - f_inf
    columns = [each.sample for each in (extrapolated, wide, one)]
    columns += [extrapolated.mean_square, wide.mean_square]
    columns.append((linear.norm() / f_inf.norm()).square().expand(len(estimates)))
    return {
        name: Array(to_numpy(values), ["seed"], unit)
        for (name, unit), values in zip(UNITS.items(), columns, strict=True)
    }


def _seeds(options: Any, seed: int, place: int) -> range:
    """Those of the networks of one width: no two estimates and no two widths share any."""
    first = (seed * (options.halvings + 1) + place) * options.networks
    return range(first, first + options.networks)


def _kernels(
    networks: Members, width: int, inputs: Tensor, rows: int, seeds: range
) -> Float[Tensor, "s n m"]:
    """Kernels between all inputs and the first rows, the training inputs, of random networks."""
    block = {**networks.described, "width": width}
    network = build_network(block, inputs.shape[1], 1)
    x = inputs.to(**networks.where)
    drawn = draw_parameters(network, seeds, **networks.where)
    kernels = [
        empirical_ntk(network, x, x[:rows], parameters=member(drawn, index), outputs="mean").values
        for index in range(len(seeds))
    ]
    return torch.stack(kernels).double()


def _predict(
    options: Any, kernel: Float[Tensor, "n m"], y: Float[Tensor, "m o"]
) -> Float[Tensor, "k o"]:
    """Kernel ridge regression on the inputs behind the first rows, which are the training set.

    An extrapolated Gram matrix may be indefinite; negative eigenvalues count as zero.
    """
    gram, cross = kernel[: len(y)], kernel[len(y) :]
    values, vectors = torch.linalg.eigh((gram + gram.T) / 2)
    ridged = values.clamp(min=0) + options.ridge * gram.diagonal().mean()
    return cross @ (vectors @ ((vectors.T @ y) / ridged[:, None]))
