"""What is measured on many untrained networks at once, every array with a leading axis `seed`.

Kinds with a batched form are in `ENSEMBLE_MEASUREMENTS`; the others go network by network.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from ntkflow.finite_width import finite_dispersion, inverse_width, kernel_dispersion
from ntkflow.limits import limit_kernels
from ntkflow.networks import Dense

from ..data.inputs import circle_point
from ..data.storage import Array, StageFile
from .blocks import BLOCK_MEASUREMENTS, limit_distance, limit_gap
from .classification import classification
from .gram import GRAM_MEASUREMENTS
from .kernel_cost import kernel_cost
from .mechanisms import MECHANISMS
from .members import Ensemble
from .networks import Measurement, measure, stack_measurements
from .spectrum_cost import spectrum_cost

EnsembleMeasurement = Callable[[Mapping[str, Any], Ensemble, StageFile], dict[str, Array]]


def measure_ensemble(
    entries: Sequence[Mapping[str, Any]], ensemble: Ensemble, data: StageFile
) -> dict[str, Array]:
    """Measurements of several networks.

    Args:
        entries: measurement blocks of the configuration; `kind` picks the function.
        ensemble: the networks, one per seed.
        data: the data set's file.

    Returns:
        `kind/name` to array with a leading axis `seed`, coordinates of other axes included.
    """
    arrays: dict[str, Array] = {}
    with torch.no_grad():
        for entry in entries:
            if entry["kind"] in ENSEMBLE_MEASUREMENTS:
                arrays |= ENSEMBLE_MEASUREMENTS[entry["kind"]](entry, ensemble, data)
    single = [entry for entry in entries if entry["kind"] not in ENSEMBLE_MEASUREMENTS]
    if single:
        each = [measure(single, one, data) for one in ensemble.members()]
        arrays |= stack_measurements(each, "seed")
    return arrays


def join_ensembles(parts: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """Measurements of several groups of seeds as those of one."""
    return {
        name: Array(np.concatenate([part[name].values for part in parts]), array.dims, array.units)
        if "seed" in array.dims
        else array
        for name, array in parts[0].items()
    }


def diagonal_kernel(
    network: nn.Module, parameters: dict[str, Tensor], x: Float[Tensor, "1 d"]
) -> tuple[Float[Tensor, " s"], Float[Tensor, " s"]]:
    """Theta(x, x) = |df/dtheta|^2 of every network: the part of its weights, and all of it.

    Args:
        network: maps (1, d) to (1, 1).
        parameters: name to tensor (S, *shape); names that end in "weight" are weights.
        x: the input.
    """

    def of_one(one: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        gradient = grad(lambda p: functional_call(network, p, (x,)).squeeze())(one)
        squares = {name: part.square().sum() for name, part in gradient.items()}
        weights = [square for name, square in squares.items() if name.endswith("weight")]
        return sum(weights), sum(squares.values())

    return vmap(of_one)(parameters)


def first_step(
    network: nn.Module,
    parameters: dict[str, Tensor],
    x: Float[Tensor, "1 d"],
    *,
    target: float,
    learning_rate: float,
) -> dict[str, Tensor]:
    """Parameters (S, *shape) after one gradient step on the loss (f(x) - target)^2."""

    def loss(one: dict[str, Tensor]) -> Tensor:
        return (functional_call(network, one, (x,)).squeeze() - target).square()

    gradients = vmap(grad(loss))(parameters)
    return {name: p - learning_rate * gradients[name] for name, p in parameters.items()}


def _diagonal_kernel(entry, ensemble: Ensemble, data: StageFile) -> dict[str, Array]:
    """Theta(x, x) at one point of the circle, its change in one step, and what theory expects."""
    network, parameters = ensemble.network, ensemble.parameters
    like = next(iter(parameters.values()))
    x = circle_point(entry["anchor_angle"], dtype=like.dtype, device=like.device)
    step = {key: entry[key] for key in ("target", "learning_rate")}
    with torch.no_grad():
        weights, full = diagonal_kernel(network, parameters, x)
        after = diagonal_kernel(network, first_step(network, parameters, x, **step), x)[1]
        limit = limit_kernels(network, x.double()).ntk.item()
    widths = [layer.out_features for layer in network if isinstance(layer, Dense)][:-1]
    measured = {
        "weights": (weights, "part of the weights"),
        "full": (full, "weights and biases"),
        "change": (after - full, "full kernel after one step minus before"),
    }
    expected = {
        "limit": (limit, "limit NTK; for ReLU and zero biases also the mean at finite width"),
        "beta": (inverse_width(widths), "sum over hidden layers of 1 / width"),
        "dispersion": (kernel_dispersion(widths), "ln(E[K^2] / E[K]^2) expected of the weights'"),
        "finite_dispersion": (finite_dispersion(widths), "the same for few layers"),
    }
    arrays = {name: (value.cpu().numpy(), unit) for name, (value, unit) in measured.items()}
    arrays |= {name: (np.full(len(like), value), unit) for name, (value, unit) in expected.items()}
    return {
        f"diagonal_kernel/{name}": Array(values, ["seed"], unit)
        for name, (values, unit) in arrays.items()
    }


def _each(measurement: Measurement) -> EnsembleMeasurement:
    """Network by network what cannot be batched, but needs the ensemble's seed axis."""
    return lambda entry, ensemble, data: stack_measurements(
        [measurement(entry, one, data) for one in ensemble.members()], "seed"
    )


ENSEMBLE_MEASUREMENTS: dict[str, EnsembleMeasurement] = {
    "classification": classification,
    "diagonal_kernel": _diagonal_kernel,
    "kernel_cost": kernel_cost,
    "limit_distance": limit_distance,
    "limit_gap": limit_gap,
    "spectrum_cost": spectrum_cost,
    **GRAM_MEASUREMENTS,
    **MECHANISMS,
    **{kind: _each(measurement) for kind, measurement in BLOCK_MEASUREMENTS.items()},
}
