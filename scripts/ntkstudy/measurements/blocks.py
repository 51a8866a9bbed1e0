"""How block kernels couple the outputs of a network, and how far they are from their limit."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ntkflow.dynamics.training_dynamics import TrainingDynamics
from ntkflow.empirical import empirical_ntk
from ntkflow.limits import limit_kernels
from ntkflow.linalg.spectra import alignment, block_matrix

from ..data.inputs import load_probe, load_training_set
from ..data.storage import Array, StageFile
from .members import Ensemble
from .networks import Member


def block_structure(entry: Mapping[str, Any], member: Member, data: StageFile) -> dict[str, Array]:
    """Size, coupling of outputs and alignment of the block kernel on the first training images."""
    block, y = _block(entry, member, data)
    diagonal = block.diagonal(dim1=0, dim2=1)
    whole, equal = block.norm(), diagonal.norm()
    # The original looked at the first 100 x 100 entries, ten images with ten outputs each.
    corner = block[..., :10, :10]
    size = sum(p.numel() for p in member.parameters.values())
    numbers = {
        "parameters": (size, "number of weights and biases"),
        "coupling": (
            (whole**2 - equal**2).clamp(min=0).sqrt() / equal,
            "Frobenius norm of the blocks of different outputs over that of equal ones",
        ),
        "largest": (corner.max(), "largest entry for the first ten images"),
        "norm": (whole, "Frobenius norm"),
        "alignment": (
            alignment(block_matrix(block).numpy(), y.T.reshape(-1, 1).numpy()),
            "cosine of the block kernel and y y'",
        ),
    }
    return {
        f"block_structure/{name}": Array(np.asarray(float(value)), [], unit)
        for name, (value, unit) in numbers.items()
    }


def kernel_corner(entry: Mapping[str, Any], member: Member, data: StageFile) -> dict[str, Array]:
    """The block kernel of the first training images as a matrix, image by image, for a picture."""
    block, _ = _block(entry, member, data)
    matrix = block.permute(2, 0, 3, 1).flatten(2, 3).flatten(0, 1)
    return {
        "kernel_corner/entry": Array(
            matrix.numpy(), ["row", "column"], "row: image times outputs plus output"
        )
    }


def _block(entry: Mapping[str, Any], member: Member, data: StageFile) -> tuple[Tensor, Tensor]:
    x, y = (tensor[: entry["images"]] for tensor in load_training_set(data, **member.where))
    kernel = empirical_ntk(member.network, x, parameters=member.parameters)
    return kernel.values.double().cpu(), y.double().cpu()


def limit_distance(
    entry: Mapping[str, Any], ensemble: Ensemble, data: StageFile
) -> dict[str, Array]:
    """How far kernels (mean over outputs) are from their limit, each alone and in the mean.

    `sample`: ||K - K_inf|| / ||K_inf||. `mean_square`: <K - K_inf, K' - K_inf> / ||K_inf||^2 with
    the next network's K'; its expectation is the squared relative distance of E[K] from K_inf,
    without the noise of few networks. `scale`: <K, K_inf> / ||K_inf||^2 - 1.
    """
    where = {**ensemble.where, "dtype": torch.float64}
    x = load_training_set(data, **where)[0][: entry["images"]]
    limit = limit_kernels(ensemble.network, x).ntk
    size = limit.norm()
    off = torch.stack(
        [
            empirical_ntk(
                ensemble.network,
                x,
                parameters={name: p.double() for name, p in one.parameters.items()},
                outputs="mean",
            ).values
            - limit
            for one in ensemble.members()
        ]
    )
    off = (off / size).flatten(1)
    next_one = off.roll(-1, dims=0) if len(off) > 1 else off * np.nan
    columns = {
        "sample": (off.norm(dim=1), "relative to the limit"),
        "mean_square": ((off * next_one).sum(1), "squared, relative to the limit"),
        "scale": (off @ (limit / size).flatten(), "relative to the limit"),
    }
    return {
        f"limit_distance/{name}": Array(values.detach().cpu().numpy(), ["seed"], unit)
        for name, (values, unit) in columns.items()
    }


def limit_gap(entry: Mapping[str, Any], ensemble: Ensemble, data: StageFile) -> dict[str, Array]:
    """How far networks are from infinite width after as many steps, on the test inputs.

    ||f - f_inf|| / ||f_inf|| over all outputs, f_inf the mean of the infinitely wide network, for
    gradient descent on the squared error with a centred network; and the share of the inputs whose
    largest output differs.
    """
    where = {**ensemble.where, "dtype": torch.float64}
    (x, y), test_x = load_training_set(data, **where), load_probe(data, **where)
    limit = limit_kernels(ensemble.network, x).ntk
    dynamics = TrainingDynamics(limit, learning_rate=ensemble.training["learning_rate"])
    cross = limit_kernels(ensemble.network, test_x, x).ntk
    f_inf = dynamics.mean(cross, y, ensemble.step)
    found = [one.outputs(test_x.to(**ensemble.where)).double() for one in ensemble.members()]
    # At step 0 both are zero.
    gaps = [float((f - f_inf).norm() / f_inf.norm()) if ensemble.step else np.nan for f in found]
    differs = [float((f.argmax(1) != f_inf.argmax(1)).double().mean()) for f in found]
    return {
        "limit_gap/gap": Array(np.array(gaps), ["seed"], "relative to infinite width"),
        "limit_gap/disagreement": Array(np.array(differs), ["seed"], "share of the test inputs"),
    }


BLOCK_MEASUREMENTS = {"block_structure": block_structure, "kernel_corner": kernel_corner}
