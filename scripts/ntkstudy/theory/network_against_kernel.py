"""A network that stops early against regression with its limit kernel, on the same rows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ntkflow.errors import ConfigurationError
from ntkflow.limits import limit_kernels
from ntkflow.networks import draw_parameters, ensemble_outputs
from ntkflow.randomness import generator
from ntkflow.regression.fitting import kernel_ridge
from ntkflow.training import Schedule, train_ensemble
from ntkflow.training.classification import accuracies, cross_entropies

from ..data.storage import Array
from ..plan.schedule import spread_steps
from ..subjects.pace import told
from ..subjects.training import build_objective, build_optimizer
from .setting import Setting, axis, by_seed

_DIAGONAL = 1000  # first rows, whose mean diagonal is the unit of ridges


@dataclass(frozen=True)
class _Rows:
    """Inputs and one-hot targets."""

    x: Float[Tensor, "m d"]
    y: Float[Tensor, "m o"]

    def __getitem__(self, index: Any) -> "_Rows":
        return _Rows(self.x[index], self.y[index])

    @property
    def labels(self) -> Tensor:
        """Classes."""
        return self.y.argmax(1)


def network_against_kernel(options: Any, setting: Setting) -> dict[str, Array]:
    """Test accuracies of both, their difference, and what was chosen, by draw and n."""
    where = dict(dtype=getattr(torch, setting.training["dtype"]), device=setting.x.device)
    training = _Rows(*setting.data.training_set(**where))
    _check_sizes(options, len(training.x))
    test = _Rows(setting.data.probe(**where), setting.data.targets(**where))
    seeds = told(range(options.draws), "draw")
    draws = [_draw(options, setting, training, test, seed) for seed in seeds]
    return by_seed(draws, "n") | axis("n", options.sizes)


def _check_sizes(options: Any, rows: int) -> None:
    """What a plan does not see: whether there are as many rows."""
    if max(options.sizes) > rows:
        raise ConfigurationError(
            f"network_against_kernel: sizes: {max(options.sizes)} is not allowed; allowed: at most "
            f"the {rows} training rows"
        )


def _draw(
    options: Any, setting: Setting, training: _Rows, test: _Rows, seed: int
) -> dict[str, np.ndarray]:
    """One network and the kernel on the first n rows of one order, for every n."""
    order = generator(seed, "split").permutation(len(training.x))
    found = []
    for n in told(options.sizes, "{:,} images".format):
        rows = training[torch.as_tensor(order[:n], device=training.x.device)]
        judging = max(1, round(options.held_out * n))
        network, stop = _network(setting, rows, judging, test, seed)
        kernel, ridge = _kernel(options, setting, rows, judging, test)
        found.append({"network": network, "kernel": kernel, "stop": stop, "ridge": ridge})
    columns = {name: np.array([one[name] for one in found]) for name in found[0]}
    difference = columns["network"] - columns["kernel"]
    return columns | {"difference": difference, "change": difference - difference[0]}


def _network(
    setting: Setting, rows: _Rows, judging: int, test: _Rows, seed: int
) -> tuple[float, int]:
    """Test accuracy after the chosen number of steps on all rows, and that number."""
    fitted, judges = rows[:-judging], rows[-judging:]
    training = setting.training
    steps = spread_steps(training["snapshots"], training["steps"], training["spacing"])
    scores = []

    def look(step: int, outputs: Callable[[Tensor], Tensor]) -> None:
        f = outputs(judges.x)
        right, loss = accuracies(f, judges.labels).item(), cross_entropies(f, judges.labels).item()
        scores.append((-right, loss) if np.isfinite(loss) else (np.inf, np.inf))

    _train(setting, fitted, seed, steps, look)
    stop, accuracy = steps[_best(scores)], []

    def judge(step: int, outputs: Callable[[Tensor], Tensor]) -> None:
        f = outputs(test.x)
        sound = bool(f.isfinite().all())
        accuracy.append(accuracies(f, test.labels).item() if sound else np.nan)

    _train(setting, rows, seed, [stop], judge)
    return accuracy[0], stop


def _train(
    setting: Setting,
    rows: _Rows,
    seed: int,
    steps: list[int],
    look: Callable[[int, Callable[[Tensor], Tensor]], None],
) -> None:
    """Train one network up to the last of these steps, and show its outputs at each."""
    like = dict(dtype=rows.x.dtype, device=rows.x.device)
    start = draw_parameters(setting.network, [seed], **like)
    objective = build_objective(setting.training)
    scale = dict(output_scale=objective.output_scale, start=start if objective.centred else None)

    def show(step: int, parameters: dict[str, Tensor]) -> None:
        look(step, lambda x: ensemble_outputs(setting.network, parameters, x, **scale))

    train_ensemble(
        setting.network, start, rows.x, rows.y, objective=objective,
        optimizer=build_optimizer(setting.training), engine=setting.training["engine"],
        schedule=Schedule(steps[-1], snapshots=steps, on_snapshot=show),
    )  # fmt: skip


def _kernel(
    options: Any, setting: Setting, rows: _Rows, judging: int, test: _Rows
) -> tuple[float, float]:
    """Test accuracy of regression on all rows with the chosen ridge, and that ridge."""
    scale = limit_kernels(setting.network, rows.x[:_DIAGONAL]).ntk.diagonal().mean().item()
    ridges = [ridge * scale for ridge in options.ridges]
    fit = _fit(setting, rows, max(ridges))
    places = torch.arange(len(rows.x) - judging, len(rows.x), device=rows.x.device)
    found = fit.held_out(ridges, places)
    right = accuracies(found.predictions, rows[places].labels).tolist()
    best = _best([(-a, s) for a, s in zip(right, found.mean_squares.tolist(), strict=True)])
    if ridges[best] != fit.ridge:
        del fit  # which holds the kernel of all rows
        fit = _fit(setting, rows, ridges[best])
    return accuracies(fit.predict(test.x)[None], test.labels).item(), options.ridges[best]


def _fit(setting: Setting, rows: _Rows, ridge: float):
    kernel = (setting.network, rows.x)
    return kernel_ridge(kernel, rows.y, ridge, centre=True, dtype=rows.x.dtype)


def _best(scores: list[tuple[float, float]]) -> int:
    """Place of the least: fewest misread, then least loss, then the first."""
    return min(range(len(scores)), key=lambda place: scores[place])
