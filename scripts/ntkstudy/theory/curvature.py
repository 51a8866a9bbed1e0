"""Second derivatives: laziness against the width, convexity of losses."""

from typing import Any

import torch
from torch import Tensor
from torch.func import hessian, jacrev

from ntkflow.lazy import kappa
from ntkflow.lazy.vectors import as_vectors

from ..data.storage import Array
from .setting import Setting, by_seed


def kappa_at_initialization(options: Any, setting: Setting) -> dict[str, Array]:
    """Laziness kappa and its factors for centred networks, one row a draw."""
    limits = dict(tolerance=options.tolerance, max_iterations=options.max_iterations)
    rows = []
    for parameters in setting.members(options.draws):
        found = kappa(
            setting.network, setting.x, setting.y, parameters=parameters, centred=True, **limits
        )
        rows.append(vars(found))
    return by_seed(rows)


def convexity(options: Any, setting: Setting) -> dict[str, Array]:
    """Smallest over largest |eigenvalue| of the Hessian of the loss mean (f - y)^2, three times.

    In the weights of the network at initialisation, in those of the linearised network, and in the
    outputs on the training set. Negative means not convex.
    """
    rows = []
    for parameters in setting.members(options.draws):
        outputs, theta = as_vectors(setting.network, setting.x, parameters)
        target = setting.y.reshape(-1)
        jacobian = jacrev(outputs)(theta)
        weights = hessian(lambda p: (outputs(p) - target).square().mean())(theta)  # noqa: B023
        linear = 2 * jacobian.T @ jacobian / len(target)
        function = hessian(lambda f: (f - target).square().mean())(outputs(theta))  # noqa: B023
        names = {"network": weights, "linearized": linear, "function": function}
        rows.append({name: _smallest_over_largest(matrix) for name, matrix in names.items()})
    return by_seed(rows)


def _smallest_over_largest(matrix: Tensor) -> float:
    values = torch.linalg.eigvalsh(matrix)
    return (values[0] / values.abs().max()).item()
