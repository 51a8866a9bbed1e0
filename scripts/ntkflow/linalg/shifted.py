"""One Krylov space for many ridges, or for an eigenvalue."""

import math
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
        KernelError: if `most` columns do not suffice, rounding is in the way, or K + lambda I is
            seen to be indefinite.
    """
    sizes = rhs.norm(dim=0)
    sizes = sizes.where(sizes > 0, 1.0)
    space = _Space(multiply, rhs)
    left, shift, error = rhs, shifts[0], math.inf
    while len(space.square) < most:
        if not space.grow(left if preconditioner is None else preconditioner.apply(left, shift)):
            break
        found = space.coefficients(shifts)
        error = 0.0
        for coefficients, each in zip(found, shifts, strict=True):
            residual = space.residual(coefficients, each)
            errors = residual.norm(dim=0) / sizes
            if not errors.max().item() < error:
                error, shift, left = errors.max().item(), each, residual[:, errors > tolerance]
        if error <= tolerance:
            return torch.stack([_combine(space.basis, coefficients) for coefficients in found])
    raise KernelError(
        f"ridges: the relative residual at ridge {shift:.3g} is {error:.1e} instead of "
        f"{tolerance:.1e} in a space of {len(space.square)} vectors; use larger ridges, or a "
        "larger tolerance"
    )


def lowest_ritz_value(multiply: Product, start: Float[Tensor, "n 1"], products: int) -> float:
    """The smallest eigenvalue of K in the Krylov space of a vector, no smaller than that of K.

    Args:
        multiply: K v for float64 v (n, 1), in float64.
        start: a random vector.
        products: dimension of the space, at most.
    """
    space = _Space(multiply, start)
    space.grow(start)
    while len(space.square) < products and space.grow(space.images[-1]):
        pass
    return torch.linalg.eigvalsh(space.square)[0].item()


class _Space:
    """Orthonormal W and K W in blocks of columns, W'KW and W'Y."""

    def __init__(self, multiply: Product, rhs: Float[Tensor, "n k"]):
        self._multiply, self._rhs = multiply, rhs
        self.basis: list[Tensor] = []
        self.images: list[Tensor] = []
        self.square = rhs.new_zeros(0, 0)
        self._turned = rhs[:0]

    def grow(self, v: Float[Tensor, "n b"]) -> bool:
        """Take up what vectors have outside the space; False if that is rounding."""
        new = self._outside(v)
        if not new.shape[1]:
            return False
        image = self._multiply(new)
        self.basis.append(new)
        self.images.append(image)
        before, beside = len(self.square), self._project(image)
        beside[before:] = (beside[before:] + beside[before:].T) / 2
        square = beside.new_empty(len(beside), len(beside))
        square[:before, :before], square[:, before:] = self.square, beside
        square[before:, :before] = beside[:before].T
        self.square, self._turned = square, torch.cat([self._turned, new.T @ self._rhs])
        return True

    def coefficients(self, shifts: Sequence[float]) -> list[Float[Tensor, "m k"]]:
        """(W'KW + lambda I)^-1 W'Y for every shift."""
        values, vectors = torch.linalg.eigh(self.square)
        lowest, ridge = values[0].item(), min(float(each) for each in shifts)
        if lowest + ridge <= 0:  # the smallest eigenvalue of K is no larger
            raise KernelError(
                f"ridges: {ridge:g} is not allowed with an eigenvalue of {lowest:.3g} or less; use "
                "larger ones"
            )
        turned = vectors.T @ self._turned
        return [vectors @ (turned / (values + shift)[:, None]) for shift in shifts]

    def residual(self, coefficients: Float[Tensor, "m k"], shift: float) -> Float[Tensor, "n k"]:
        """Y - (K + lambda I) W c."""
        inside = _combine(self.images, coefficients)
        return self._rhs - inside - shift * _combine(self.basis, coefficients)

    def _project(self, v: Tensor) -> Tensor:
        return torch.cat([block.T @ v for block in self.basis])

    def _less(self, v: Tensor) -> Tensor:
        """Vectors less what is in the space."""
        return v - _combine(self.basis, self._project(v)) if self.basis else v

    def _outside(self, v: Float[Tensor, "n b"]) -> Float[Tensor, "n r"]:
        """Orthonormal columns, none if the space is full or the vectors are in it."""
        sizes = v.norm(dim=0)
        v = self._less(v)
        v = v[:, v.norm(dim=0) > _NEW * sizes]
        for _ in range(2):  # twice, for a small difference has a large rounding
            v = self._less(orthonormal_basis(v))
        return orthonormal_basis(v)[:, : len(v) - len(self.square)]


def _combine(blocks: Sequence[Tensor], coefficients: Float[Tensor, "m k"]) -> Float[Tensor, "n k"]:
    """Columns of all blocks, weighted and summed."""
    total, start = blocks[0].new_zeros(len(blocks[0]), coefficients.shape[1]), 0
    for block in blocks:
        stop = start + block.shape[1]
        total += block @ coefficients[start:stop]
        start = stop
    return total
