"""Squared norms of the gradients that factors stand for."""

import torch
from jaxtyping import Float
from torch import Tensor

from .factors import EmbeddingFactor, Factor, JacobianFactor, ReadoutFactor, TiedFactor


def squares(factor: Factor) -> Float[Tensor, "s n"]:
    """The product of every row with itself, output by output; one row for all of a readout."""
    if isinstance(factor, ReadoutFactor):
        return factor.inputs.square().sum(-1)[None]
    if isinstance(factor, JacobianFactor):
        return factor.rows.square().sum(-1)
    if isinstance(factor, TiedFactor):
        return squares(factor.table) + squares(factor.matrix) + 2 * _mixed(factor)
    g = factor.gradients
    if isinstance(factor, EmbeddingFactor):
        scale = (factor.indices[:, None] == factor.indices).to(g.dtype)
    else:
        scale = torch.einsum("tnd,und->tun", factor.inputs, factor.inputs)
    if len(scale) == 1:
        return scale[0, 0] * g[0].square().sum(-1)
    return torch.einsum("tun,tsnc,usnc->sn", scale, g, g)


def _mixed(factor: TiedFactor) -> Float[Tensor, "s n"]:
    """The product of the two uses of a table."""
    indices, g = factor.table.indices.mT, factor.matrix.gradients
    picked = g.gather(3, indices.expand(*g.shape[:2], *indices.shape))
    return torch.einsum("tsnp,tnd,psnd->sn", picked, factor.matrix.inputs, factor.table.gradients)
