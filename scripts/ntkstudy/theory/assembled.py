"""Regression with an assembled kernel, beside that with one made in one piece."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ntkflow.empirical.stored import open_square_tiles
from ntkflow.regression.fitting import kernel_ridge

from ..data.dataset import DataSet
from ..subjects.tiles import AssembledKernel


def compared_regressions(
    options: Any, kernel: AssembledKernel, data: DataSet
) -> tuple[dict[str, list[float]], float]:
    """Accuracy, squared error, residual, disagreement by ridge; largest difference of an entry."""
    tiled, where = kernel.tiled, dict(dtype=torch.float64, device=kernel.tiled.x.device)
    (x, y), probe = data.training_set(**where), data.probe(**where)
    dense, cross = tiled.between(x).cpu(), tiled.between(probe, x).cpu()
    # Rows are training rows, or pairs of one and an output.
    targets = (y if tiled.repeats == 1 else y.reshape(-1, 1)).cpu()
    true, scale = data.targets(**where).cpu(), dense.diagonal().mean().item()
    names = ("accuracy", "squared_error", "residual", "disagreement")
    found: dict[str, list[float]] = {name: [] for name in names}
    for ridge in [share * scale for share in options.ridges]:
        settings = dict(tolerance=options.tolerance, data=tiled.x)
        fit = kernel_ridge(kernel.path, targets, ridge, **settings)
        predicted, expected = fit.predict(cross), cross @ _solved(dense, targets, ridge)
        outputs = predicted.reshape(len(probe), -1)
        right = outputs.argmax(1) == true.argmax(1)
        found["accuracy"].append(right.double().mean().item())
        found["squared_error"].append((outputs - true).square().sum(1).mean().item())
        found["residual"].append(fit.residual)
        found["disagreement"].append(((predicted - expected).norm() / expected.norm()).item())
    return found, _kernel_error(kernel.path, dense)


def _solved(
    dense: Float[Tensor, "n n"], targets: Float[Tensor, "n k"], ridge: float
) -> Float[Tensor, "n k"]:
    """(K + ridge)^-1 y by a factor in float64."""
    regular = dense + ridge * torch.eye(len(dense), dtype=dense.dtype)
    return torch.cholesky_solve(targets, torch.linalg.cholesky(regular))


def _kernel_error(path: str, dense: Float[Tensor, "n n"]) -> float:
    """Largest difference of an entry in the file, over the largest entry."""
    stored, errors = open_square_tiles(path), []
    for rows in torch.arange(len(dense)).split(stored.side):
        i = slice(int(rows[0]), int(rows[-1]) + 1)
        errors.append((torch.from_numpy(stored.rows(i)) - dense[i]).abs().max())
    return (torch.stack(errors).max() / dense.abs().max()).item()
