"""Kernel ridge regression of any size: in memory, from a file, or from tiles made anew."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import as_whole, check_not_negative, check_positive, check_ridge
from ..linalg.conjugate_gradients import Progress
from .choosing import choose
from .fits import RidgeFit
from .restarting import RestartFile, stored_rank
from .solvers import DirectSolver, IterativeSolver
from .soundness import check_kernel, check_targets
from .sources import DenseSource, NetworkSource, as_source, versions


def kernel_ridge(
    kernel: Any,
    y: Float[Tensor, "n *o"],
    ridge: float | int,
    *,
    centre: bool = False,
    method: str | None = None,
    memory_budget: float | int | None = None,
    overwrite: bool = False,
    tolerance: float = 1e-6,
    rank: int | None = None,
    seed: int = 0,
    kind: str = "ntk",
    dtype: torch.dtype | None = None,
    data: Any = None,
    restart: str | Path | None = None,
    restart_every: float | int = 180.0,
    progress: Callable[[Progress], None] | None = None,
) -> RidgeFit:
    """Kernel ridge regression f(x) = K_x (K + ridge I)^-1 y on as many points as time allows.

    The ridge is absolute, as in `ridge_regression`. Two ways, chosen from the size and the memory:

    - direct: a Cholesky factor in one triangle of the one matrix that is held, the kernel staying
      in the other, and refinement with residuals in float64 (Higham 2002, Accuracy and Stability of
      Numerical Algorithms, 12.1); a factor in float64 where one in float32 does not do;
    - iterative: block conjugate gradients with a randomly pivoted Cholesky preconditioner (Chen et
      al. 2023, arXiv:2207.06503), for an operator a Nystrom one (Frangella et al. 2021,
      arXiv:2110.02820), until the residual of every right-hand side, computed in float64 from the
      entries as they are stored, is within the tolerance. Products are of the kernel's own type,
      those of an operator always.

    Args:
        kernel: K (n, n) as a tensor; the path of a file by `write_kernel_tiles` or by
            `assemble_kernel_tiles`; an operator, such as `ntk_operator(network, x)`, with targets
            in its order, `y.flatten()`; or (network, x), the kernel of which is made tile by tile,
            and kept if it fits.
        y: targets, one row per row of K, any number of outputs.
        ridge: lambda >= 0, in the units of K.
        centre: subtract the mean of the targets, of each column of y its own, and add it to
            predictions. Of `y.flatten()` that is one mean of all outputs.
        method: "direct" or "iterative"; default: what `reason` of the fit says.
        memory_budget: bytes for K, its copy if one is made, and the preconditioner; default: 80 %
            of the memory that is free.
        overwrite: let the factor overwrite a tensor, which is not to be used then; else a direct
            solution copies it.
        tolerance: of the relative residual of every right-hand side.
        rank: of the preconditioner; default: 8 sqrt(n), fewer if the budget is small; without one,
            that of a stopped run.
        seed: of the pivots of the preconditioner.
        kind: of (network, x): "ntk" or "nngp", the limit kernels, or "empirical", the mean over
            outputs of `empirical_ntk`.
        dtype: of the kernel of (network, x); default: float32 for a limit.
        data: of a file: the rows whose kernel it has to hold.
        restart: a file from which an iterative solution goes on after it was stopped; it is removed
            at the end.
        restart_every: seconds between two writes of it.
        progress: called after every step of an iterative solution with a `Progress`: steps,
            residual, seconds and an estimate of the seconds left.

    Returns:
        `RidgeFit`.

    Raises:
        ConfigurationError: if an option or a type is not allowed, or a matrix does not fit the
            budget.
        KernelError: if shapes do not fit; K is not symmetric, not finite (with the row), or with
            the ridge not positive definite (with the eigenvalue and the ridge that would help);
            equal rows have different targets at ridge 0; or the tolerance is out of reach.
        StorageError: if a file is unfinished or of other data, or the stopped run had other
            settings, targets or another kernel.

    Examples:
        >>> x, y = torch.randn(40, 3), torch.randn(40, 2)
        >>> network = ntkflow.mlp(3, [64], 2)
        >>> fit = ntkflow.kernel_ridge((network, x), y, 0.1, centre=True, dtype=torch.float64)
        >>> fit.method, fit.predict(torch.randn(5, 3)).shape, fit.residual < 1e-6
        ('direct', torch.Size([5, 2]), True)
        >>> theta = ntkflow.ntk_operator(network, x)
        >>> ntkflow.kernel_ridge(theta, y.flatten(), 0.1, tolerance=1e-5).coefficients.shape
        torch.Size([80])
    """
    check_ridge("ridge", ridge)
    check_positive("tolerance", tolerance)
    check_not_negative("restart_every", restart_every)
    seed = as_whole("seed", seed, 0)
    source = as_source(kernel, data, kind, dtype)
    targets = check_targets(y, source.size).to(source.device)
    check_kernel(source, targets, float(ridge))
    stamp = source.stamp()
    choice = choose(
        source, method=method, memory_budget=memory_budget, overwrite=overwrite, rank=rank
    )
    if choice.method == "iterative" and rank is memory_budget is None and restart is not None:
        choice = choice._replace(rank=stored_rank(restart) or choice.rank)
    mean = targets.mean(0) if centre else torch.zeros_like(targets[0])
    if choice.method == "direct":
        options = dict(overwrite=overwrite, widen=choice.widen)
        solver = DirectSolver(source, float(ridge), tolerance, **options)
        solution = solver.solve(targets - mean)
    else:
        settings = dict(ridge=float(ridge), tolerance=tolerance, rank=choice.rank, seed=seed)
        held = DenseSource(source.to_dense(source.dtype)) if choice.build else source
        solver = IterativeSolver(held, **settings)
        file = None
        if restart is not None:
            settings |= dict(centre=centre, size=source.size, dtype=str(source.dtype))
            file = RestartFile(restart, float(restart_every), settings, held, targets)
        solution = solver.solve(targets - mean, progress, file)
    copied = choice.method == "direct" and isinstance(source, DenseSource)
    return RidgeFit(
        solution.values.reshape(y.shape),
        mean.reshape(y.shape[1:]),
        float(ridge),
        solution.residual,
        choice.method,
        choice.reason,
        solution.steps,
        _solver=solver,
        _targets=targets,
        _centred=centre,
        _network=source if isinstance(source, NetworkSource) else None,
        _source=source,
        _versions=[] if copied else versions(source.parts()),
        _stamp=None if choice.method == "direct" or choice.build else stamp,
    )
