"""Fourier modes of functions on the circle grid, as the arrays of a `modes` measurement."""

import numpy as np

from .spectra import circle_modes
from .storage import Array


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
