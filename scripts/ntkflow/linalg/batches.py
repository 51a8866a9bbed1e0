"""Eigenvalues of many matrices at once."""

import torch
from jaxtyping import Float
from torch import Tensor


def largest_eigenvalues(
    kernels: Float[Tensor, "s n n"], *, iterations: int = 20
) -> Float[Tensor, " s"]:
    """Largest eigenvalue of positive semi-definite matrices by `iterations` of Lanczos, batched.

    The relative error falls like exp(-4 k sqrt(gap)) after k iterations, gap the relative distance
    of the second eigenvalue (Saad 2011, Numerical Methods for Large Eigenvalue Problems, 6.6).
    Without reorthogonalisation, which only the smaller eigenvalues need. NaN stays NaN.
    """
    count, size, _ = kernels.shape
    v = torch.ones(count, size, 1, dtype=kernels.dtype, device=kernels.device) / size**0.5
    before, beta = torch.zeros_like(v), v.new_zeros(count, 1, 1)
    diagonal, beside = [], []
    for _ in range(min(iterations, size)):
        w = torch.bmm(kernels, v)
        alpha = (w * v).sum(1, keepdim=True)
        w.sub_(alpha * v).sub_(beta * before)
        norm = w.norm(dim=1, keepdim=True)
        # An exhausted space ends in zeros, which are no larger than what was found.
        beta = norm.where(norm > 1e-14 * alpha.abs(), 0.0)
        before, v = v, (w / beta.where(beta > 0, 1.0)).where(beta > 0, 0.0)
        diagonal.append(alpha.flatten())
        beside.append(beta.flatten())
    tridiagonal = torch.diag_embed(torch.stack(diagonal, dim=1))
    off = torch.stack(beside[:-1], dim=1) if len(beside) > 1 else v.new_zeros(count, 0)
    tridiagonal += torch.diag_embed(off, 1) + torch.diag_embed(off, -1)
    return eigenvalues(tridiagonal)[:, 0]


def eigenvalues(kernels: Float[Tensor, "s n n"]) -> Float[Tensor, "s n"]:
    """All eigenvalues of symmetric matrices, descending; NaN where a matrix is not finite."""
    sound = kernels.isfinite().all(-1).all(-1)
    values = torch.linalg.eigvalsh(kernels.where(sound[:, None, None], 0.0))
    return values.flip(-1).where(sound[:, None], torch.nan)
