"""Eigenvalues of many matrices at once."""

import torch
from jaxtyping import Float
from torch import Tensor


def largest_eigenvalues(
    kernels: Float[Tensor, "s n n"], *, iterations: int = 20, tolerance: float = 1e-6
) -> Float[Tensor, " s"]:
    """Largest eigenvalue lambda of positive semi-definite matrices by Lanczos, batched.

    The Rayleigh quotient of a vector v with ||K v - lambda v|| <= tolerance * lambda, ||v|| = 1:
    an eigenvalue is as near as that, and nearer by the factor tolerance * lambda / gap, the gap
    being the distance of the next one (Parlett 1998, The Symmetric Eigenvalue Problem, 11.7).
    Matrices without such a v after `iterations` products go through `eigenvalues`, one by one.

    The start is one random direction, the same in every call; no particular vector, such as that
    of ones, would do, for kernels can be orthogonal to it. A result depends on nothing but its own
    matrix, to the last bit.

    Args:
        kernels: S matrices; NaN and infinity are allowed and give NaN.
        iterations: products with every matrix, at most n of them.
        tolerance: of the residual, relative to the eigenvalue.

    Examples:
        >>> from ntkflow.linalg.batches import largest_eigenvalues
        >>> largest_eigenvalues(torch.tensor([[[1.0, -1.0], [-1.0, 1.0]]])).round(decimals=5)
        tensor([2.])
    """
    if len(kernels) == 1:  # a product with one matrix rounds otherwise than one with several
        twice = kernels.expand(2, -1, -1)
        return largest_eigenvalues(twice, iterations=iterations, tolerance=tolerance)[:1]
    # The largest entry of a positive semi-definite matrix: its squares neither vanish nor overflow.
    scale = kernels.diagonal(dim1=1, dim2=2).amax(1)[:, None, None]
    v = _ritz_vectors(kernels, scale, iterations)
    v /= v.norm(dim=1, keepdim=True)
    image = torch.bmm(kernels, v) / scale
    found = (v * image).sum(1, keepdim=True)
    residual = (image - found * v).norm(dim=1, keepdim=True)
    values, passed = (found * scale).flatten(), (residual <= tolerance * found).flatten()
    for index in (~passed).nonzero().flatten().tolist():  # NaN has not passed
        values[index] = eigenvalues(kernels[index, None])[0, 0]
    return values


def eigenvalues(kernels: Float[Tensor, "s n n"]) -> Float[Tensor, "s n"]:
    """All eigenvalues of symmetric matrices, descending; NaN where a matrix is not finite."""
    sound = kernels.isfinite().all(-1).all(-1)
    values = torch.linalg.eigvalsh(kernels.where(sound[:, None, None], 0.0))
    return values.flip(-1).where(sound[:, None], torch.nan)


def _ritz_vectors(
    kernels: Float[Tensor, "s n n"], scale: Float[Tensor, "s 1 1"], iterations: int
) -> Float[Tensor, "s n 1"]:
    """What `iterations` products with K / scale know of the top eigenvectors, of any length.

    Lanczos without reorthogonalisation, which only the smaller eigenvalues need.
    """
    v = _start(kernels)
    before, beta = torch.zeros_like(v), v.new_zeros(len(v), 1, 1)
    basis, diagonal, beside = [], [], []
    for _ in range(min(iterations, v.shape[1])):
        w = torch.bmm(kernels, v) / scale
        alpha = (w * v).sum(1, keepdim=True)
        w.sub_(alpha * v).sub_(beta * before)
        basis.append(v)
        norm = w.norm(dim=1, keepdim=True)
        # An exhausted space ends in zeros, which are no larger than what was found.
        beta = norm.where(norm > torch.finfo(v.dtype).eps, 0.0)
        before, v = v, (w / beta).where(beta > 0, 0.0)
        diagonal.append(alpha.flatten())
        beside.append(beta.flatten())
    return torch.cat(basis, dim=2) @ _top_vectors(diagonal, beside[:-1]).to(v)


def _start(kernels: Float[Tensor, "s n n"]) -> Float[Tensor, "s n 1"]:
    """One random unit vector for every matrix."""
    count, size, _ = kernels.shape
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(size, 1, generator=generator, dtype=torch.float64)
    return (v / v.norm()).to(kernels).repeat(count, 1, 1)


def _top_vectors(diagonal: list[Tensor], beside: list[Tensor]) -> Float[Tensor, "s k 1"]:
    """Top eigenvectors of tridiagonal matrices; on the CPU, whose solver takes them one by one."""
    tridiagonal = torch.diag_embed(torch.stack(diagonal, dim=1))
    if beside:
        off = torch.stack(beside, dim=1)
        tridiagonal += torch.diag_embed(off, 1) + torch.diag_embed(off, -1)
    tridiagonal = tridiagonal.double().cpu()
    return torch.linalg.eigh(tridiagonal.where(tridiagonal.isfinite(), 0.0)).eigenvectors[..., -1:]
