"""Gram matrices K of many networks on the training set: mean over outputs, not divided by n.

In float64. Columns `_per_n` hold K / n, whose eigenvalues are the rates of training. K is that of
the network as it is evaluated: without dropout, and with the statistics of batch normalisation
frozen at their values on the training set.
"""

from dataclasses import dataclass
from typing import Annotated

from ..needs import ONE_HIDDEN_LAYER, TWO_POINTS
from ..options import Rule
from ..registry import FINITE, measurement
from .common import labelled, to_numpy

UNITS = {
    "lambda_max": "largest eigenvalue of K",
    "lambda_max_per_n": "largest eigenvalue of K / n",
    "trace": "trace of K",
    "trace_per_n": "trace of K / n, the mean eigenvalue of K",
    "share": "lambda_max / trace",
}


@dataclass(frozen=True, kw_only=True)
class GramSpectrumOptions:
    """How many eigenvalues are kept."""

    eigenvalues: Annotated[
        int | None, Rule("how many leading eigenvalues of K are kept; null keeps all", minimum=1)
    ] = None


@dataclass(frozen=True, kw_only=True)
class TopOptions:
    """How many eigenvalues are computed."""

    eigenvalues: Annotated[
        int,
        Rule("how many leading eigenvalues of K are computed, without forming K", minimum=1),
    ] = 10


@measurement("gram", when=FINITE, modes=True, kernel="mean", kept=True)
def gram(options, networks, data):
    """Largest eigenvalue and trace of K, how far K has moved, and what shrinkage alone would do."""
    import torch

    from ntkflow.linalg.batches import largest_eigenvalues

    kernels = mean_grams(networks, data)
    top, trace = largest_eigenvalues(kernels), kernels.diagonal(dim1=1, dim2=2).sum(1)
    start = networks.once("gram at start", lambda: mean_grams(networks.before, data))
    drift = (kernels - start).flatten(1).norm(dim=1) / start.flatten(1).norm(dim=1)
    factor = _shrinkage(networks, data, start)
    # A kernel that has vanished in rounding has nothing in excess of its null model.
    null = factor.where(factor > 1e-12, torch.nan)
    return labelled(
        ("seed",),
        **_sizes(top, trace, kernels.shape[-1]),
        drift=(drift, "Frobenius norm of K - K_0 over that of K_0"),
        null_factor=(factor, "shrinkage of K by the penalty alone"),
        over_null=(top / null, "lambda_max / null_factor"),
    )


@measurement("gram", when="limit", kernel="mean")
def limit_gram(options, limit, data):
    """Limit Gram matrix, not divided by n: largest eigenvalue and trace."""
    import numpy as np

    from ntkflow.linalg.spectra import eigenvalues

    matrix = to_numpy(limit.gram(data))
    return labelled(**_sizes(eigenvalues(matrix)[0], np.trace(matrix), len(matrix)))


def _sizes(top, trace, n: int) -> dict:
    numbers = [top, top / n, trace, trace / n, top / trace]
    return dict(zip(UNITS, zip(numbers, UNITS.values(), strict=True), strict=True))


@measurement(
    "gram_spectrum",
    when=FINITE,
    options=GramSpectrumOptions,
    axes=("rank",),
    modes=True,
    kernel="mean",
)
def gram_spectrum(options, networks, data):
    """All eigenvalues of K, or the first so many, and their shares of the trace."""
    import numpy as np

    values = _eigenvalues(networks, data)
    kept = values[:, : options.eigenvalues or values.shape[1]]
    trace = values.sum(1, keepdims=True)
    share = kept / np.where(trace > 0, trace, np.nan)  # of a kernel that has vanished: NaN
    cumulated = share.cumsum(1)
    axes = ("seed", "rank")
    return labelled(("rank",), rank=(np.arange(1, kept.shape[1] + 1), "1")) | labelled(
        axes,
        eigenvalue=(kept, "eigenvalue of K"),
        share=(share, "eigenvalue / trace"),
        cumulated=(cumulated, "sum of the shares up to this rank"),
    )


@measurement("gram_rank", when=FINITE, modes=True, kernel="mean")
def gram_rank(options, networks, data):
    """How many eigenvalues of K matter."""
    import numpy as np

    from ntkflow.linalg.spectra import effective_rank, numerical_rank

    values = _eigenvalues(networks, data)
    numerical = np.array([numerical_rank(one) for one in values], dtype=float)
    return labelled(
        ("seed",),
        numerical=(numerical, "eigenvalues above n eps times top"),
        effective=([effective_rank(one) for one in values], "exp of the spectral entropy"),
        smallest=(values[:, -1], "smallest eigenvalue of K"),
    )


@measurement(
    "gram_top",
    when=FINITE,
    options=TopOptions,
    axes=("rank",),
    needs=(ONE_HIDDEN_LAYER, TWO_POINTS),
)
def gram_top(options, networks, data):
    """Leading eigenvalues of K without K: products with the Jacobian and its transpose alone."""
    import numpy as np
    import torch

    from ntkflow.empirical import ntk_operator, top_eigenpairs
    from ntkflow.empirical.one_hidden_layer import scalar_twin

    x, values = data.training_set(**networks.where_double)[0], []
    count = min(options.eigenvalues, len(x) - 1)  # a Krylov space finds no more
    for one in networks:
        twin, parameters = scalar_twin(networks.network, one.weights)
        operator = ntk_operator(twin, x, parameters=parameters, dtype=torch.float64)
        values.append(to_numpy(top_eigenpairs(operator, count).values))
    values = np.stack(values)
    return labelled(("rank",), rank=(np.arange(1, values.shape[1] + 1), "1")) | labelled(
        ("seed", "rank"),
        eigenvalue=(values, "eigenvalue of K"),
        per_n=(values / len(x), "eigenvalue of K / n"),
    )


def mean_grams(networks, data):
    """K of every network, (S, n, n)."""
    from ntkflow.empirical.one_hidden_layer import mean_kernels

    double = networks.in_double
    x, _ = data.training_set(**networks.where_double)
    products = networks.once("products", lambda: x.flatten(1) @ x.flatten(1).mT)
    return mean_kernels(networks.network, double.parameters, x, products=products)


def _eigenvalues(networks, data):
    from ntkflow.linalg.batches import eigenvalues

    return to_numpy(eigenvalues(mean_grams(networks, data)))


def _shrinkage(networks, data, start):
    """Null model of a penalty: factor on the largest eigenvalue of K if weights only shrink.

    Exact for positively homogeneous networks; of others the kernels of the shrunken weights are
    computed, for L2. NaN where Adam scales the penalty, or for L1.
    """
    import torch

    from ntkflow.dynamics.null_models import is_positively_homogeneous, shrinkage_factor
    from ntkflow.linalg.batches import largest_eigenvalues

    training, every = networks.training, start.new_ones(len(start))
    l1, l2 = training.get("l1", 0.0), training.get("l2", 0.0)
    if not l1 and not l2:
        return every
    decay = training.get("decay", "coupled")
    by_adam = training.get("optimizer", "sgd") == "adam" and decay != "decoupled"
    homogeneous = is_positively_homogeneous(networks.network)
    if by_adam or (l1 and not homogeneous):
        return every * torch.nan
    options = dict(learning_rate=training["learning_rate"], decay=decay, l1=l1, l2=l2)
    if homogeneous:
        hidden_layers = sum(name.endswith("weight") for name in networks.parameters) - 1
        return every * shrinkage_factor(networks.step, hidden_layers=hidden_layers, **options)
    kept = shrinkage_factor(networks.step, **options) ** 0.5  # of one hidden layer, kept^2
    shrunken = {name: kept * p for name, p in networks.start.items()}
    kernels = mean_grams(networks.at(0, shrunken), data)
    return largest_eigenvalues(kernels) / largest_eigenvalues(start)
