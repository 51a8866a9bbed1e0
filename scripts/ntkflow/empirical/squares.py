"""Squared norms of the gradients that factors stand for."""

import torch
from jaxtyping import Float
from torch import Tensor

from .factors import EmbeddingFactor, Factor, JacobianFactor, ReadoutFactor


def squares(factor: Factor) -> Float[Tensor, "s n"]:
    """The product of every row with itself, output by output; one row for all of a readout."""
    if isinstance(factor, ReadoutFactor):
        return factor.inputs.square().sum(-1)[None]
    if isinstance(factor, JacobianFactor):
        return factor.rows.square().sum(-1)
    g = factor.gradients
    if isinstance(factor, EmbeddingFactor):
        scale = (factor.indices[:, None] == factor.indices).to(g.dtype)
    else:
        scale = torch.einsum("tnd,und->tun", factor.inputs, factor.inputs)
    if len(scale) == 1:
        return scale[0, 0] * g[0].square().sum(-1)
    return torch.einsum("tun,tsnc,usnc->sn", scale, g, g)
