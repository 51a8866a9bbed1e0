"""Gradient descent on linearised networks, step by step, and on the networks beside them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, jacrev

from ntkflow.lazy.vectors import as_vectors
from ntkflow.training import GradientDescent, Objective, Schedule, train_ensemble

from ..data.storage import Array
from ..derived.summaries import fitted_rate
from ..plan.schedule import spread_steps
from .setting import Setting, axis, by_seed


@dataclass(frozen=True)
class Linear:
    """A linearised network: weights (P,) and Jacobian J (M, P) at its start, r = y - f_0 (M,)."""

    weights: Tensor
    jacobian: Tensor
    residual: Tensor

    @staticmethod
    def at(setting: Setting, parameters: dict[str, Tensor]) -> "Linear":
        """Of a network with one output, linearised at these weights."""
        outputs, theta = as_vectors(setting.network, setting.x, parameters)
        return Linear(theta, jacrev(outputs)(theta), setting.y.reshape(-1) - outputs(theta))

    @property
    def largest_step(self) -> float:
        """M / lambda_max, which is 2 / L with L the loss's curvature."""
        return len(self.residual) / torch.linalg.matrix_norm(self.jacobian, 2).item() ** 2

    def least_movement(self, target: Tensor) -> Tensor:
        """Shortest movement J' K^-1 r of the weights that changes the outputs by a target (M,)."""
        gram = self.jacobian @ self.jacobian.T
        solution, singular = torch.linalg.solve_ex(gram, target)
        if singular:  # the nearest outputs that can be reached
            return torch.linalg.pinv(self.jacobian) @ target
        return self.jacobian.T @ solution

    def descend(self, learning_rate: float, steps: int, at: list[int]) -> tuple[Tensor, Tensor]:
        """Steps on the loss mean (f - y)^2: movement of the weights, residuals at some steps."""
        moved, kept, wanted = self.jacobian.new_zeros(self.jacobian.shape[1]), [], set(at)
        factor = 2 * learning_rate / len(self.residual)
        for step in range(steps + 1):
            left = self.residual - self.jacobian @ moved
            if step in wanted:
                kept.append(left)
            if step < steps:
                moved = moved + factor * (self.jacobian.T @ left)
        return moved, torch.stack(kept)


def linear_descent(options: Any, setting: Setting) -> dict[str, Array]:
    """Fitted decay rate of every mode of a linearised network, and 2 eta lambda_i / M."""
    training = setting.training
    steps = spread_steps(training["snapshots"], training["steps"], training["spacing"])
    rows = []
    for parameters in setting.members(options.draws):
        linear = Linear.at(setting, parameters)
        values, vectors = torch.linalg.eigh(linear.jacobian @ linear.jacobian.T)
        _, left = linear.descend(training["learning_rate"], training["steps"], steps)
        sizes = (left @ vectors.flip(1)).abs().cpu().numpy()
        rates = [fitted_rate(np.array(steps), size) for size in sizes.T]
        predicted = 2 * training["learning_rate"] * values.flip(0).cpu().numpy() / len(setting.x)
        ratio = np.divide(
            rates, predicted, out=np.full_like(predicted, np.nan), where=predicted > 0
        )
        rows.append({"rate": rates, "predicted": predicted, "ratio": ratio})
    return by_seed(rows, "mode")


def least_norm(options: Any, setting: Setting) -> dict[str, Array]:
    """Where gradient descent ends, against the solution nearest to the initial weights.

    A linearised network, trained with half of its largest stable step: distance from theta_0 +
    J^+ r; its predictions against f_0 - K_x K^-1 (f_0 - y); the moved distance over |r| / |J|_op
    (the slides' formula) and over sqrt(r' K^-1 r). And the network itself, centred, with the
    output scale of the experiment: its movement against J^+ y / alpha.
    """
    rows = [
        _compare_with_least_norm(setting, parameters, options.steps)
        for parameters in setting.members(options.draws)
    ]
    return by_seed(rows)


def _compare_with_least_norm(
    setting: Setting, parameters: dict[str, Tensor], steps: int
) -> dict[str, float | Tensor]:
    linear = Linear.at(setting, parameters)
    rate = linear.largest_step / 2
    moved, (first, last) = linear.descend(rate, steps, [0, steps])
    least = linear.least_movement(linear.residual)
    probe = setting.data.probe(dtype=setting.x.dtype, device=setting.x.device)
    there = jacrev(as_vectors(setting.network, probe, parameters)[0])(linear.weights)
    printed = linear.residual.norm() / torch.linalg.matrix_norm(linear.jacobian, 2)
    return {
        "to_least_norm": _relative(moved, least),
        "prediction": _relative(there @ moved, there @ least),
        "fall": (last.norm() / first.norm()) ** 2,
        "over_printed": moved.norm() / printed,
        "over_exact": moved.norm() / least.norm(),
        "network_to_least_norm": _network_gap(setting, parameters, linear, rate, steps),
    }


def _network_gap(setting: Setting, parameters, linear: Linear, rate: float, steps: int) -> float:
    """Relative distance of a centred network's movement from J^+ y / alpha."""
    trained = _train(setting, parameters, rate, steps).parameters
    moved = torch.cat([(trained[name][0] - p).reshape(-1) for name, p in parameters.items()])
    least = linear.least_movement(setting.y.reshape(-1))
    return _relative(setting.training["output_scale"] * moved, least)


def _train(setting: Setting, parameters: dict[str, Tensor], rate: float, steps: int, records=()):
    """A centred network with the output scale of the experiment, trained with this step."""
    return train_ensemble(
        setting.network, {name: p[None] for name, p in parameters.items()}, setting.x, setting.y,
        optimizer=GradientDescent(rate), schedule=Schedule(steps, record=records),
        objective=Objective(output_scale=setting.training["output_scale"], centred=True),
    )  # fmt: skip


def step_sweep(options: Any, setting: Setting) -> dict[str, Array]:
    """Losses of linearised and real networks for steps below and above the largest stable one.

    `fraction` is the step over M / lambda_max = 2 / L at the start: 0.5 is 1 / L. `fall` is the
    last loss over the first, `rises` the number of steps after which the loss was higher. Networks
    are centred, with the output scale of the experiment.
    """
    steps, rows = setting.training["steps"], []
    everything = list(range(steps + 1))
    for parameters in setting.members(options.draws):
        linear = Linear.at(setting, parameters)
        row: dict[str, list] = {}
        for fraction in options.fractions:
            rate = fraction * linear.largest_step
            losses = {
                "linear": linear.descend(rate, steps, everything)[1].square().mean(dim=1),
                "network": _train(setting, parameters, rate, steps, everything).losses[0],
            }
            for name, values in losses.items():
                row.setdefault(f"{name}_fall", []).append(_fall(values))
                row.setdefault(f"{name}_rises", []).append(_rises(values))
        rows.append(row)
    return by_seed(rows, "fraction") | axis("fraction", options.fractions)


def _fall(losses: Tensor) -> float:
    """Last loss over the first; of a diverged network, whose last losses are NaN, the last one."""
    finite = losses[losses.isfinite()]
    return (finite[-1] / finite[0]).item()


def _rises(losses: Tensor) -> int:
    """Number of steps that raised the loss beyond rounding; diverging counts."""
    floor = 1e-24 * losses[0]
    before, after = losses[:-1], losses[1:]
    return (~(after <= before * (1 + 1e-9) + floor)).sum().item()


def _relative(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).norm() / expected.norm()).item()


def one_parameter(options: Any, setting: Setting) -> dict[str, Array]:
    """Minimiser of a model with one weight at several output scales alpha, beside the tangent's.

    Trained by gradient descent with the experiment's step; `lazy_distance` |y| / (alpha |h'(w_0)|)
    is the distance of the tangent's minimiser from w_0.
    """
    parameters = setting.parameters([0])
    start, rows = _one_weight(setting, parameters), []
    training = setting.training
    how = dict(
        optimizer=GradientDescent(training["learning_rate"]), schedule=Schedule(training["steps"])
    )
    for alpha in options.scales:
        trained = train_ensemble(
            setting.network, parameters, setting.x, setting.y, engine="general",
            objective=Objective(output_scale=alpha), **how,
        )  # fmt: skip
        end = _one_weight(setting, trained.parameters)
        lazy = abs(setting.y.item() / (alpha * start["slope"]))
        distance = abs(end["weight"] - start["weight"])
        rows.append(
            {
                "distance": distance,
                "lazy_distance": lazy,
                "ratio": distance / lazy,
                "kernel_change": abs((end["slope"] / start["slope"]) ** 2 - 1),
            }
        )
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    found = {name: Array(values, ["output_scale"]) for name, values in columns.items()}
    return found | axis("output_scale", options.scales)


def _one_weight(setting: Setting, parameters: dict[str, Tensor]) -> dict[str, float]:
    """The weight and the slope of the output in it."""
    [(name, weight)] = parameters.items()

    def output(w: Tensor) -> Tensor:
        return functional_call(setting.network, {name: w}, (setting.x,)).squeeze()

    return {"weight": weight.item(), "slope": jacrev(output)(weight[0]).item()}


def one_parameter_curves(options: Any, setting: Setting) -> dict[str, Array]:
    """Model f = alpha h, its tangent, and both losses over alpha^2, against alpha (w - w_0)."""
    parameters = setting.parameters([0])
    [(name, weight)] = parameters.items()
    slope, target = _one_weight(setting, parameters)["slope"], setting.y.item()
    shifts = np.linspace(-1.0, options.reach, options.points)
    functions = np.array(
        [
            [
                alpha * setting.outputs({name: weight[0] + shift / alpha}, setting.x).item()
                for shift in shifts
            ]
            for alpha in options.scales
        ]
    )
    tangents = np.broadcast_to(slope * shifts, functions.shape)
    curves = {
        "function": functions,
        "tangent": tangents,
        "loss": (functions - target) ** 2,
        "tangent_loss": (tangents - target) ** 2,
    }
    found = {name: Array(curve, ["output_scale", "shift"]) for name, curve in curves.items()}
    return found | axis("shift", shifts) | axis("output_scale", options.scales)
