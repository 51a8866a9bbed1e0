"""Block conjugate gradients whose residuals are true ones.

Looked at before this was written: linear_operator's `linear_cg` (also that of curvlinops and
GPyTorch) and CoLA's `cg` run columns side by side, each in a Krylov space of its own, own the loop,
and stop at the residual of the recursion, which float32 products leave behind; scipy's `cg` takes
one NumPy vector; KeOps solves kernels that are formulas; Falkon solves another, smaller problem.
"""

import math
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import KernelError

# Share of a direction that is new, below which it is rounding; how far a recursion in float32 and
# float64 products is trusted before the residual is computed anew; steps without success.
_NEW, _TRUSTED = 1e-7, {torch.float32: 1e-3, torch.float64: 1e-8}
_LEAST_STEPS, _STEPS_PER_ROW = 200, 4

Product = Callable[[Tensor], Tensor]


class System(NamedTuple):
    """K + lambda I as block conjugate gradients see it; all maps take and give float64 (n, k).

    Attributes:
        multiply: K v, as fast as it goes, in the type `dtype`.
        multiply_exactly: K v in float64, of K's entries as they are stored.
        precondition: an approximation of (K + lambda I)^-1 v up to a factor.
        ridge: lambda >= 0.
        dtype: in which `multiply` rounds.
    """

    multiply: Product
    multiply_exactly: Product
    precondition: Product
    ridge: float
    dtype: torch.dtype


class Progress(NamedTuple):
    """How far a solver is.

    Attributes:
        steps: products with the kernel so far.
        residual: largest relative residual of a right-hand side, as the recursion knows it.
        seconds: since the start, or since the restart.
        seconds_left: at the rate of convergence so far; infinite where it does not converge.
    """

    steps: int
    residual: float
    seconds: float
    seconds_left: float


class NegativeCurvature(Exception):
    """v'(K + lambda I) v <= 0 for some v; `value` is v'Kv / v'v."""

    def __init__(self, value: float):
        super().__init__(value)
        self.value = value


class BlockConjugateGradients:
    """Solutions of (K + lambda I) X = Y in one Krylov space of all right-hand sides.

    Directions are orthonormal and dependent ones are dropped (Ji and Li 2017, BIT 57, Algorithm 2):
    centred one-hot targets are dependent from the start, others become so where they converge. The
    residual is replaced by the true one whenever its recursion fell by what K's type can be trusted
    with (van der Vorst and Ye 2000, SIAM J. Sci. Comput. 22), and the directions go on.

    Attributes:
        solution: X (n, k), in float64.
        residual: relative residual, the largest of the right-hand sides; true after `solve`.
        steps: products with K so far.
    """

    def __init__(self, system: System, rhs: Float[Tensor, "n k"]):
        self._system, self._rhs = system, rhs
        self._sizes = rhs.norm(dim=0)
        self._sizes = self._sizes.where(self._sizes > 0, 1.0)
        self.solution = torch.zeros_like(rhs)
        self._left = rhs.clone()
        self._directions = orthonormal_basis(system.precondition(self._left))
        self._trusted_from = self._true_before = math.inf
        self.steps = 0

    @property
    def residual(self) -> float:
        """The largest relative residual of a right-hand side."""
        return (self._left.norm(dim=0) / self._sizes).max().item()

    def state(self) -> dict[str, Tensor]:
        """What `resume` needs to go on as if nothing had happened."""
        numbers = torch.tensor([self.steps, self._trusted_from, self._true_before])
        return {
            "solution": self.solution,
            "left": self._left,
            "directions": self._directions,
            "numbers": numbers.double(),
        }

    def resume(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state."""
        self.solution, self._left = state["solution"], state["left"]
        self._directions = state["directions"]
        steps, self._trusted_from, self._true_before = state["numbers"].tolist()
        self.steps = int(steps)

    def solve(self, tolerance: float, watch: Callable[[Progress], None] | None = None) -> None:
        """Step until the true relative residual of every right-hand side is within `tolerance`.

        Raises:
            KernelError: if it does not get there.
            NegativeCurvature: if K + lambda I is indefinite.
        """
        start, first, first_residual = time.monotonic(), self.steps, self.residual
        most = _LEAST_STEPS + _STEPS_PER_ROW * len(self._rhs)
        trusted = _TRUSTED[self._system.dtype]
        if not math.isfinite(self._trusted_from):
            self._trusted_from = self.residual
        while self._left.any():
            self._step(tolerance, trusted)
            if self._true_before <= tolerance and self.residual <= tolerance:
                return
            if watch is not None:
                watch(_progress(self, tolerance, start, first, first_residual))
            if self.steps > most:
                raise _stalled(self.residual, tolerance, self.steps)

    def _due(self, tolerance: float, trusted: float) -> bool:
        """Whether the residual has to be computed anew."""
        return self.residual <= max(0.7 * tolerance, trusted * self._trusted_from)

    def _step(self, tolerance: float, trusted: float) -> None:
        p = self._directions
        if not p.shape[1]:
            raise _stalled(self.residual, tolerance, self.steps)
        image = self._system.multiply(p) + self._system.ridge * p
        square = p.T @ image
        factor, info = torch.linalg.cholesky_ex((square + square.T) / 2)
        if info.item():
            lowest = torch.linalg.eigvalsh((square + square.T) / 2)[0].item()
            raise NegativeCurvature(lowest - self._system.ridge)
        change = torch.cholesky_solve(p.T @ self._left, factor)
        self.solution += p @ change
        self._left -= image @ change
        self.steps += 1
        if self._due(tolerance, trusted):
            self._replace(tolerance)
        z = self._system.precondition(self._left)
        self._directions = orthonormal_basis(z - p @ torch.cholesky_solve(image.T @ z, factor))

    def _replace(self, tolerance: float) -> None:
        """Put the true residual in place of that of the recursion."""
        x = self.solution
        self._left = self._rhs - self._system.multiply_exactly(x) - self._system.ridge * x
        found = self.residual
        if found > max(0.9 * self._true_before, tolerance):
            raise _stalled(found, tolerance, self.steps)
        self._trusted_from = self._true_before = found


def orthonormal_basis(v: Float[Tensor, "n k"]) -> Float[Tensor, "n r"]:
    """Orthonormal columns of the same span, less what is dependent."""
    sizes = v.norm(dim=0)
    if not (sizes > 0).any():  # none is a number, or all are 0
        return v[:, :0]
    orthonormal, upper = torch.linalg.qr(v[:, sizes > 0] / sizes[sizes > 0])
    turn, values, _ = torch.linalg.svd(upper)
    return orthonormal @ turn[:, values > _NEW * values.max()]


def _stalled(residual: float, tolerance: float, steps: int) -> KernelError:
    return KernelError(
        f"kernel: the relative residual is {residual:.1e} instead of {tolerance:.1e} after "
        f"{steps} steps and falls no more; use a larger ridge, tolerance or rank, or float64"
    )


def _progress(
    solver: BlockConjugateGradients, tolerance: float, start: float, first: int, before: float
) -> Progress:
    seconds, residual = time.monotonic() - start, solver.residual
    fallen, rest = math.log(before / residual), math.log(residual / tolerance)
    left = seconds * max(rest, 0.0) / fallen if fallen > 0 else math.inf
    return Progress(solver.steps, residual, seconds, left)
