"""What eigenvalues and eigenvectors do in training: stability, order of learning, permutations."""

from dataclasses import dataclass, field
from typing import Annotated

from ..needs import DESCENT, LABELS, SQUARED_LOSS
from ..options import Rule
from ..registry import FINITE, measurement
from .common import labelled, to_numpy
from .gram import mean_grams

UNIFORM = 0.99  # share of a uniform distribution in the targets


@dataclass(frozen=True, kw_only=True)
class StabilityOptions:
    """Short trainings."""

    factors: Annotated[
        list[Annotated[float, Rule(exclusiveMinimum=0)]],
        Rule("steps tried, over 2 / the largest Hessian eigenvalue", minItems=1),
    ] = field(default_factory=lambda: [0.9, 1.1])
    steps: Annotated[int, Rule("length of each trial", minimum=1)] = 50
    output_scale: Annotated[
        float,
        Rule(
            "alpha of f = alpha (h - h0), large so that the kernel stays what it is",
            exclusiveMinimum=0,
        ),
    ] = 100.0


@dataclass(frozen=True, kw_only=True)
class PermutationOptions:
    """When losses are compared."""

    steps: Annotated[
        list[Annotated[int, Rule(minimum=0)]],
        Rule("times at which the losses are compared", minItems=1),
    ] = field(default_factory=lambda: [0, 1, 10, 100, 1000])


@dataclass(frozen=True, kw_only=True)
class ResidualOptions:
    """How many directions."""

    eigenvectors: Annotated[
        int, Rule("how many leading eigenvectors of K at the start", minimum=2)
    ] = 20


@measurement(
    "stability",
    when=("initialization", "trained"),
    options=StabilityOptions,
    axes=("factor",),
    needs=(LABELS,),
    kernel="block",
)
def stability(options, networks, data):
    """Largest loss over the first one in short trainings with steps around 2 / lambda_max.

    lambda_max is that of the Gauss-Newton part of the loss's Hessian: 2 / n times that of the block
    kernel for the squared loss; for the cross-entropy 1 / n times that of the block kernel weighted
    with the softmax's diag(p) - p p'. `unweighted` trains the cross-entropy with steps around
    2 n / lambda_max of the block kernel itself. These train f = alpha (h - h_0) with a large alpha,
    so that the kernel stays what it is; `network` trains the squared loss of h. Targets of the
    cross-entropy are 99 % uniform, so that its minimum lies where its Hessian was taken, and its
    value there, the entropy of the targets, is subtracted.
    """
    from ..data.storage import Array
    from ..subjects.measuring import stack

    rows = [_growths(options, one, data) for one in networks]
    factor = {"factor": Array(to_numpy(options.factors), ["factor"], "step over 2 / lambda_max")}
    return stack(rows, "seed") | factor


def _growths(options: StabilityOptions, network, data):
    import torch

    from ntkflow.dynamics.stable_steps import gauss_newton_sharpness, loss_growth
    from ntkflow.empirical import empirical_ntk

    double = network.in_double
    x, y = data.training_set(**network.where_double)
    kernel = empirical_ntk(network.network, x, parameters=double.weights, outputs="block").values
    p = torch.full_like(y, 1 / y.shape[1])  # where f = 0
    squared = gauss_newton_sharpness(kernel)
    soft = UNIFORM / y.shape[1] + (1 - UNIFORM) * y
    lazy = dict(output_scale=options.output_scale, centred=True)
    cases = {
        "mse": (squared, y, dict(loss="mse", **lazy)),
        "cross_entropy": (
            gauss_newton_sharpness(kernel, p), soft, dict(loss="cross_entropy", **lazy)
        ),
        "unweighted": (squared / 2, soft, dict(loss="cross_entropy", **lazy)),
        "network": (squared, y, dict(loss="mse")),
    }  # fmt: skip
    return labelled(
        ("factor",),
        **{
            case: (
                [
                    loss_growth(
                        network.network, double.parameters, x, target,
                        learning_rate=2 * factor / top, steps=options.steps, **scale,
                    ).item()
                    for factor in options.factors
                ],
                "largest loss / first loss",
            )
            for case, (top, target, scale) in cases.items()
        },
    )  # fmt: skip


@measurement(
    "permuted_eigenvectors",
    when=FINITE,
    options=PermutationOptions,
    axes=("time",),
    kernel="mean",
)
def permuted_eigenvectors(options, networks, data):
    """Squared loss under linear dynamics with K, and with its eigenvectors in another order.

    (1/n) sum_i (1 - 2 eta lambda_i / n)^(2t) |u_i' (f_0 - y)|^2 with eta = n / (2 lambda_max).
    """
    import numpy as np
    import torch

    from ntkflow.dynamics.residual_modes import linear_losses
    from ntkflow.linalg.spectra import eigenpairs

    x, y = data.training_set(**networks.where_double)
    rows = []
    for one, kernel in zip(networks, to_numpy(mean_grams(networks, data)), strict=True):
        values, vectors = map(torch.as_tensor, eigenpairs(kernel))
        residual = _residual(one, x, y)
        order = np.random.default_rng(0).permutation(len(values))
        rate = dict(learning_rate=len(values) / (2 * values[0].item()))
        each = [linear_losses(values, v, residual, options.steps, **rate)
                for v in (vectors, vectors[:, order])]  # fmt: skip
        rows.append(torch.stack(each).numpy())
    kept, permuted = np.array(rows).transpose(1, 0, 2)
    return labelled(
        ("seed", "time"),
        loss=(kept, "1"),
        permuted=(permuted, "1"),
        ratio=(np.divide(permuted, kept, out=np.full_like(kept, np.nan), where=kept > 0), "1"),
    ) | labelled(("time",), time=(options.steps, "gradient steps"))


@measurement(
    "residual_modes",
    when=("trained", "training"),
    options=ResidualOptions,
    axes=("rank",),
    needs=(SQUARED_LOSS, DESCENT),
    kernel="mean",
    kept=True,
)
def residual_modes(options, networks, data):
    """Share of the residual f - y left along each leading eigenvector of K_0, and expected."""
    import numpy as np
    import torch

    from ntkflow.dynamics.residual_modes import residual_modes

    x, y = data.training_set(**networks.where_double)
    start = networks.once("modes", lambda: _modes(networks.before, data, options.eigenvectors))
    moved = dict(learning_rate=networks.training["learning_rate"], steps=networks.step)
    found = [
        residual_modes(*modes, _residual(one, x, y), **moved)
        for one, modes in zip(networks, start, strict=True)
    ]
    left, expected, order = (torch.stack(part) for part in zip(*found, strict=True))
    values = torch.stack([values for values, _, _ in start])
    return (
        labelled(("rank",), rank=(np.arange(1, values.shape[1] + 1), "1"))
        | labelled(
            ("seed", "rank"),
            eigenvalue=(values, "eigenvalue of K_0"),
            left=(left, "of the squared residual"),
            expected=(expected, "lazy training"),
        )
        | labelled(("seed",), order=(order, "rank correlation of eigenvalue and share learned"))
    )


def _modes(networks, data, count: int):
    """Leading eigenvalues and eigenvectors of every network's kernel, and its residual."""
    import torch

    from ntkflow.linalg.spectra import eigenpairs

    (x, y), found = data.training_set(**networks.where_double), []
    for one, kernel in zip(networks, to_numpy(mean_grams(networks, data)), strict=True):
        values, vectors = (torch.as_tensor(part[..., :count]) for part in eigenpairs(kernel))
        found.append((values, vectors, _residual(one, x, y)))
    return found


def _residual(network, x, y):
    """F - y on the training set, in float64, f computed in the network's own type."""
    return (network.outputs(x.to(**network.where)).double() - y).cpu()
