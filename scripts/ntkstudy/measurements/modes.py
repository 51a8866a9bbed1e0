"""Fourier modes of functions and eigenvalues of kernels, as the arrays of a measurement."""

import numpy as np

from ntkflow.linalg.spectra import circle_modes, eigenvalues

from ..data.storage import Array


def mode_arrays(values: np.ndarray, target: np.ndarray, max_mode: int) -> dict[str, Array]:
    """Amplitudes of a function and of its distance from the target, per mode.

    A real function is f(gamma) = A_0 + sum_k A_k cos(k gamma + phi_k).

    Args:
        values: f on the grid, (..., N); leading axes become axes of the arrays, `step` first.
        target: noiseless target on the grid, (N,).
        max_mode: highest mode kept.

    Returns:
        `modes/mode`; A_k of f, of the target and of f - target, each (..., max_mode + 1); and
        phi_k of the target.
    """
    dims = ["step", "mode"][-values.ndim :]
    kept = slice(max_mode + 1)
    amplitude, _ = circle_modes(values)
    # The grid begins at -pi.
    goal, phase = circle_modes(target, start=-np.pi)
    residual, _ = circle_modes(values - target)
    return {
        "modes/mode": Array(np.arange(max_mode + 1), ["mode"], "periods per turn"),
        "modes/amplitude": Array(amplitude[..., kept], dims),
        "modes/target": Array(goal[kept], ["mode"]),
        "modes/target_phase": Array(phase[kept], ["mode"], "radian"),
        "modes/residual": Array(residual[..., kept], dims),
    }


def spectrum_arrays(gram: np.ndarray, count: int) -> dict[str, Array]:
    """Leading eigenvalues of K / M.

    Args:
        gram: K, (M, M); NaN for a diverged network.
        count: number of eigenvalues kept, largest first.

    Returns:
        `spectrum/rank` (1 is the largest) and `spectrum/eigenvalue`, each (count,).
    """
    count = min(count, len(gram))
    found = np.full(count, np.nan)
    if np.isfinite(gram).all():
        found = eigenvalues(gram)[:count] / len(gram)
    return {
        "spectrum/rank": Array(np.arange(1, count + 1), ["rank"]),
        "spectrum/eigenvalue": Array(found, ["rank"], "eigenvalue of K / M"),
    }
