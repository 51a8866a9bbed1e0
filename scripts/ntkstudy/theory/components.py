"""A target along one principal component of the limit kernel, and how networks approach it."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from ntkflow.limits import limit_kernels
from ntkflow.linalg.solving import semidefinite_eigenpairs
from ntkflow.networks import draw_parameters
from ntkflow.networks.output_scale import scale_output
from ntkflow.training import GradientDescent, Objective, Schedule, train_ensemble

from ..data.storage import Array
from ..derived.summaries import fitted_rate
from ..plan.schedule import spread_steps
from .setting import Setting, axis, by_seed


def principal_component(options: Any, setting: Setting) -> dict[str, Array]:
    """Residual of networks trained from f_0 to f_0 + size v, split along v and across it.

    v is an eigenvector of the limit kernel on the M training inputs, with eigenvalue lambda and
    (1/M) sum_i v(x_i)^2 = 1. With r = f* - f_t: `along` is (1/M) sum_i r(x_i) v(x_i), `across`
    the root mean square of what is left of r, `leak` the largest `across` in units of size. Of the
    infinitely wide network `expected` = size (1 - 2 eta lambda / M)^t is left along v, and nothing
    across; `rate_ratio` is the fitted rate over its -log(1 - 2 eta lambda / M), `rate_error` the
    distance of this from 1. Networks have one output, f = alpha (h - h_0) with the experiment's
    output scale alpha. Source: Jacot et al. 2018, figure 3.
    """
    training = setting.training
    steps = spread_steps(training["snapshots"], training["steps"], training["spacing"])
    gram = limit_kernels(setting.network, setting.x).ntk
    eigenvalue, direction = principal_direction(gram, options.component)
    network = one_output(setting.network)
    factor = 1 - 2 * training["learning_rate"] * eigenvalue
    rows = []
    for seed in range(options.draws):
        left = _residuals(setting, network, seed, options.size * direction, steps)
        along = left @ direction / len(direction)
        across = (left - along[:, None] * direction).square().mean(dim=1).sqrt()
        ratio = fitted_rate(np.array(steps), along.cpu().numpy()) / -np.log(factor)
        rows.append(
            {
                "along": along,
                "across": across,
                "leak": across.max() / options.size,
                "rate_ratio": ratio,
                "rate_error": abs(ratio - 1),
            }
        )
    expected = options.size * factor ** np.array(steps)
    return by_seed(rows, "step") | axis("step", steps) | {"expected": Array(expected, ["step"])}


def one_output(network: nn.Sequential) -> nn.Sequential:
    """The same layers with a read-out of one output."""
    *below, last = network
    options = dict(sigma_w=last.sigma_w, sigma_b=last.sigma_b, bias=last.bias_init)
    return nn.Sequential(*below, type(last)(last.in_features, 1, device="meta", **options))


def principal_direction(gram: Tensor, component: int) -> tuple[float, Tensor]:
    """Eigenvalue of K / M and eigenvector (M,) with mean square 1; component 1 is the first.

    The eigenvector's largest entry is positive: the sign that a solver returns is its own choice.
    """
    values, vectors, _ = semidefinite_eigenpairs(gram)
    direction = vectors[:, component - 1] * len(gram) ** 0.5
    sign = direction[direction.abs().argmax()].sign()
    return values[component - 1].item() / len(gram), sign * direction


def _residuals(
    setting: Setting, network: nn.Module, seed: int, target: Tensor, steps: list[int]
) -> Tensor:
    """Residuals (T, M) at these steps of one network trained to change by the target (M,)."""
    training = setting.training
    where = dict(dtype=getattr(torch, training["dtype"]), device=setting.x.device)
    x, start, outputs = setting.x.to(**where), draw_parameters(network, [seed], **where), []
    scale = training["output_scale"]

    def look(step, parameters) -> None:
        now = {name: p[0] for name, p in parameters.items()}
        outputs.append(functional_call(network, now, (x,))[:, 0].to(target))

    train_ensemble(
        network, start, x, target[:, None], objective=Objective(output_scale=scale, centred=True),
        optimizer=GradientDescent(training["learning_rate"]),
        schedule=Schedule(training["steps"], snapshots=steps, on_snapshot=look),
    )  # fmt: skip
    return target - scale_output(torch.stack(outputs), scale, outputs[0]).detach()
