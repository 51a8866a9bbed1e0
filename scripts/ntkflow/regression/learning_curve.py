"""Test error of kernel regression before any is run: from the kernel's spectrum alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import check_positive, check_real, check_ridge, check_shape
from ..errors import ConfigurationError, KernelError
from ..linalg.solving import check_symmetric, columns

Sizes = Tensor | np.ndarray | Sequence[float] | Sequence[int] | float | int

_HALVINGS = 80  # of log kappa's bracket, at most 1500 wide: below rounding


@dataclass(frozen=True)
class LearningCurve:
    """Expected outcome of kernel ridge regression for each number n of training rows.

    Attributes:
        kappa: effective regularization, in the units of the eigenvalues, (*t).
        learnability: L_i = lambda_i / (lambda_i + kappa), the share of a mode that the mean
            prediction learns, between 0 and 1, (*t, m).
        bias: sum_i (1 - L_i)^2 v_i^2, squared error of the mean prediction, (*t).
        variance: of the prediction over training sets and their noise, (*t).
        error: mean squared error on noisy targets, bias + variance + noise, (*t).

    Examples:
        >>> eigenvalues, coefficients = torch.tensor([1.0, 0.25]), torch.ones(2)
        >>> curve = ntkflow.learning_curve(eigenvalues, coefficients, [1, 4], ridge=0.1)
        >>> curve.error.shape, curve.learnability.shape
        (torch.Size([2]), torch.Size([2, 2]))
        >>> bool(curve.error[1] < curve.error[0])
        True
    """

    kappa: Float[Tensor, "*t"]
    learnability: Float[Tensor, "*t m"]
    bias: Float[Tensor, "*t"]
    variance: Float[Tensor, "*t"]
    error: Float[Tensor, "*t"]


def learning_curve(
    eigenvalues: Float[Tensor, " m"],
    coefficients: Float[Tensor, "m *o"],
    n: Sizes,
    ridge: float | int,
    noise: float | int = 0.0,
) -> LearningCurve:
    """Expected test error of kernel ridge regression on n rows, from the kernel's spectrum.

    With k(x, x') = sum_i lambda_i phi_i(x) phi_i(x') and f*(x) = sum_i v_i phi_i(x), phi_i
    orthonormal under the distribution of the rows, kappa solves

        n = sum_i lambda_i / (lambda_i + kappa) + ridge / kappa,

    and the mean squared error is n / (n - sum_i L_i^2) (sum_i (1 - L_i)^2 v_i^2 + noise), which
    holds the noise of the test targets (Simon et al. 2021, arXiv:2110.03922, "eigenlearning";
    Bordelon et al. 2020, arXiv:2002.02561). Exact for many rows and phi_i(x) that are independent
    and Gaussian; close for many kernels on data.

    On a pool of M rows with kernel K, lambda_i are the eigenvalues of K / M and v_i =
    u_i' y / sqrt(M) for its orthonormal eigenvectors u_i. The error is then the mean over the
    pool, which the n rows are drawn from; on rows outside, it is larger as soon as n is no small
    part of M.

    At ridge 0 (the limit ridge -> 0, regression of least norm) and n at or above the rank, kappa is
    0: every mode with lambda_i > 0 is learned, and what is left of the target acts as noise. At n
    equal to the rank its error is infinite, unless nothing is left.

    Args:
        eigenvalues: lambda_i >= 0, in any order, in the units of the kernel. Where some are
            negative by rounding, all up to the size of the most negative one count as 0.
        coefficients: v_i, in the same order; squared errors are summed over outputs.
        n: a number of training rows >= 1, or several.
        ridge: lambda >= 0, added to the diagonal of the n rows' kernel, in its units.
        noise: variance >= 0 of independent noise on the targets, summed over outputs.

    Returns:
        `LearningCurve`, in float64, with the axes of `n` in front.

    Raises:
        KernelError: if an eigenvalue is negative beyond rounding, something is not finite, or
            coefficients do not fit the eigenvalues.
        ConfigurationError: if n < 1, or ridge or noise is negative or not finite.

    Examples:
        >>> flat = torch.ones(4)  # one row learns a quarter of every mode
        >>> curve = ntkflow.learning_curve(flat, flat, [1, 2], ridge=0.0)
        >>> curve.learnability.numpy().round(6)
        array([[0.25, 0.25, 0.25, 0.25],
               [0.5 , 0.5 , 0.5 , 0.5 ]])
        >>> curve.kappa.numpy().round(6), curve.error.numpy().round(6)
        (array([3., 1.]), array([3., 2.]))
    """
    check_shape("eigenvalues", eigenvalues, None)
    check_shape("coefficients", coefficients, len(eigenvalues), ...)
    check_real("coefficients", coefficients)
    if not (eigenvalues.is_floating_point() and coefficients.numel()):
        raise ConfigurationError(
            f"eigenvalues: {eigenvalues.dtype} {tuple(eigenvalues.shape)} with coefficients "
            f"{tuple(coefficients.shape)} is not allowed; use floating-point numbers, one or more"
        )
    eigenvalues, coefficients = eigenvalues.detach(), coefficients.detach()
    _check_finite(eigenvalues=eigenvalues, coefficients=coefficients)
    for name, value in (("ridge", ridge), ("noise", noise)):
        check_ridge(name, value)
    values, counts = _without_rounding(eigenvalues), _counts(n, eigenvalues.device)
    kappa = _effective_regularization(values, counts.reshape(-1), ridge)
    learned, unlearned = _shares(values, kappa)
    # n - sum L^2 = sum L (1 - L) + (n - sum L), whose terms do not cancel.
    unused = torch.where(kappa > 0, ridge / kappa, counts.reshape(-1) - (values > 0).sum())
    bias = unlearned.square() @ columns(coefficients).square().sum(1)
    left = bias + noise
    per_left = learned.square().sum(1) / ((learned * unlearned).sum(1) + unused)
    variance = torch.where(left > 0, per_left * left, 0.0)
    numbers = [each.reshape(counts.shape) for each in (bias, variance, left + variance)]
    return LearningCurve(kappa.reshape(counts.shape), learned.reshape(*counts.shape, -1), *numbers)


def total_learnability(gram: Float[Tensor, "n n"], *, ridge: float | int) -> float:
    """Sum of learnabilities that n rows really have, tr K (K + ridge I)^-1, between 0 and n.

    Also called their effective dimension or degrees of freedom. `learning_curve` expects sum_i L_i
    of it (Simon et al. 2021, arXiv:2110.03922).

    Args:
        gram: K, kernel of the training rows, not divided by n.
        ridge: lambda > 0, in the units of the kernel. At ridge 0 the number is the rank.

    Raises:
        KernelError: if K is not finite, symmetric and positive semi-definite up to rounding.
        ConfigurationError: if the ridge is not positive.

    Examples:
        >>> ntkflow.total_learnability(torch.diag(torch.tensor([3.0, 1.0])), ridge=1.0)
        1.25
    """
    check_positive("ridge", ridge)
    check_symmetric(gram)
    values = torch.linalg.eigvalsh(gram.double())
    _check_semidefinite("kernel: eigenvalue", values, torch.finfo(gram.dtype).eps)
    values = values.clamp(min=0)
    return (values / (values + ridge)).sum().item()


def power_law_tail(
    terms: Float[Tensor, " m"], leading: int, length: int
) -> tuple[Float[Tensor, " k"], Float[Tensor, ""]]:
    """Terms that fall like a power law behind the leading ones, with the same sum.

    What n rows tell of eigenvalues and squared coefficients is right for i far below n only. Behind
    the first m terms this puts c (i^-a - (i + 1)^-a) with the sum S of all terms behind them and
    a = log2(1 + R / S), R the sum of the terms from m / 2 to m, which follow the same law then.

    Args:
        terms: numbers >= 0, the leading ones first.
        leading: m >= 2, how many are kept.
        length: k > m, how many terms there are in all.

    Returns:
        The terms (k,) in float64, and the sum of those behind: of eigenvalues it acts like a
        further ridge, of squared coefficients like noise.

    Examples:
        >>> from ntkflow.regression.learning_curve import power_law_tail
        >>> halves = torch.tensor([0.5, 0.25, 0.125, 0.125])
        >>> terms, rest = power_law_tail(halves, 2, 4)
        >>> terms.numpy().round(4), rest.item()
        (array([0.5   , 0.25  , 0.0833, 0.0417]), 0.125)
    """
    terms = terms.double()
    behind = terms[leading:].sum()
    near = terms[leading // 2 : leading].sum()
    power = torch.where(behind > 0, torch.log2(1 + near / behind), 1.0)
    places = torch.arange(leading, length + 1, dtype=terms.dtype, device=terms.device)
    left = behind * (places / leading) ** -power
    return torch.cat([terms[:leading], left[:-1] - left[1:]]), left[-1]


def _check_finite(**tensors: Tensor) -> None:
    for name, values in tensors.items():
        if not values.is_meta and not bool(values.isfinite().all()):
            raise KernelError(f"{name}: some are not finite")


def _check_semidefinite(name: str, values: Tensor, eps: float) -> None:
    """Refuse eigenvalues that are negative beyond M eps lambda_max."""
    if values.is_meta or not len(values):
        return
    smallest, level = values.min().item(), len(values) * eps * values.abs().max().item()
    if smallest < -level:
        raise KernelError(
            f"{name} {smallest:.4g} is negative beyond rounding ({-level:.3g}); use those of a "
            "positive semi-definite kernel"
        )


def _without_rounding(eigenvalues: Tensor) -> Float[Tensor, " m"]:
    """In float64; 0 up to the size of the most negative one, which is nothing but rounding."""
    values = eigenvalues.double()
    _check_semidefinite("eigenvalues:", values, torch.finfo(eigenvalues.dtype).eps)
    rounding = (-values).clamp(min=0).amax() if len(values) else values.sum()
    return torch.where(values > rounding, values, 0.0)


def _counts(n: Sizes, device: torch.device) -> Tensor:
    """Numbers of rows in float64, in the shape they came in."""
    counts = torch.as_tensor(n, dtype=torch.float64, device=device)
    if not counts.numel():
        raise ConfigurationError("n: none is given; use at least one number of rows")
    if not counts.is_meta and not bool(((counts >= 1) & counts.isfinite()).all()):
        raise ConfigurationError(f"n: {n!r} is not allowed; use finite numbers of rows >= 1")
    return counts


def _effective_regularization(
    values: Float[Tensor, " m"], counts: Float[Tensor, " t"], ridge: float
) -> Float[Tensor, " t"]:
    """The root kappa of n = sum_i lambda_i / (lambda_i + kappa) + ridge / kappa, by bisection.

    The right-hand side falls from infinity (at ridge 0: from the rank) to 0.
    """
    low, high = _bracket(values, counts, ridge)
    solvable = low > 0
    low, high = (torch.where(solvable, end, 1.0).log() for end in (low, high))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        below = _excess(values, counts, ridge, middle.exp()) > 0
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return torch.where(solvable, ((low + high) / 2).exp(), 0.0)


def _bracket(values: Tensor, counts: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """Numbers that kappa lies between; 0 below where it is 0.

    Above (sum lambda + ridge) / n the sum is too small. The m first modes alone give n or more
    below lambda_m (m / n - 1), m the next whole number above n, and so does the ridge below
    ridge / n.
    """
    descending = torch.cat([values.sort(descending=True).values, values.new_zeros(1)])
    more = counts.floor().clamp(max=len(values)).long() + 1
    by_modes = descending[more - 1] * (more / counts - 1).clamp(min=0)
    return by_modes.maximum(ridge / counts), (values.sum() + ridge) / counts


def _excess(values: Tensor, counts: Tensor, ridge: float, kappa: Tensor) -> Tensor:
    """Sum_i L_i + ridge / kappa - n, (T,); modes that are nearly learned are counted, not summed.

    Their 1 - L_i would be lost in a sum of ones.
    """
    kappa = kappa[:, None]
    small = values.minimum(kappa) / (values + kappa)
    first = values > kappa
    known = first.sum(1) - counts + ridge / kappa[:, 0]
    return known + torch.where(first, -small, small).sum(1)


def _shares(values: Tensor, kappa: Tensor) -> tuple[Tensor, Tensor]:
    """Learnabilities L_i and 1 - L_i, (T, M); a mode with eigenvalue 0 is never learned."""
    total = values + kappa[:, None]
    learned = torch.where(values > 0, values / total, 0.0)
    return learned, torch.where(values > 0, kappa[:, None] / total, 1.0)
