"""Learning curves of kernel regression: predicted from a pool's spectrum, and measured."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ntkflow.errors import ConfigurationError
from ntkflow.limits import limit_kernels
from ntkflow.linalg.solving import semidefinite_eigenpairs
from ntkflow.randomness import generator
from ntkflow.regression import ridge_regression, total_learnability
from ntkflow.regression.learning_curve import LearningCurve, power_law_tail
from ntkflow.regression.learning_curve import learning_curve as expected_curve

from ..data.dataset import DataSet
from ..data.storage import Array
from ..subjects.limit import Limit
from ..subjects.pace import told
from .setting import axis, by_seed

# Modes of the fitted tail over rows of the pool; what lies behind acts like a ridge, or like noise.
TAIL = 30


def learning_curve(options: Any, limit: Limit, data: DataSet) -> dict[str, Array]:
    """Squared error on the pool and on fresh rows, and learnability, beside their predictions.

    Predicted are the mean squared error by the pool's eigenvalues and coefficients, and by those
    with a fitted tail, and the sum of learnabilities.
    """
    x = torch.cat([data.training_set(**limit.where)[0], data.probe(**limit.where)])
    y = torch.cat([data.training_set(**limit.where)[1], data.targets(**limit.where)])
    _check_sizes(options, len(x))
    gram = limit_kernels(limit.network, x).ntk
    seeds = told(range(options.draws), "draw")
    draws = [_divided(options, gram, y, seed) for seed in seeds]
    share = Array(np.array(options.sizes) / options.pool, ["n"], "n / M")
    axes = axis("ridge", options.ridges) | axis("n", options.sizes)
    return by_seed(draws, "ridge", "n") | axes | {"share": share}


def _check_sizes(options: Any, rows: int) -> None:
    """What a plan does not see: whether there are as many rows."""
    if options.pool >= rows:
        raise ConfigurationError(
            f"learning_curve: pool: {options.pool} is not allowed; allowed: less than the task's "
            f"{rows} rows, of training and evaluation, so that some stay fresh"
        )
    if max(options.sizes) > options.pool:
        raise ConfigurationError(
            f"learning_curve: sizes: {max(options.sizes)} is not allowed; allowed: at most "
            f"{options.pool}, the rows of the pool"
        )


def _divided(options: Any, gram: Tensor, y: Tensor, seed: int) -> dict[str, Tensor]:
    """Prediction and measurement for one pool, by ridge and size."""
    rng = generator(seed, "split")
    order = torch.as_tensor(rng.permutation(len(gram)), device=gram.device)
    rows = _Rows(gram, y - y[order[: options.pool]].mean(0), order, options.pool)
    orders = [
        rows.pool[torch.as_tensor(rng.permutation(options.pool), device=gram.device)]
        for _ in range(options.training_sets)
    ]
    spectra, found = _spectra(rows, options.leading), []
    for ridge in np.array(options.ridges) * gram.diagonal().mean().item():
        predicted = _predicted(spectra, options.sizes, float(ridge))
        measured = _measured(rows, orders, options.sizes, float(ridge))
        found.append(predicted | measured | _ratios(predicted, measured))
    return {name: torch.stack([one[name] for one in found]) for name in found[0]}


@dataclass(frozen=True)
class _Rows:
    """Kernel and centred targets of all rows, whose order begins with those of the pool."""

    gram: Float[Tensor, "n n"]
    y: Float[Tensor, "n o"]
    order: Tensor
    size: int

    @property
    def pool(self) -> Tensor:
        """Places of the pool's rows."""
        return self.order[: self.size]

    @property
    def fresh(self) -> Tensor:
        """Places of the others."""
        return self.order[self.size :]


@dataclass(frozen=True)
class _Spectrum:
    """Eigenvalues, squared coefficients, and the sums of both behind those that are listed."""

    values: Float[Tensor, " m"]
    squares: Float[Tensor, " m"]
    values_behind: float = 0.0
    squares_behind: float = 0.0

    def curve(self, sizes: list[int], ridge: float) -> LearningCurve:
        """What lies behind is never learned: as eigenvalues a ridge, as targets noise."""
        more = ridge + self.values_behind, self.squares_behind
        return expected_curve(self.values, self.squares.sqrt(), sizes, *more)


def _spectra(rows: _Rows, leading: float) -> tuple[_Spectrum, _Spectrum]:
    """Of the pool, and its leading part with a fitted tail."""
    pairs = semidefinite_eigenpairs(rows.gram[rows.pool][:, rows.pool])
    values = pairs.values / rows.size
    squares = (pairs.vectors.T @ rows.y[rows.pool]).square().sum(1) / rows.size
    kept = max(2, round(leading * rows.size))
    tails = [power_law_tail(each, kept, TAIL * rows.size) for each in (values, squares)]
    (long, *behind), (shares, *left) = ((terms, rest.item()) for terms, rest in tails)
    return _Spectrum(values, squares), _Spectrum(long, shares, *behind, *left)


def _predicted(
    spectra: tuple[_Spectrum, _Spectrum], sizes: list[int], ridge: float
) -> dict[str, Tensor]:
    plain, with_tail = (spectrum.curve(sizes, ridge) for spectrum in spectra)
    return {
        "predicted": plain.error,
        "predicted_with_tail": with_tail.error,
        "predicted_learnability": plain.learnability.sum(1),
    }


def _measured(
    rows: _Rows, orders: list[Tensor], sizes: list[int], ridge: float
) -> dict[str, Tensor]:
    """Means over training sets, the first rows of each order; learnability of the first set."""
    errors = [[_errors(rows, order[:n], ridge) for n in sizes] for order in orders]
    pool, fresh = torch.tensor(errors, dtype=torch.float64).mean(0).unbind(1)
    grams = (rows.gram[orders[0][:n]][:, orders[0][:n]] for n in sizes)
    learned = torch.tensor(
        [total_learnability(gram, ridge=ridge) for gram in grams], dtype=torch.float64
    )
    return {"pool": pool, "fresh": fresh, "learnability": learned}


def _errors(rows: _Rows, chosen: Tensor, ridge: float) -> tuple[float, float]:
    """Mean squared errors, summed over outputs, on pool and fresh rows after training on some."""
    cross = rows.gram[:, chosen]
    f = ridge_regression(cross[chosen], cross, rows.y[chosen], ridge=ridge)
    errors = (f - rows.y).square().sum(1)
    return errors[rows.pool].mean().item(), errors[rows.fresh].mean().item()


def _ratios(predicted: dict[str, Tensor], measured: dict[str, Tensor]) -> dict[str, Tensor]:
    expected = {name: values.cpu() for name, values in predicted.items()}
    return {
        "pool_ratio": measured["pool"] / expected["predicted"],
        "fresh_ratio": measured["fresh"] / expected["predicted"],
        "tail_ratio": measured["fresh"] / expected["predicted_with_tail"],
        "learnability_ratio": measured["learnability"] / expected["predicted_learnability"],
    }
