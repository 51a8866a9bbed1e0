"""Networks trained to the same loss: their kernels then, and infinite width after as many steps."""

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor
from torch.func import functional_call

from ntkflow.dynamics import TrainingDynamics
from ntkflow.empirical import empirical_ntk
from ntkflow.limits import limit_kernels
from ntkflow.linalg.spectra import eigenvalues, kernel_drift
from ntkflow.networks import member
from ntkflow.training import GradientDescent, Objective
from ntkflow.training.until import train_until

from ..data.dataset import DataSet
from ..data.storage import Array
from .members import Members

UNITS = {
    "steps": "steps of gradient descent",
    "drift": "Frobenius norm of K - K_0 over that of K_0",
    "growth": "lambda_max(K) over lambda_max(K_0)",
    "gap": "relative to infinite width",
}


def trained_to_loss(options: Any, network: Members, data: DataSet) -> dict[str, Array]:
    """Steps, drift, growth and gap of one network at every level, NaN where it does not arrive.

    Args:
        options: of the measurement `trained_to_loss`.
        network: one network.
        data: the data set.
    """
    x, y = data.training_set(**network.where)
    kernel = _kernel(network, network.weights, x)
    top = eigenvalues(kernel)[0]
    rate = float(options.step_share * len(x) / top)
    arrivals = train_until(
        network.network, network.parameters, x, y, optimizer=GradientDescent(rate),
        levels=options.levels, most_steps=options.most_steps, objective=Objective(centred=True),
        engine="loop",
    )  # fmt: skip
    names = list(UNITS)[: 4 if options.against_limit else 3]
    found = np.full((len(names), len(options.levels)), np.nan)
    gap = _gap_to_limit(network, data, rate) if options.against_limit else None
    for place, steps in enumerate(arrivals.steps[:, 0].tolist()):
        if steps < 0:
            continue
        now = member({name: p[place] for name, p in arrivals.parameters.items()}, 0)
        later = _kernel(network, now, x)
        numbers = [steps, kernel_drift(later, kernel), eigenvalues(later)[0] / top]
        found[:, place] = [*numbers, *([gap(now, steps)] if gap is not None else [])]
    columns = zip(names, found, strict=True)
    return {
        "level": Array(np.array(options.levels), ["level"], "share of the loss at the start")
    } | {name: Array(values, ["level"], UNITS[name]) for name, values in columns}


def _kernel(network: Members, weights: dict[str, Tensor], x: Tensor) -> np.ndarray:
    """K (M, M), the mean over outputs, of these weights."""
    kernel = empirical_ntk(network.network, x, parameters=weights, outputs="mean")
    return kernel.values.double().cpu().numpy()


def _gap_to_limit(
    network: Members, data: DataSet, rate: float
) -> Callable[[dict[str, Tensor], int], float]:
    """A function of a network's weights after so many steps of training."""
    (x, y), test = data.training_set(**network.where_double), data.probe(**network.where_double)
    module = network.network
    gram, cross = network.once(
        "limit kernels",
        lambda: [limit_kernels(module, *pair).ntk for pair in ((x,), (test, x))],
        for_all=True,
    )
    dynamics = TrainingDynamics(gram, learning_rate=rate)
    inputs = data.probe(**network.where)

    def gap(now: dict[str, Tensor], steps: int) -> float:
        h, h_0 = (functional_call(module, p, (inputs,)).double() for p in (now, network.weights))
        f_inf = dynamics.mean(cross, y, steps)
        return float((h - h_0 - f_inf).norm() / f_inf.norm())

    return gap
