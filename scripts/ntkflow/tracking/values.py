"""Numbers of a kernel: of the matrix where it is small, of its products where it is not."""

import math
from typing import NamedTuple, Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..dynamics.stable_steps import curvature_roots, curvature_weighted
from ..empirical import NtkOperator, empirical_ntk, ntk_operator, top_eigenpairs
from ..empirical.model import as_model
from ..linalg.batches import eigenvalues, largest_eigenvalues
from ..linalg.spectra import alignment, block_matrix, effective_rank, kernel_drift
from .subject import Subject

COLUMNS = (
    *("lambda_max", "sharpness", "trace", "trace_error", "effective_rank"),
    *("alignment", "alignment_error", "drift", "drift_error"),
)
# Leading eigenvectors at the start that are kept, and random directions beside them.
KEPT, PROBES = 8, 16
# Relative accuracy of eigenvalues by Lanczos.
TOLERANCE = 1e-6


class Meter(Protocol):
    """Measures a kernel; the first one that it measures is the start."""

    name: str

    def measure(self, subject: Subject) -> dict[str, float]:
        """The COLUMNS of the kernel at the present weights."""


class FormedKernel:
    """Values of the block kernel Theta as a matrix, exact but for rounding."""

    name = "formed"

    def __init__(self):
        self.start: Tensor | None = None

    def measure(self, subject: Subject) -> dict[str, float]:
        """The COLUMNS; no estimate, so that the errors are 0."""
        options = dict(parameters=subject.parameters, memory_budget=subject.memory_budget)
        block = empirical_ntk(subject.network, subject.x, **options).values.double()
        self.start = block if self.start is None else self.start
        matrix = block_matrix(block, by_input=True)
        spectrum = eigenvalues(matrix[None])[0]
        y = subject.targets
        return {
            "lambda_max": spectrum[0].item(),
            "sharpness": _formed_sharpness(subject, block, spectrum[0]),
            "trace": matrix.trace().item(),
            "trace_error": 0.0,
            "effective_rank": effective_rank(spectrum),
            "alignment": math.nan if y is None else alignment(matrix, y.reshape(-1)),
            "alignment_error": math.nan if y is None else 0.0,
            "drift": kernel_drift(block, self.start),
            "drift_error": 0.0,
        }


def _formed_sharpness(subject: Subject, block: Tensor, largest: Tensor) -> float:
    """Largest eigenvalue of S' Theta S, S S' = H; of the squared loss, H = 2 / N."""
    if subject.loss == "mse":
        return 2 * largest.item() / len(subject.x)
    curvature = subject.curvature()
    if not (block.isfinite().all() and curvature.isfinite().all()):
        return math.nan
    return largest_eigenvalues(curvature_weighted(block, curvature)[None]).item()


class Estimate(NamedTuple):
    """A number and its standard error."""

    value: float
    error: float

    def root(self) -> "Estimate":
        """Square root."""
        root = math.sqrt(self.value) if self.value >= 0 else math.nan
        return Estimate(root, self.error / (2 * root) if root else 0.0)

    def over(self, other: "Estimate") -> "Estimate":
        """Ratio; the errors count as independent."""
        if not other.value:
            return Estimate(math.nan, math.nan)
        ratio = self.value / other.value
        return Estimate(ratio, math.hypot(self.error, ratio * other.error) / abs(other.value))


class KernelProducts:
    """Values of the block kernel from its products with vectors; it is never formed.

    For every matrix A and orthonormal U, |A|^2 = |A U|^2 + E |A z|^2 over random signs z without
    their part along U. U are the leading eigenvectors at the start, where most of a tangent kernel
    lies, so that little is left to chance. Source: Meyer, Musco, Musco, Woodruff 2021
    (arXiv:2010.09649), Hutch++.
    """

    name = "products"

    def __init__(self):
        self.start: Tensor | None = None
        self.basis: Tensor | None = None

    def measure(self, subject: Subject) -> dict[str, float]:
        """The COLUMNS, estimates with their standard errors; no effective rank (NaN)."""
        options = dict(parameters=subject.parameters, memory_budget=subject.memory_budget)
        kernel = ntk_operator(subject.network, subject.x, **options)
        ones = torch.ones(kernel.shape[0], dtype=kernel.dtype, device=kernel.device)
        if not (kernel @ ones).isfinite().all():
            return dict.fromkeys(COLUMNS, math.nan)
        if self.basis is None:
            self.basis = _basis(kernel)
        images = (kernel @ self.basis).double()
        self.start = images if self.start is None else self.start
        largest = _largest_eigenvalue(kernel)
        trace = _sum((self.basis.double() * images).sum(0))
        size, before = _norm(images), _norm(self.start)
        drift = _norm(images - self.start).over(before)
        aligned = _alignment(subject, kernel, size)
        return {
            "lambda_max": largest,
            "sharpness": _sharpness(subject, largest),
            "trace": trace.value,
            "trace_error": trace.error,
            "effective_rank": math.nan,
            "alignment": aligned.value,
            "alignment_error": aligned.error,
            "drift": drift.value,
            "drift_error": drift.error,
        }


def _basis(kernel: NtkOperator) -> Float[Tensor, "m k"]:
    """Leading eigenvectors, and random signs without their part along these."""
    leading = top_eigenpairs(kernel, KEPT, tolerance=TOLERANCE).vectors.double()
    stream = np.random.default_rng(0)
    signs = torch.from_numpy(2.0 * stream.integers(0, 2, (kernel.shape[0], PROBES)) - 1)
    signs = signs.to(leading)
    return torch.cat([leading, signs - leading @ (leading.mT @ signs)], dim=1).to(kernel.dtype)


def _sum(terms: Float[Tensor, " k"]) -> Estimate:
    """Terms of the leading directions, and the mean over the others."""
    sure, probed = terms[:KEPT], terms[KEPT:]
    return Estimate((sure.sum() + probed.mean()).item(), (probed.std() / PROBES**0.5).item())


def _norm(images: Float[Tensor, "m k"]) -> Estimate:
    """Frobenius norm of a matrix from its products with the basis."""
    return _sum(images.square().sum(0)).root()


def _alignment(subject: Subject, kernel: NtkOperator, size: Estimate) -> Estimate:
    """Of Theta with the targets, y' Theta y / (|Theta| |y|^2)."""
    if subject.targets is None:
        return Estimate(math.nan, math.nan)
    y = subject.targets.reshape(-1)
    overlap = y @ (kernel @ y.to(kernel.dtype)).double() / y.square().sum()
    return Estimate(overlap.item(), 0.0).over(size)


def _largest_eigenvalue(kernel: NtkOperator) -> float:
    return top_eigenpairs(kernel, 1, tolerance=TOLERANCE).values.item()


def _sharpness(subject: Subject, largest: float) -> float:
    """Largest eigenvalue of S' Theta S: the kernel of the outputs S' f, S constant."""
    if subject.loss == "mse":
        return 2 * largest / len(subject.x)
    model = as_model(subject.network, subject.parameters)
    roots = curvature_roots(subject.curvature())

    def weighted(parameters: dict[str, Tensor], rows: Tensor) -> Tensor:
        f = model(parameters, subject.x[rows])
        return torch.einsum("no,nop->np", f, roots[rows].to(f))

    rows = torch.arange(len(subject.x), device=subject.x.device)
    options = dict(parameters=model.parameters, memory_budget=subject.memory_budget)
    return _largest_eigenvalue(ntk_operator(weighted, rows, **options))
