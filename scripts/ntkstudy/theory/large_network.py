"""The spectrum of a block kernel from products alone, beside that of the kernel itself."""

import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ntkflow.empirical import (
    Eigenpairs,
    NtkOperator,
    empirical_ntk,
    gradient_norms,
    ntk_operator,
    top_eigenpairs,
)
from ntkflow.errors import ConfigurationError
from ntkflow.linalg.estimates import Estimate
from ntkflow.linalg.spectra import alignment, block_matrix, effective_rank
from ntkflow.linalg.spectral_density import SpectralDensity, spectral_density
from ntkflow.networks import member

from ..data.storage import Array
from .costs import peak_gigabytes
from .setting import Setting, axis

QUANTITIES = ("trace", "frobenius norm", "effective rank", "alignment")


@dataclass(frozen=True)
class Products:
    """What products with the kernel of some rows tell.

    Attributes:
        operator: the kernel.
        targets: centred, in the order of the operator.
        top: leading eigenpairs.
        density: of the spectrum, these deflated.
        overlap: y' Theta y of the targets y.
    """

    operator: NtkOperator
    targets: Float[Tensor, " m"]
    top: Eigenpairs
    density: SpectralDensity
    overlap: Float[Tensor, ""]

    @classmethod
    def of(cls, options: Any, network: dict, x: Tensor, y: Tensor) -> "Products":
        """Eigenpairs one after the other, then all random vectors together."""
        operator = ntk_operator(**network, x1=x, memory_budget=options.memory_budget)
        top = top_eigenpairs(operator, options.eigenvalues, tolerance=options.tolerance)
        settings = dict(probes=options.probes, steps=options.steps, deflate=top.vectors)
        density = spectral_density(operator, **settings)
        targets = (y - y.mean(0)).flatten()
        overlap = targets @ (operator @ targets)
        return cls(operator, targets, top, density, overlap)

    @property
    def estimates(self) -> list[Estimate]:
        """Of `QUANTITIES`."""
        d = self.density
        aligned = d.alignment(self.overlap, self.targets)
        return [d.trace(), d.frobenius_norm(), d.effective_rank(), aligned]


class LargeNetwork:
    """A network with what is measured on all rows and on the first few."""

    def __init__(self, options: Any, setting: Setting):
        self.options, x, y = options, setting.x.float(), setting.y.float()
        _check_rows(options, *y.shape)
        weights = {n: p.float() for n, p in member(setting.parameters([0]), 0).items()}
        self.network = dict(network=setting.network, parameters=weights)
        self.rows, self.weights = len(x), sum(p.numel() for p in weights.values())
        begin = time.perf_counter()
        self.all = Products.of(options, self.network, x, y)
        self.trace = gradient_norms(**self.network, x=x).double().square().sum().item()
        self.seconds, self.peak_gigabytes = time.perf_counter() - begin, peak_gigabytes()
        self._few = x[: options.compared_rows], y[: options.compared_rows]

    @cached_property
    def few(self) -> Products:
        """On the compared rows."""
        if len(self._few[0]) == self.rows:
            return self.all
        return Products.of(self.options, self.network, *self._few)

    @cached_property
    def kernel(self) -> Float[np.ndarray, "m m"]:
        """Of the compared rows, formed layer by layer in float64."""
        x, weights = self._few[0].double(), self.network["parameters"]
        double = {name: p.double() for name, p in weights.items()}
        found = empirical_ntk(self.network["network"], x, parameters=double)
        return block_matrix(found.values, by_input=True).numpy()

    @cached_property
    def eigenvalues(self) -> Float[np.ndarray, " m"]:
        """Of this kernel, descending."""
        return np.linalg.eigvalsh(self.kernel)[::-1]

    @property
    def exact(self) -> list[float]:
        """`QUANTITIES` of this kernel."""
        values, aligned = self.eigenvalues, alignment(self.kernel, self.few.targets.numpy())
        return [values.sum(), np.linalg.norm(values), effective_rank(values), aligned]


def _check_rows(options: Any, rows: int, outputs: int) -> None:
    """What a plan does not see: whether there are as many rows and eigenvalues."""
    compared = options.compared_rows
    if compared > rows:
        raise ConfigurationError(
            f"large_network: compared_rows: {compared} is not allowed; allowed: at most the {rows} "
            "training rows"
        )
    if options.eigenvalues >= compared * outputs:
        raise ConfigurationError(
            f"large_network: eigenvalues: {options.eigenvalues} is not allowed; allowed: less than "
            f"the {compared * outputs} of {compared} compared rows with {outputs} output(s)"
        )


def _measured(options: Any, setting: Setting) -> LargeNetwork:
    """Once for all tables with the same options."""
    return setting.once(f"large network {options}", lambda: LargeNetwork(options, setting))


def spectrum(options: Any, setting: Setting) -> dict[str, Array]:
    """Leading eigenvalues, and what they cost."""
    large = _measured(options, setting)
    first, few = large.eigenvalues[: options.eigenvalues], large.few.top.values.double().numpy()
    columns = {
        "eigenvalue": large.all.top.values,
        "residual": large.all.top.residual_norms / large.all.top.values[0],
        "compared_eigenvalue": few,
        "formed_eigenvalue": first.copy(),
        "difference": np.abs(few - first) / first[0],
    }
    costs = {
        "rows": large.rows,
        "weights": large.weights,
        "columns": len(large.all.targets),
        "products": large.all.operator.products,
        "seconds": large.seconds,
        "peak_gigabytes": large.peak_gigabytes,
        "compared_rows": options.compared_rows,
    }
    arrays = {name: Array(np.asarray(values), ["rank"]) for name, values in columns.items()}
    arrays |= {name: Array(np.array(value), []) for name, value in costs.items()}
    return arrays | axis("rank", np.arange(1, options.eigenvalues + 1))


def estimates(options: Any, setting: Setting) -> dict[str, Array]:
    """Quantities of the whole spectrum, and how far they are from those of the kernel formed."""
    large = _measured(options, setting)
    value, error = np.array(large.all.estimates).T
    few, few_error = np.array(large.few.estimates).T
    formed = np.array(large.exact)
    columns = {
        "value": value,
        "standard_error": error,
        "exact": np.array([large.trace, *[np.nan] * (len(QUANTITIES) - 1)]),
        "compared_value": few,
        "compared_error": few_error,
        "formed_value": formed,
        "difference": np.abs(few / formed - 1),
        "deviation": np.abs(few - formed) / few_error,
        "rows": np.full(len(QUANTITIES), large.rows),
    }
    arrays = {name: Array(values, ["quantity"]) for name, values in columns.items()}
    return arrays | axis("quantity", QUANTITIES)


def density(options: Any, setting: Setting) -> dict[str, Array]:
    """Histograms of the spectrum over relative sizes."""
    large = _measured(options, setting)
    inner = 10.0 ** -np.arange(options.bins - 1.0, -1, -1)
    columns = {"below": inner, "columns": np.full(options.bins, len(large.all.targets))}
    for name, products in {"": large.all, "compared_": large.few}.items():
        count, error = products.density.histogram(_edges(inner, products))
        columns |= {f"{name}count": count.numpy(), f"{name}error": error.numpy()}
    edges = _edges(inner, large.few).numpy()
    columns["formed_count"] = np.histogram(large.eigenvalues, edges)[0]
    arrays = {name: Array(values, ["bin"]) for name, values in columns.items()}
    return arrays | axis("bin", np.arange(options.bins))


def _edges(inner: Float[np.ndarray, " b"], products: Products) -> Float[Tensor, " e"]:
    """In the units of eigenvalues, with room for rounding at both ends."""
    largest = products.top.values[0].item()
    relative = np.concatenate([[-1.0], inner[:-1], [1.001]])
    return torch.from_numpy(relative * largest)
