"""Gram matrices K of many networks on the training set: mean over outputs, not divided by n.

In float64. Columns `_per_n` hold K / n, whose eigenvalues are the rates of training. K is that of
the network as it is evaluated: without dropout, and with the statistics of batch normalisation
frozen at their values on the training set.
"""

import numpy as np
import torch
from torch import Tensor

from ntkflow.dynamics.null_models import is_positively_homogeneous, shrinkage_factor
from ntkflow.empirical import ntk_operator, top_eigenpairs
from ntkflow.empirical.one_hidden_layer import mean_kernels, scalar_twin
from ntkflow.linalg.batches import eigenvalues, largest_eigenvalues
from ntkflow.linalg.spectra import effective_rank, numerical_rank

from ..data.inputs import load_training_set
from ..data.storage import Array, StageFile
from .members import Ensemble


def gram(entry, ensemble: Ensemble, data: StageFile) -> dict[str, Array]:
    """Largest eigenvalue and trace of K, how far K has moved, and what shrinkage alone would do."""
    kernels = _kernels(ensemble, ensemble.parameters, data)
    n = kernels.shape[-1]
    top, trace = largest_eigenvalues(kernels), kernels.diagonal(dim1=1, dim2=2).sum(1)
    start = ensemble.once("start", lambda: _kernels(ensemble, ensemble.start, data))
    drift = (kernels - start).flatten(1).norm(dim=1) / start.flatten(1).norm(dim=1)
    factor = _shrinkage(ensemble)
    # A kernel that has vanished in rounding has nothing in excess of its null model.
    null = factor if factor > 1e-12 else np.nan
    return _columns(
        "gram",
        lambda_max=(top, "largest eigenvalue of K"),
        lambda_max_per_n=(top / n, "largest eigenvalue of K / n"),
        trace=(trace, "trace of K"),
        trace_per_n=(trace / n, "trace of K / n, the mean eigenvalue of K"),
        share=(top / trace, "lambda_max / trace"),
        drift=(drift, "Frobenius norm of K - K_0 over that of K_0"),
        null_factor=(torch.full_like(top, factor), "shrinkage of K by the penalty alone"),
        over_null=(top / null, "lambda_max / null_factor"),
    )


def gram_spectrum(entry, ensemble: Ensemble, data: StageFile) -> dict[str, Array]:
    """All eigenvalues of K, or the first so many, and their shares of the trace."""
    values = eigenvalues(_kernels(ensemble, ensemble.parameters, data)).cpu().numpy()
    kept = values[:, : entry["eigenvalues"] or values.shape[1]]
    rank = np.arange(1, kept.shape[1] + 1)
    trace = values.sum(1, keepdims=True)
    share = kept / np.where(trace > 0, trace, np.nan)  # of a kernel that has vanished: NaN
    return {
        "gram_spectrum/rank": Array(rank, ["rank"]),
        "gram_spectrum/eigenvalue": Array(kept, ["seed", "rank"], "eigenvalue of K"),
        "gram_spectrum/share": Array(share, ["seed", "rank"], "eigenvalue / trace"),
    }


def gram_rank(entry, ensemble: Ensemble, data: StageFile) -> dict[str, Array]:
    """How many eigenvalues of K matter."""
    values = eigenvalues(_kernels(ensemble, ensemble.parameters, data)).cpu().numpy()
    columns = {
        "numerical": ([numerical_rank(one) for one in values], "eigenvalues above n eps times top"),
        "effective": ([effective_rank(one) for one in values], "exp of the spectral entropy"),
        "smallest": (values[:, -1], "smallest eigenvalue of K"),
    }
    return {
        f"gram_rank/{name}": Array(np.array(column, dtype=float), ["seed"], unit)
        for name, (column, unit) in columns.items()
    }


def gram_top(entry, ensemble: Ensemble, data: StageFile) -> dict[str, Array]:
    """Leading eigenvalues of K without K: products with the Jacobian and its transpose alone."""
    x = _inputs(ensemble, data)
    values = []
    for one in ensemble.members():
        twin, parameters = scalar_twin(ensemble.network, one.parameters)
        operator = ntk_operator(twin, x, parameters=parameters, dtype=torch.float64)
        values.append(top_eigenpairs(operator, entry["eigenvalues"]).values.cpu().numpy())
    values = np.stack(values)
    return {
        "gram_top/rank": Array(np.arange(1, values.shape[1] + 1), ["rank"]),
        "gram_top/eigenvalue": Array(values, ["seed", "rank"], "eigenvalue of K"),
        "gram_top/per_n": Array(values / len(x), ["seed", "rank"], "eigenvalue of K / n"),
    }


def _kernels(ensemble: Ensemble, parameters: dict[str, Tensor], data: StageFile) -> Tensor:
    doubled = {name: p.double() for name, p in parameters.items()}
    x = _inputs(ensemble, data)
    products = ensemble.once("products", lambda: x.flatten(1) @ x.flatten(1).mT)
    return mean_kernels(ensemble.network, doubled, x, products=products)


def _inputs(ensemble: Ensemble, data: StageFile) -> Tensor:
    where = ensemble.where | {"dtype": torch.float64}
    return ensemble.once("inputs", lambda: load_training_set(data, **where)[0])


def _shrinkage(ensemble: Ensemble) -> float:
    """Null model of a penalty; NaN where Adam scales it, or the kernel is not homogeneous."""
    training, network = ensemble.training, ensemble.network
    l1, l2 = training.get("l1", 0.0), training.get("l2", 0.0)
    if not l1 and not l2:
        return 1.0
    decay = training.get("decay", "coupled")
    by_adam = training.get("optimizer", "sgd") == "adam" and decay != "decoupled"
    if by_adam or not is_positively_homogeneous(network):
        return np.nan
    hidden_layers = sum(name.endswith("weight") for name in ensemble.parameters) - 1
    options = dict(learning_rate=training["learning_rate"], decay=decay, l1=l1, l2=l2)
    return shrinkage_factor(ensemble.step, hidden_layers=hidden_layers, **options)


def _columns(kind: str, **columns: tuple[Tensor, str]) -> dict[str, Array]:
    return {
        f"{kind}/{name}": Array(values.cpu().numpy(), ["seed"], unit)
        for name, (values, unit) in columns.items()
    }


GRAM_MEASUREMENTS = {
    "gram": gram,
    "gram_spectrum": gram_spectrum,
    "gram_rank": gram_rank,
    "gram_top": gram_top,
}
