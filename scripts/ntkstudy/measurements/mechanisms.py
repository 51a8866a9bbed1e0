"""What eigenvalues and eigenvectors do in training: stability, order of learning, permutations."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ntkflow.empirical import empirical_ntk
from ntkflow.empirical.one_hidden_layer import mean_kernels
from ntkflow.linalg.spectra import block_matrix, eigenpairs, eigenvalues
from ntkflow.training import GradientDescent, Objective, Schedule, train_ensemble

from ..data.inputs import load_training_set
from ..data.storage import Array, StageFile
from .members import Ensemble
from .networks import Member, stack_measurements

UNIFORM = 0.99  # share of a uniform distribution in the targets


def stability(entry, ensemble: Ensemble, data: StageFile) -> dict[str, Array]:
    """Largest loss over the first one in short trainings with steps around 2 / lambda_max.

    lambda_max is that of the Gauss-Newton part of the loss's Hessian: 2 / n times that of the block
    kernel for the squared loss; for the cross-entropy 1 / n times that of the block kernel weighted
    with the softmax's diag(p) - p p'. `unweighted` trains the cross-entropy with steps around
    2 n / lambda_max of the block kernel itself. These train f = alpha (h - h_0) with a large alpha,
    so that the kernel stays what it is; `network` trains the squared loss of h. Targets of the
    cross-entropy are 99 % uniform, so that its minimum lies where its Hessian was taken, and its
    value there, the entropy of the targets, is subtracted.
    """
    where = {**ensemble.where, "dtype": torch.float64}
    x, y = ensemble.once("set", lambda: load_training_set(data, **where))
    each = [_growths(entry, one, x, y) for one in ensemble.members()]
    factors = Array(np.array(entry["factors"]), ["factor"], "step over 2 / lambda_max")
    return stack_measurements(each, "seed") | {"stability/factor": factors}


def _growths(entry, member: Member, x: Tensor, y: Tensor) -> dict[str, Array]:
    parameters = {name: p.double() for name, p in member.parameters.items()}
    kernel = empirical_ntk(member.network, x, parameters=parameters, outputs="block").values
    p = torch.full_like(y, 1 / y.shape[1])  # where f = 0
    plain = eigenvalues(block_matrix(kernel.cpu().numpy()))[0] / len(x)
    weighted = eigenvalues(softmax_weighted(kernel, p).cpu().numpy())[0] / len(x)
    squared, entropy = (
        Objective(loss, entry["output_scale"], centred=True) for loss in ("mse", "cross_entropy")
    )
    cases = {
        "mse": (2 * plain, squared),
        "cross_entropy": (weighted, entropy),
        "unweighted": (plain, entropy),
        "network": (2 * plain, Objective("mse")),
    }
    start = {name: each[None] for name, each in parameters.items()}
    growths = {
        case: [
            _growth(member.network, start, x, y, 2 * factor / top, entry["steps"], objective)
            for factor in entry["factors"]
        ]
        for case, (top, objective) in cases.items()
    }
    return {
        f"stability/{case}": Array(np.array(values), ["factor"], "largest loss / first loss")
        for case, values in growths.items()
    }


def _growth(
    network, start, x: Tensor, y: Tensor, rate: float, steps: int, objective: Objective
) -> float:
    descent, every = GradientDescent(rate), Schedule(steps, record=range(steps + 1))
    floor = 0.0
    if objective.loss == "cross_entropy":
        y = UNIFORM / y.shape[1] + (1 - UNIFORM) * y
        floor = -(y * y.log()).sum(1).mean() / objective.output_scale**2
    found = train_ensemble(
        network, start, x, y, optimizer=descent, schedule=every, objective=objective
    )
    losses = found.losses[0] - floor
    return float((losses / losses[0]).nan_to_num(torch.inf).max().clamp(max=1e6))


def softmax_weighted(
    kernel: Float[Tensor, "o o n n"], p: Float[Tensor, "n o"]
) -> Float[Tensor, "no no"]:
    """S' Theta S with S S' = diag(p) - p p' for every sample, rows n O + o.

    Its eigenvalues over n are those of the Gauss-Newton part of the cross-entropy's Hessian.
    """
    values, vectors = torch.linalg.eigh(torch.diag_embed(p) - p[:, :, None] * p[:, None, :])
    roots = vectors * values.clamp(min=0).sqrt()[:, None, :]
    weighted = torch.einsum("noi,opnm,mpj->nimj", roots, kernel, roots)
    return weighted.flatten(2).flatten(0, 1)


def permuted_eigenvectors(entry, ensemble: Ensemble, data: StageFile) -> dict[str, Array]:
    """Squared loss under linear dynamics with K, and with its eigenvectors in another order.

    (1/n) sum_i (1 - 2 eta lambda_i / n)^(2t) |u_i' (f_0 - y)|^2 with eta = n / (2 lambda_max).
    """
    where = {**ensemble.where, "dtype": torch.float64}
    x, y = ensemble.once("set", lambda: load_training_set(data, **where))
    doubled = {name: p.double() for name, p in ensemble.parameters.items()}
    kernels = mean_kernels(ensemble.network, doubled, x).cpu().numpy()
    steps = np.array(entry["steps"])
    rows = []
    for one, kernel in zip(ensemble.members(), kernels, strict=True):
        values, vectors = eigenpairs(kernel)
        residual = (one.outputs(x.to(**one.where)).double() - y).cpu().numpy()
        weights = np.square(vectors.T @ residual).sum(1)
        order = np.random.default_rng(0).permutation(len(values))
        rows.append([_linear_loss(values, w, steps) for w in (weights, weights[order])])
    kept, permuted = np.array(rows).transpose(1, 0, 2)
    columns = {"loss": kept, "permuted": permuted, "ratio": permuted / kept}
    arrays = {
        f"permuted_eigenvectors/{name}": Array(values, ["seed", "time"])
        for name, values in columns.items()
    }
    return arrays | {"permuted_eigenvectors/time": Array(steps, ["time"], "gradient steps")}


def _linear_loss(values: np.ndarray, weights: np.ndarray, steps: np.ndarray) -> np.ndarray:
    left = (1 - values / values[0])[None, :] ** (2 * steps[:, None])
    return left @ weights / len(values)


def residual_modes(entry, ensemble: Ensemble, data: StageFile) -> dict[str, Array]:
    """Share of the residual f - y left along each leading eigenvector of K_0, and expected."""
    where = {**ensemble.where, "dtype": torch.float64}
    x, y = ensemble.once("set", lambda: load_training_set(data, **where))
    start = ensemble.once("modes", lambda: _modes_at_start(ensemble, x, y, entry["eigenvectors"]))
    rate = 2 * ensemble.training["learning_rate"] / len(x)
    left, expected, order = [], [], []
    for one, (values, vectors, before) in zip(ensemble.members(), start, strict=True):
        left.append(_sizes(one, x, y, vectors) / before)
        expected.append((1 - rate * values) ** (2 * ensemble.step))
        order.append(_rank_correlation(values, -left[-1]) if ensemble.step else np.nan)
    values = np.array([values for values, _, _ in start])
    rank = np.arange(1, values.shape[1] + 1)
    return {
        "residual_modes/rank": Array(rank, ["rank"]),
        "residual_modes/eigenvalue": Array(values, ["seed", "rank"], "eigenvalue of K_0"),
        "residual_modes/left": Array(np.array(left), ["seed", "rank"], "of the squared residual"),
        "residual_modes/expected": Array(np.array(expected), ["seed", "rank"], "lazy training"),
        "residual_modes/order": Array(
            np.array(order), ["seed"], "rank correlation of eigenvalue and share learned"
        ),
    }


def _modes_at_start(ensemble: Ensemble, x: Tensor, y: Tensor, count: int):
    doubled = {name: p.double() for name, p in ensemble.start.items()}
    kernels = mean_kernels(ensemble.network, doubled, x).cpu().numpy()
    found = []
    for one, kernel in zip(ensemble.at(0, ensemble.start).members(), kernels, strict=True):
        values, vectors = (part[..., :count] for part in eigenpairs(kernel))
        found.append((values, vectors, _sizes(one, x, y, vectors)))
    return found


def _sizes(member: Member, x: Tensor, y: Tensor, vectors: np.ndarray) -> np.ndarray:
    """|u_i' (f - y)|^2, summed over outputs."""
    residual = (member.outputs(x.to(**member.where)).double() - y).cpu().numpy()
    return np.square(vectors.T @ residual).sum(1)


def _rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's, of values without ties; NaN for a diverged network."""
    if not np.isfinite([first, second]).all():
        return np.nan
    ranks = [values.argsort().argsort() for values in (first, second)]
    return float(np.corrcoef(ranks)[0, 1])


MECHANISMS = {
    "stability": stability,
    "permuted_eigenvectors": permuted_eigenvectors,
    "residual_modes": residual_modes,
}
