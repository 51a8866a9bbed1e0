"""Spectra of kernels and comparisons between kernels, in NumPy and float64 only.

Kernels are (N, N) arrays; torch tensors of any device are taken too. Nothing here imports torch.
"""

import math
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ..arrays import to_numpy
from ..errors import ConfigurationError, KernelError


def eigenpairs(
    gram: Float[Any, "n n"],
) -> tuple[Float[ndarray, " n"], Float[ndarray, "n n"]]:
    """Eigenvalues and eigenvectors of a symmetric kernel, K = V diag(lambda) V'.

    The kernel is not divided by N. The lower triangle is used.

    Returns:
        Eigenvalues (N,), descending, and eigenvectors (N, N) as columns in the same order.

    Examples:
        >>> from ntkflow.linalg.spectra import eigenpairs
        >>> eigenpairs(np.diag([1.0, 3.0]))[0]
        array([3., 1.])
    """
    values, vectors = np.linalg.eigh(_array(gram))
    return values[::-1].copy(), vectors[:, ::-1].copy()


def eigenvalues(gram: Float[Any, "n n"]) -> Float[ndarray, " n"]:
    """Eigenvalues of a symmetric kernel, descending, not divided by N."""
    return np.linalg.eigvalsh(_array(gram))[::-1].copy()


def residual_norms(
    gram: Float[Any, "n n"], values: Float[Any, " k"], vectors: Float[Any, "n k"]
) -> Float[ndarray, " k"]:
    """Residuals ||K v_i - lambda_i v_i||_2 of approximate eigenpairs, in the kernel's units."""
    vectors = _array(vectors)
    return np.linalg.norm(_array(gram) @ vectors - vectors * _array(values), axis=0)


def trace(gram: Float[Any, "n n"]) -> float:
    """Sum of the diagonal, which is the sum of the eigenvalues."""
    return float(np.trace(_array(gram)))


def effective_rank(values: Float[Any, " n"]) -> float:
    """Exponential of the spectral entropy, exp(-sum p_i log p_i) with p_i = lambda_i / trace.

    Between 1 and N (Roy and Vetterli 2007, definition 1). Negative eigenvalues count as zero; NaN
    where none is positive.

    Examples:
        >>> round(ntkflow.effective_rank(np.array([1.0, 1.0, 0.0])), 6)
        2.0
    """
    shares = _shares(values)
    shares = shares[shares != 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def participation_ratio(values: Float[Any, " n"]) -> float:
    """Participation ratio (sum lambda_i)^2 / sum lambda_i^2, between 1 and N.

    Negative eigenvalues count as zero; NaN where none is positive.

    Examples:
        >>> round(ntkflow.participation_ratio(np.array([3.0, 1.0])), 6)
        1.6
    """
    return float(1 / np.square(_shares(values)).sum())


def numerical_rank(values: Float[Any, " n"], *, tolerance: float | None = None) -> int:
    """Number of eigenvalues above `tolerance` times the largest in size.

    Args:
        values: eigenvalues.
        tolerance: relative; default: N times the rounding unit of the eigenvalues' dtype, as
            numpy.linalg.matrix_rank has it.
    """
    if tolerance is None:
        tolerance = len(values) * np.finfo(to_numpy(values).dtype).eps
    values = _array(values)
    return int((values > tolerance * np.abs(values).max()).sum())


def cumulative_distribution(
    values: Float[Any, " n"], *, by_trace: bool = False
) -> tuple[Float[ndarray, " n"], Float[ndarray, " n"]]:
    """Empirical distribution F(x) = #{lambda_i <= x} / N of the eigenvalues.

    Args:
        values: eigenvalues, in any order.
        by_trace: divide the eigenvalues by their sum.

    Returns:
        The points x, ascending, and F at them.

    Examples:
        >>> ntkflow.cumulative_distribution(np.array([3.0, 1.0]), by_trace=True)
        (array([0.25, 0.75]), array([0.5, 1. ]))
    """
    points = np.sort(_array(values))
    if by_trace:
        points = points / points.sum()
    return points, np.arange(1, len(points) + 1) / len(points)


def alignment(
    gram: Float[Any, "n n"], targets: Float[Any, "n *o"], *, centred: bool = False
) -> float:
    """Kernel-target alignment <K, Y Y'>_F / (||K||_F ||Y Y'||_F).

    In [0, 1] for a positive semi-definite kernel; 1 when K is proportional to Y Y' (Cristianini et
    al. 2001, definition 1). Centred: K and Y are replaced by H K H and H Y, H = I - 11'/N (Cortes,
    Mohri, Rostamizadeh 2012, definition 4), and do not see constant shifts. NaN where K or Y is 0.

    Args:
        gram: K, (N, N).
        targets: Y, (N,) or (N, O).
        centred: whether to remove the mean in feature space.

    Examples:
        >>> ntkflow.alignment(np.eye(2), np.array([1.0, -1.0]))
        0.7071067811865475
    """
    gram, targets = _array(gram), _array(targets).reshape(len(targets), -1)
    if centred:
        gram, targets = _centre(gram), targets - targets.mean(0)
    overlap = np.sum(targets * (gram @ targets))
    return _ratio(overlap, np.linalg.norm(gram) * np.linalg.norm(targets.T @ targets))


def kernel_drift(after: Float[Any, "*n"], before: Float[Any, "*n"]) -> float:
    """Relative change ||K_1 - K_0||_F / ||K_0||_F; block kernels are welcome; NaN where K_0 is 0.

    Examples:
        >>> ntkflow.kernel_drift(3 * np.eye(2), 2 * np.eye(2))
        0.5
    """
    before = _array(before)
    return _ratio(np.linalg.norm(_array(after) - before), np.linalg.norm(before))


def kernel_distance(
    after: Float[Any, "n n"], before: Float[Any, "n n"], *, centred: bool = True
) -> float:
    """Cosine distance 1 - `<K_1, K_0>` / (||K_1||_F ||K_0||_F), blind to scale.

    Centred: of H K H, H = I - 11'/N, so that a constant added to a kernel does not count; one minus
    the centred kernel alignment of Cortes, Mohri, Rostamizadeh 2012. Uncentred: the kernel distance
    of Fort et al. 2020 (arXiv:2010.15110), eq. 4. NaN where a kernel (centred) is 0.

    Args:
        after: K_1.
        before: K_0.
        centred: whether to centre both kernels first.

    Examples:
        >>> ntkflow.kernel_distance(np.diag([3.0, 1.0]), np.diag([6.0, 2.0]))
        0.0
    """
    first, second = _array(after), _array(before)
    if centred:
        first, second = _centre(first), _centre(second)
    # |u - v|^2 / 2 of unit vectors: 1 - u.v would lose the digits of a small distance.
    norms = np.linalg.norm(first), np.linalg.norm(second)
    if 0 in norms:
        return math.nan
    gap = first / norms[0] - second / norms[1]
    return float(np.square(gap).sum() / 2)


def block_matrix(
    block: Float[Any, "o1 o2 n1 n2"], *, by_input: bool = False
) -> Float[Any, "rows columns"]:
    """Block kernel (O, O, N1, N2) as a matrix (O N1, O N2) with rows ordered output by output.

    Entry (o N1 + n, o' N2 + n') is block[o, o', n, n']; targets (N, O) flatten the same way as
    `targets.T.reshape(-1)`. By input, it is entry (n O + o, n' O + o'), and targets flatten as
    `targets.reshape(-1)`. Arrays and torch tensors keep their type.

    Args:
        block: the kernel.
        by_input: order rows and columns input by input.

    Raises:
        KernelError: if it has not four axes.

    Examples:
        >>> ntkflow.block_matrix(np.arange(4.0).reshape(2, 2, 1, 1))
        array([[0., 1.],
               [2., 3.]])
    """
    if getattr(block, "ndim", None) != 4:
        what = tuple(block.shape) if hasattr(block, "shape") else type(block).__name__
        raise KernelError(
            f"kernel: {what} is not allowed; use the values (O, O, N1, N2) of a block kernel, as "
            'ntkflow.empirical_ntk(..., outputs="block").values'
        )
    o1, o2, n1, n2 = block.shape
    if by_input:
        block = block.swapaxes(0, 2).swapaxes(1, 3)
    return block.swapaxes(1, 2).reshape(o1 * n1, o2 * n2)


def circle_modes(
    values: Float[Any, "*batch n"], *, start: float = 0.0
) -> tuple[Float[ndarray, "*batch k"], Float[ndarray, "*batch k"]]:
    """Amplitude A_k and phase phi_k of each Fourier mode of a function on a uniform circle grid.

    f(gamma) = sum_k A_k cos(k gamma + phi_k), k = 0 .. N//2, at gamma_j = start + 2 pi j / N (the
    end point is not repeated). A_k >= 0; modes above N/2 are folded down. The phase of
    A sin(k gamma + psi) is psi - pi/2.

    Args:
        values: the function on the grid, last axis; leading axes are a batch.
        start: angle of the first grid point, in radians.

    Returns:
        Amplitudes and phases in (-pi, pi], each (..., N//2 + 1).

    Examples:
        >>> angles = 2 * np.pi * np.arange(8) / 8
        >>> amplitude, phase = ntkflow.circle_modes(3 * np.sin(2 * angles))
        >>> float(amplitude[2].round(12)), float(phase[2].round(6))
        (3.0, -1.570796)
    """
    values = _array(values)
    size = values.shape[-1]
    coefficients = np.fft.rfft(values, axis=-1) / size
    mode = np.arange(size // 2 + 1)
    doubled = (mode > 0) & (2 * mode != size)
    coefficients = coefficients * np.where(doubled, 2, 1) * np.exp(-1j * mode * start)
    return np.abs(coefficients), np.angle(coefficients)


def _array(values: Any) -> ndarray:
    return to_numpy(values).astype(np.float64, copy=False)


def _shares(values: Any) -> ndarray:
    positive = np.maximum(_array(values), 0)
    if positive.ndim != 1:
        raise ConfigurationError(
            f"values: shape {positive.shape} is not allowed; use eigenvalues (N,), as "
            "`eigenvalues` returns them"
        )
    total = positive.sum()
    return positive / total if total else np.full_like(positive, math.nan)


def _ratio(value: float, norm: float) -> float:
    return float(value / norm) if norm else math.nan


def _centre(gram: ndarray) -> ndarray:
    """H K H with H = I - 11'/N."""
    rows = gram - gram.mean(0)
    return rows - rows.mean(1, keepdims=True)
