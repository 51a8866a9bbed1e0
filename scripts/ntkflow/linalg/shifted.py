"""One Krylov space for many ridges."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import KernelError
from .conjugate_gradients import Product, orthonormal_basis
from .preconditioning import LowRankPreconditioner

# Share of a vector that is outside the space, below which it is rounding.
_NEW = 1e-9


def shifted_solutions(
    multiply: Product,
    preconditioner: LowRankPreconditioner | None,
    rhs: Float[Tensor, "n k"],
    shifts: Sequence[float],
    *,
    tolerance: float,
    most: int = 4000,
) -> Float[Tensor, "s n k"]:
    """(K + lambda I)^-1 Y for every shift lambda, by Galerkin's condition in one space.

    The space has an orthonormal basis W with K W beside it; X = W (W'KW + lambda I)^-1 W'Y costs
    nothing of size K for another lambda. It grows by the preconditioned residuals of the shift that
    is worst off, so that a product with K serves all shifts; without a preconditioner it is the
    block Krylov space that all shifts share.

    Args:
        multiply: K v for float64 v (n, k), in float64.
        preconditioner: of K, for any shift.
        rhs: Y.
        shifts: each >= 0.
        tolerance: of the relative residual of every right-hand side and shift.
        most: columns of W; both W and K W are held, in float64.

    Raises:
        KernelError: if `most` columns do not suffice, or rounding is in the way.
    """
    sizes = rhs.norm(dim=0)
    sizes = sizes.where(sizes > 0, 1.0)
    space = rhs.new_zeros(len(rhs), 0)
    image, worst = space, (float("inf"), 0, rhs)
    while space.shape[1] < most:
        shift = shifts[worst[1]]
        new = worst[2] if preconditioner is None else preconditioner.apply(worst[2], shift)
        new = _beyond(space, new)
        if not new.shape[1]:
            break
        space, image = torch.cat([space, new], 1), torch.cat([image, multiply(new)], 1)
        found = _galerkin(space, image, rhs, shifts)
        residuals = [
            rhs - image @ c - shift * (space @ c) for shift, c in zip(shifts, found, strict=True)
        ]
        errors = [(r.norm(dim=0) / sizes).max().item() for r in residuals]
        index = max(range(len(shifts)), key=errors.__getitem__)
        worst = errors[index], index, residuals[index]
        if worst[0] <= tolerance:
            return torch.stack([space @ c for c in found])
    raise KernelError(
        f"ridges: the relative residual at ridge {shifts[worst[1]]:.3g} is {worst[0]:.1e} instead "
        f"of {tolerance:.1e} in a space of {space.shape[1]} vectors; use larger ridges, or a "
        "larger tolerance"
    )


def _beyond(space: Float[Tensor, "n m"], v: Float[Tensor, "n k"]) -> Float[Tensor, "n r"]:
    """Orthonormal columns of what vectors have outside the space; none if that is rounding."""
    outside = v - space @ (space.T @ v)
    kept = outside.norm(dim=0) > _NEW * v.norm(dim=0)
    for _ in range(2):  # once more, for a small difference has large rounding
        outside = orthonormal_basis(outside[:, kept])
        outside = outside - space @ (space.T @ outside)
        kept = slice(None)
    return orthonormal_basis(outside)[:, : len(space) - space.shape[1]]


def _galerkin(
    space: Tensor, image: Tensor, rhs: Tensor, shifts: Sequence[float]
) -> list[Float[Tensor, "m k"]]:
    """Coefficients in the space for every shift."""
    square = space.T @ image
    values, vectors = torch.linalg.eigh((square + square.T) / 2)
    turned = vectors.T @ (space.T @ rhs)
    return [vectors @ (turned / (values + shift)[:, None]) for shift in shifts]


def lowest_ritz_value(multiply: Product, start: Float[Tensor, "n 1"], products: int) -> float:
    """The smallest eigenvalue of K in the Krylov space of a vector, no smaller than that of K.

    Args:
        multiply: K v for float64 v (n, 1), in float64.
        start: a random vector.
        products: dimension of the space, at most.
    """
    space, new = start[:, :0], orthonormal_basis(start)
    image = space
    for _ in range(products):
        if not new.shape[1]:
            break
        space, image = torch.cat([space, new], 1), torch.cat([image, multiply(new)], 1)
        new = _beyond(space, image[:, -1:])
    square = space.T @ image
    return torch.linalg.eigvalsh((square + square.T) / 2)[0].item()
