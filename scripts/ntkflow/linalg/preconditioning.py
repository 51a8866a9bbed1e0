"""Low-rank approximations of a semi-definite matrix, and the preconditioner that they make."""

import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import linear

from .solving import slices

# Pivots proposed together, and columns of a factor that are held in float64 at once.
_BLOCK, _COLUMNS = 128, 2048
# Rows of a Gram matrix that are computed together, as far as the diagonal.
_BLOCK_ROWS = 512
# Part of the largest eigenvalue of a sketch that is no rounding of products in float32.
_POSITIVE = 1e-5


def randomly_pivoted_cholesky(
    rows: Callable[[Tensor], Tensor],
    diagonal: Float[Tensor, " n"],
    rank: int,
    *,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
) -> Float[Tensor, "r n"]:
    """Factor F' with F F' near K, its pivots drawn in proportion to the diagonal of K - F F'.

    Source: Chen, Epperly, Tropp and Webber 2023, arXiv:2207.06503, Algorithm 2.1; many pivots are
    proposed at once and taken or rejected as if one by one, Epperly, Tropp and Webber 2024,
    arXiv:2410.03969, so that near-duplicates within a block cost no rank.

    Args:
        rows: maps B indices to these rows of K, (B, n).
        diagonal: of K, in float64.
        rank: most rows of F'; fewer if K is of lower rank to working precision.
        dtype: type of F'.
        seed: of the pivots.

    It ends early where K - F F' has a diagonal that is negative beyond rounding: K is indefinite
    then, which a ridge may mend.
    """
    stream = np.random.default_rng(seed)
    left, eps = diagonal.double().cpu().numpy().copy(), torch.finfo(dtype).eps
    level, trace = math.sqrt(eps) * np.abs(left).max(), np.abs(left).sum()
    found = torch.empty(rank, len(left), dtype=dtype, device=diagonal.device)
    count = 0
    while count < rank and left.min() >= -level and left.sum() > eps * trace:
        left = np.maximum(left, 0.0)
        pivots = stream.choice(len(left), min(_BLOCK, len(left)), p=left / left.sum())
        index = torch.from_numpy(pivots).to(found.device)
        residual = rows(index).to(dtype)
        residual = residual - found[:count, index].T @ found[:count]
        taken = _accept(residual[:, index].double().cpu().numpy(), left[pivots], stream)
        taken = torch.tensor(taken[: rank - count], device=found.device)
        if not len(taken):
            break
        square = residual[taken][:, index[taken]].double()
        new = torch.linalg.solve_triangular(
            torch.linalg.cholesky(square).to(dtype), residual[taken], upper=False
        )
        found[count : count + len(taken)] = new
        count += len(taken)
        left -= new.double().square().sum(0).cpu().numpy()
        left[index[taken].cpu().numpy()] = 0.0
    return found[:count]


def _accept(residual: np.ndarray, proposed: np.ndarray, stream: np.random.Generator) -> list[int]:
    """Candidates that a draw one by one would have taken; `proposed` is what they were drawn by."""
    taken, floor = [], 1e-6 * proposed
    chance = stream.random(len(proposed)) * proposed
    for i in range(len(residual)):
        if residual[i, i] > max(chance[i], floor[i]):
            column = residual[:, i] / math.sqrt(residual[i, i])
            residual = residual - np.outer(column, column)
            taken.append(i)
    return taken


def nystrom(
    product: Callable[[Tensor], Tensor],
    size: int,
    rank: int,
    *,
    device: torch.device,
    seed: int = 0,
) -> Float[Tensor, "r n"]:
    """Factor F' with F F' near K from products with random vectors, in float64.

    F F' = Y (Q'Y)^-1 Y' with Y = K Q, Q orthonormal and such that Q'Y is diagonal, without what is
    not positive beyond rounding (Frangella, Tropp and Udell 2021, arXiv:2110.02820, section 2.2).
    """
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(size, rank, generator=generator, dtype=torch.float64).to(device)
    basis = torch.linalg.qr(start).Q
    image = product(basis)
    square = basis.T @ image
    values, vectors = torch.linalg.eigh((square + square.T) / 2)
    kept = values > _POSITIVE * values[-1]
    return (vectors[:, kept] / values[kept].sqrt()).T @ image.T


class LowRankPreconditioner:
    """P^-1 = (s_r + lambda) U (S + lambda I)^-1 U' + I - U U' for F F' = U S U' of rank r.

    Eigenvalues of P^-1 (K + lambda I) are near s_r + lambda, whatever is above s_r in K (Frangella
    et al. 2021, arXiv:2110.02820, eq. 1.3). U is orthonormal to the rounding of its type: the same
    map written with F and Woodbury's formula loses the small directions to cancellation.

    Args:
        factor: F' (r, n), overwritten by U'.
    """

    def __init__(self, factor: Float[Tensor, "r n"]):
        pieces = range(0, factor.shape[1], _COLUMNS)
        gram = factor.new_zeros(len(factor), len(factor), dtype=torch.float64)
        for start in pieces:
            piece = factor[:, start : start + _COLUMNS].double()
            for rows in slices(len(factor), _BLOCK_ROWS):
                gram[rows, : rows.stop].addmm_(piece[rows], piece[: rows.stop].T)
        values, vectors = torch.linalg.eigh(gram)  # of the lower triangle, which is what is there
        kept = values > 1e-13 * values.sum()
        self.values = values[kept]
        turn = vectors[:, kept].T / self.values.sqrt()[:, None]
        for start in pieces:
            piece = factor[:, start : start + _COLUMNS]
            piece[: len(turn)] = (turn @ piece.double()).to(factor)
        self.vectors = factor[: len(turn)]

    def apply(self, v: Float[Tensor, "n k"], ridge: float | int) -> Float[Tensor, "n k"]:
        """P^-1 v for any ridge lambda >= 0."""
        if not len(self.values):
            return v
        shrink = 1 - (self.values[0] + ridge) / (self.values + ridge)
        # Skinny products are fast where right-hand sides are rows.
        within = linear(v.T.to(self.vectors).contiguous(), self.vectors)
        return v - ((within * shrink.to(within)) @ self.vectors).T.double()
