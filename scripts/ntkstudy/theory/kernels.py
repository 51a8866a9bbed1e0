"""Tangent kernels: the recursion of the limit, where it is positive definite, what it costs."""

import math
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ntkflow.empirical import empirical_ntk
from ntkflow.limits import limit_kernels
from ntkflow.linalg.spectra import eigenvalues
from ntkflow.networks import draw_parameters, member, mlp

from ..data.storage import Array
from .setting import Setting, axis, by_seed


def relu_ntk(correlation: float, depth: int, sigma_b: float, *, printed: bool = False) -> float:
    """Limit NTK of a ReLU network with sigma_w = 1 between two inputs on the unit circle.

    Theta <- Theta Sigma' + Sigma from layer to layer, with Sigma' = E[s'(u) s'(v)] and Sigma that
    of the same layer. As the slides print it (`printed`), Sigma' has a further + sigma_b^2, and
    the Sigma added is that of the layer below.

    Args:
        correlation: cosine of the angle between the inputs.
        depth: number of hidden layers.
        sigma_b: standard deviation of the biases.
        printed: the slides' recursion instead of the right one.
    """
    diagonal = 0.5 + sigma_b**2
    covariance = correlation / 2 + sigma_b**2
    theta = covariance
    for _ in range(depth):
        angle = math.acos(max(-1.0, min(1.0, covariance / diagonal)))
        slopes = (math.pi - angle) / (2 * math.pi) + (sigma_b**2 if printed else 0.0)
        arc = math.sin(angle) + (math.pi - angle) * math.cos(angle)
        below, covariance = covariance, diagonal * arc / (2 * math.pi) + sigma_b**2
        diagonal = diagonal / 2 + sigma_b**2
        theta = theta * slopes + (below if printed else covariance)
    return theta


def recursion(options: Any, setting: Setting) -> dict[str, Array]:
    """Kernel Theta(x_0, x) of random networks beside the right and the printed recursion.

    x_0 is the first training input, x runs over all of them.
    """
    rows = []
    for parameters in setting.members(options.draws):
        kernel = empirical_ntk(
            setting.network, setting.x[:1], setting.x, parameters=parameters, outputs="mean",
            method="vector_product",
        )  # fmt: skip
        rows.append({"measured": kernel.values[0]})
    depth, sigma_b = len(setting.network) // 2, setting.network[0].sigma_b
    cosines = (setting.x @ setting.x[0]).tolist()
    found = by_seed(rows, "sample") | {"cosine": Array(np.array(cosines), ["sample"])}
    for name in ("right", "printed"):
        values = [relu_ntk(c, depth, sigma_b, printed=name == "printed") for c in cosines]
        found[name] = Array(np.array(values), ["sample"])
    return found


def _angles(*degrees: int) -> Tensor:
    turned = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return torch.stack([turned.cos(), turned.sin()], dim=1)


_HEXAGON = _angles(0, 60, 120, 180, 240, 300)
_DISTINCT = _angles(0, 37, 101, 163, 224, 310)
# Inputs, hidden layers, sigma_b, whether the kernel is positive definite.
DEFINITENESS: dict[str, tuple[Tensor, int, float, bool]] = {
    "distinct points": (_DISTINCT, 1, 0.5, True),
    "hexagon, bias": (_HEXAGON, 1, 0.5, True),
    "hexagon, two layers": (_HEXAGON, 2, 0.0, True),
    "two antipodal pairs": (_angles(0, 70, 180, 250), 1, 0.0, True),
    "hexagon": (_HEXAGON, 1, 0.0, False),
    "parallel inputs": (torch.cat([_DISTINCT, 2 * _DISTINCT[:1]]), 1, 0.0, False),
    "duplicated input": (torch.cat([_DISTINCT, _DISTINCT[:1]]), 1, 0.5, False),
}


def definiteness(options: Any, setting: Setting) -> dict[str, Array]:
    """Smallest eigenvalue over the trace of kernels with far more parameters than points.

    ReLU networks of the width `width` at each of the `DEFINITENESS` cases: empirical kernels, one
    a draw, and the limit kernel. Of a `degenerate` case two inputs are parallel or equal; those of
    a `hexagon` are its corners.
    """
    where = dict(dtype=torch.float64, device=setting.x.device)
    empirical: list[dict[str, list]] = [{"smallest": []} for _ in range(options.draws)]
    limit, parameters = [], []
    for x, depth, sigma_b, _ in DEFINITENESS.values():
        network = mlp(2, [options.width] * depth, sigma_b=sigma_b, device="meta")
        drawn = draw_parameters(network, range(options.draws), **where)
        for seed, row in enumerate(empirical):
            gram = empirical_ntk(network, x.to(**where), parameters=member(drawn, seed))
            row["smallest"].append(_smallest_share(gram.values[0, 0]))
        limit.append(_smallest_share(limit_kernels(network, x.to(**where)).ntk))
        parameters.append(sum(p.numel() for p in network.parameters()))
    exact = {
        "limit": limit,
        "parameters": parameters,
        "points": [len(case[0]) for case in DEFINITENESS.values()],
        "definite": [int(case[3]) for case in DEFINITENESS.values()],
        "degenerate": [int(_has_rays(case[0])) for case in DEFINITENESS.values()],
        "hexagon": [int(case[0] is _HEXAGON) for case in DEFINITENESS.values()],
    }
    found = by_seed(empirical, "case") | axis("case", list(DEFINITENESS))
    return found | {name: Array(np.array(values), ["case"]) for name, values in exact.items()}


def _has_rays(x: Tensor) -> bool:
    """Whether two inputs (N, d) lie on one ray from the origin, equal ones included."""
    directions = x / x.norm(dim=1, keepdim=True)
    return bool(((directions @ directions.T).fill_diagonal_(0.0) > 1 - 1e-9).any())


def _smallest_share(gram: Tensor) -> float:
    """|Smallest eigenvalue| over the trace: 0 up to rounding where it is not definite."""
    values = eigenvalues(gram.cpu().numpy())
    return float(np.abs(values).min() / values.sum())


def cost_growth(options: Any, setting: Setting) -> dict[str, Array]:
    """Processor seconds that the kernel of N random inputs takes, several times for each N."""
    drawn = member(setting.parameters([0]), 0)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(max(options.sizes), setting.x.shape[1], generator=generator).to(setting.x)
    rows = [
        {"seconds": [_seconds(setting, drawn, inputs[:size]) for size in options.sizes]}
        for _ in range(options.draws + 1)
    ]
    # The first round warms up.
    return by_seed(rows[1:], "points") | axis("points", options.sizes)


def _seconds(setting: Setting, parameters: dict[str, Tensor], x: Tensor) -> float:
    begin = time.process_time()
    empirical_ntk(setting.network, x, parameters=parameters, outputs="mean").values.sum().item()
    return time.process_time() - begin
