"""Networks at initialisation: Gaussian process, and the limit of its moments."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, vmap

from ntkflow.limits import limit_kernels

from ..data.storage import Array
from ..derived.jackknife import pseudo_values
from .setting import Setting, by_seed


def _outputs(setting: Setting, draws: int) -> Tensor:
    """First output of so many networks at the training inputs, (draws, M)."""
    parts = [
        vmap(lambda p: functional_call(setting.network, p, (setting.x,)))(group)
        for group in setting.groups(draws)
    ]
    return torch.cat(parts)[..., 0].detach()


def output_kurtosis(options: Any, setting: Setting) -> dict[str, Array]:
    """Excess kurtosis E[f^4] / E[f^2]^2 - 3 of the outputs, 0 for a Gaussian process.

    Jackknife pseudo-values over groups of networks, whose mean and standard error are those of the
    kurtosis of all of them; `size` are those of its absolute value.
    """
    values = _outputs(setting, options.draws).cpu().numpy()
    moments = np.stack(
        [
            [(part**power).mean(axis=0) for power in (2, 4)]
            for part in np.array_split(values, options.groups)
        ]
    )

    def kurtosis(kept: np.ndarray) -> np.ndarray:
        second, fourth = kept.mean(axis=0)
        # Outputs that are 0 in every network have none.
        ratio = np.full_like(second, np.nan)
        return np.divide(fourth, second**2, out=ratio, where=second > 0) - 3

    sign = np.sign(kurtosis(moments))
    rows = [{"kurtosis": one, "size": sign * one} for one in pseudo_values(kurtosis, moments)]
    return by_seed(rows, "sample") | {"input": Array(setting.x[:, 0].cpu().numpy(), ["sample"])}


def output_covariance(options: Any, setting: Setting) -> dict[str, Array]:
    """Products f(x_i) f(x_j) over initialisations, whose mean is the covariance, and the limit's.

    The limit is the recursive covariance Sigma of the output (Jacot et al. 2018, Proposition 1).
    """
    values = _outputs(setting, options.draws)
    rows, columns = torch.triu_indices(len(setting.x), len(setting.x)).to(values.device)
    products = values[:, rows] * values[:, columns]
    nngp = limit_kernels(setting.network, setting.x).nngp[rows, columns]
    found = by_seed([{"product": product} for product in products], "pair")
    return found | {"expected": Array(nngp.cpu().numpy(), ["pair"])}
