"""What is measured on an infinitely wide network: counterparts of `measurements`, in float64."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from ntkflow.limits import circle_eigenvalues, limit_kernels
from ntkflow.linalg.spectra import alignment, eigenvalues

from ..data.inputs import circle_point, load_probe, load_training_set
from ..data.storage import Array, StageFile
from .modes import spectrum_arrays

LimitMeasurement = Callable[[Mapping[str, Any], nn.Module, StageFile, str], dict[str, Array]]


def measure_limit(
    entries: Sequence[Mapping[str, Any]], network: nn.Module, data: StageFile, device: str
) -> dict[str, Array]:
    """Measurements of the infinitely wide version of a network.

    Args:
        entries: measurement blocks of the configuration; `kind` picks the function.
        network: the architecture; its widths do not matter.
        data: the data set's file.
        device: where to compute.

    Returns:
        `kind/name` to array, coordinates of its axes included.
    """
    arrays: dict[str, Array] = {}
    for entry in entries:
        arrays |= LIMIT_MEASUREMENTS[entry["kind"]](entry, network, data, device)
    return arrays


def _profile(entry, network, data: StageFile, device: str) -> dict[str, Array]:
    """Limit NTK Theta(x0, x(gamma))."""
    where = dict(dtype=torch.float64, device=device)
    anchor, probe = circle_point(entry["anchor_angle"], **where), load_probe(data, **where)
    theta = limit_kernels(network, anchor, probe).ntk[0]
    return {
        "profile/gamma": data.array("probe/gamma"),
        "profile/theta": Array(theta.cpu().numpy(), ["gamma"], "limit NTK, per output"),
    }


def _kernel(entry, network, data: StageFile, device: str) -> dict[str, Array]:
    """Limit Gram matrix on the training set: top eigenvalue, trace, alignment with the target."""
    x, y = load_training_set(data, dtype=torch.float64, device=device)
    gram = limit_kernels(network, x).ntk.cpu().numpy()
    numbers = {
        "lambda_max": (eigenvalues(gram)[0] / len(x), "largest eigenvalue of K / M"),
        "trace": (np.trace(gram) / len(x), "trace of K / M"),
        "alignment": (alignment(gram, y.cpu().numpy()), "cosine of K and y y'"),
    }
    return {
        f"kernel/{name}": Array(np.asarray(v), [], units) for name, (v, units) in numbers.items()
    }


def _spectrum(entry, network, data: StageFile, device: str) -> dict[str, Array]:
    """Leading eigenvalues of the limit Gram matrix over M on the training set."""
    x, _ = load_training_set(data, dtype=torch.float64, device=device)
    return spectrum_arrays(limit_kernels(network, x).ntk.cpu().numpy(), entry["eigenvalues"])


def _gram(entry, network, data: StageFile, device: str) -> dict[str, Array]:
    """Limit Gram matrix, not divided by n: counterpart of `gram_measurements.gram`."""
    x, _ = load_training_set(data, dtype=torch.float64, device=device)
    matrix = limit_kernels(network, x).ntk.cpu().numpy()
    top, trace = eigenvalues(matrix)[0], np.trace(matrix)
    numbers = {
        "lambda_max": (top, "largest eigenvalue of K"),
        "lambda_max_per_n": (top / len(x), "largest eigenvalue of K / n"),
        "trace": (trace, "trace of K"),
        "trace_per_n": (trace / len(x), "trace of K / n, the mean eigenvalue of K"),
        "share": (top / trace, "lambda_max / trace"),
    }
    return {f"gram/{name}": Array(np.asarray(v), [], units) for name, (v, units) in numbers.items()}


def _circle_spectrum(entry, network, data: StageFile, device: str) -> dict[str, Array]:
    """Eigenvalue of the limit NTK for every Fourier mode on the circle."""
    modes = range(entry["max_mode"] + 1)
    values = circle_eigenvalues(network, modes)
    return {
        "circle_spectrum/mode": Array(np.array(modes), ["mode"], "periods per turn"),
        "circle_spectrum/eigenvalue": Array(
            values.cpu().numpy(), ["mode"], "Gram eigenvalue over the number of grid points"
        ),
    }


LIMIT_MEASUREMENTS: dict[str, LimitMeasurement] = {
    "profile": _profile,
    "kernel": _kernel,
    "spectrum": _spectrum,
    "gram": _gram,
    "circle_spectrum": _circle_spectrum,
}
