"""Kernel regression on all rows: chosen on training rows held out, then fitted and tested once."""

import itertools
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ntkflow.errors import ConfigurationError
from ntkflow.limits import limit_kernels
from ntkflow.networks import mlp
from ntkflow.regression.fitting import kernel_ridge

from ..data.dataset import DataSet
from ..data.storage import Array
from ..subjects.limit import Limit
from ..subjects.pace import told
from .costs import peak_gigabytes
from .setting import axis

_TOGETHER = 1000  # rows that both solutions predict, to be compared


@dataclass(frozen=True)
class _Choice:
    """Errors on rows held out, (depths, sigma_bs, ridges), and the place of the best candidate."""

    misread: Float[np.ndarray, "d s r"]
    squared: Float[np.ndarray, "d s r"]

    @property
    def best(self) -> tuple[int, ...]:
        """Fewest misread, then least squared error."""
        order = np.lexsort((self.squared.reshape(-1), self.misread.reshape(-1)))
        return tuple(int(place) for place in np.unravel_index(order[0], self.misread.shape))


def chosen_regression(options: Any, limit: Limit, data: DataSet) -> dict[str, Array]:
    """Held-out errors of every candidate, and what the best one does on all rows."""
    x, y = data.training_set(dtype=torch.float32, device=limit.device)
    _check_rows(options, len(x))
    begin = time.perf_counter()
    choice = _choose(options, x, y)
    choosing = time.perf_counter() - begin
    depth, sigma_b, ridge = choice.best
    network = _network(options, options.depths[depth], options.sigma_bs[sigma_b], x, y)
    results = {
        "rows": len(x),
        "choosing_seconds": choosing,
        **_tested(options, network, options.ridges[ridge], limit, data),
        "disagreement": _disagreement(options, network, options.ridges[ridge], x, y),
    }
    chosen = np.zeros(choice.misread.shape, dtype=int)
    chosen[choice.best] = 1
    axes = ["depth", "sigma_b", "ridge"]
    grid = {"held_out_error": choice.misread, "held_out_square": choice.squared, "chosen": chosen}
    found = {name: Array(values, axes) for name, values in grid.items()}
    for name, values in zip(axes, (options.depths, options.sigma_bs, options.ridges), strict=True):
        found |= axis(name, values)
    return found | {name: Array(np.array(value), []) for name, value in results.items()}


def _check_rows(options: Any, rows: int) -> None:
    """What a plan does not see: whether there are as many rows."""
    for name in ("choosing_rows", "compared_rows"):
        if getattr(options, name) >= rows:
            raise ConfigurationError(
                f"chosen_regression: {name}: {getattr(options, name)} is not allowed; allowed: "
                f"less than the {rows} training rows"
            )


def _network(options: Any, depth: int, sigma_b: float, x: Tensor, y: Tensor) -> nn.Module:
    """ReLU layers, whose width does not matter."""
    sigmas = dict(sigma_w=options.sigma_w, sigma_b=sigma_b)
    return mlp(x.shape[1], [1] * depth, y.shape[1], activation="relu", device="meta", **sigmas)


def _choose(options: Any, x: Tensor, y: Tensor) -> _Choice:
    """Errors on the last rows of the choosing ones, after fits to the others."""
    count = options.choosing_rows
    x, y = x[:count].double(), y[:count].double()
    judging = torch.arange(count - max(1, round(options.held_out * count)), count)
    labels, misread, squared = y[judging].argmax(1), [], []
    candidates = list(itertools.product(options.depths, options.sigma_bs))
    for depth, sigma_b in told(candidates, "candidate"):
        gram = limit_kernels(_network(options, depth, sigma_b, x, y), x).ntk
        scale = gram.diagonal().mean().item()
        ridges = [ridge * scale for ridge in options.ridges]
        found = kernel_ridge(gram, y, ridges[-1], centre=True).held_out(ridges, judging)
        misread.append((found.predictions.argmax(2) != labels).double().mean(1))
        squared.append(found.mean_squares * y.shape[1])
    shape = len(options.depths), len(options.sigma_bs), len(options.ridges)
    return _Choice(*(torch.cat(each).reshape(shape).cpu().numpy() for each in (misread, squared)))


def _tested(
    options: Any, network: nn.Module, ridge: float, limit: Limit, data: DataSet
) -> dict[str, float]:
    """A fit to all training rows in float32, and its accuracy on the test rows."""
    where = dict(dtype=torch.float32, device=limit.device)
    begin = time.perf_counter()
    x, y = data.training_set(**where)
    fit = _fitted(options, network, ridge, x, y)
    solved = time.perf_counter()
    labels = data.targets(**where).argmax(1)
    right = fit.predict(data.probe(**where)).argmax(1) == labels
    return {
        "accuracy": right.double().mean().item(),
        "seconds": time.perf_counter() - begin,
        "solving_seconds": solved - begin,
        "peak_gigabytes": peak_gigabytes(),
        "residual": fit.residual,
        "steps": fit.steps,
        "iterative": int(fit.method == "iterative"),
    }


def _fitted(options: Any, network: nn.Module, ridge: float, x: Tensor, y: Tensor, **method: str):
    scale = limit_kernels(network, x[:_TOGETHER]).ntk.diagonal().mean().item()
    settings = dict(centre=True, tolerance=options.tolerance, **method)
    return kernel_ridge((network, x), y, ridge * scale, **settings)


def _disagreement(options: Any, network: nn.Module, ridge: float, x: Tensor, y: Tensor) -> float:
    """|f_iterative - f_direct| / |f_direct| on training rows that neither was fitted to."""
    count = options.compared_rows
    first, others = (x[:count], y[:count]), x[count : count + _TOGETHER]
    direct, iterative = (
        _fitted(options, network, ridge, *first, method=method).predict(others)
        for method in ("direct", "iterative")
    )
    return ((iterative - direct).norm() / direct.norm()).item()
