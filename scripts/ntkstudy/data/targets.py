"""Inputs, targets and grids of the artificial tasks, drawn from a seed.

Tasks on the circle take their training points from the evaluation grid.
"""

from collections.abc import Sequence

import numpy as np

from ntkflow.errors import ConfigurationError
from ntkflow.randomness import generator


def circle_points(angles: np.ndarray) -> np.ndarray:
    """Points (cos gamma, sin gamma) on the unit circle: (N,) to (N, 2)."""
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def circle_grid(count: int) -> np.ndarray:
    """`count` equidistant angles in [-pi, pi), the first one -pi and, for even `count`, one 0."""
    return (np.arange(count) - count / 2) * (2 * np.pi / count)


def product_target(x: np.ndarray) -> np.ndarray:
    """Target x_1 x_2: (N, 2) to (N, 1). On the unit circle it is sin(2 gamma) / 2."""
    return (x[:, 0] * x[:, 1])[:, None]


def fourier_mixture(
    angles: np.ndarray,
    modes: Sequence[int],
    amplitudes: Sequence[float],
    phases: Sequence[float],
) -> np.ndarray:
    """Target sum_k a_k sin(k gamma + phi_k): (N,) to (N, 1).

    Raises:
        ConfigurationError: if there is not one amplitude and one phase per mode.
    """
    if not len(modes) == len(amplitudes) == len(phases):
        raise ConfigurationError(
            f"task: {len(modes)} modes, {len(amplitudes)} amplitudes, {len(phases)} phases; "
            "allowed: equally many"
        )
    waves = [
        amplitude * np.sin(mode * angles + phase)
        for mode, amplitude, phase in zip(modes, amplitudes, phases, strict=True)
    ]
    return np.sum(waves, axis=0)[:, None]


def draw_gaussian(count: int, data_seed: int) -> np.ndarray:
    """Inputs ~ N(0, I_2), (count, 2)."""
    return generator(data_seed, "data").standard_normal((count, 2))


def draw_angles(count: int | None, probe_points: int, data_seed: int) -> np.ndarray:
    """Distinct random angles of the evaluation grid, ascending; all of them without a count.

    Raises:
        ConfigurationError: if the grid has fewer.
    """
    angles = circle_grid(probe_points)
    if count is None:
        return angles
    if count > len(angles):
        raise ConfigurationError(
            f"task.train_points: {count} is not allowed; "
            f"allowed: at most {len(angles)}, the probe_points"
        )
    return np.sort(generator(data_seed, "data").choice(angles, count, replace=False))


def add_noise(targets: np.ndarray, std: float, data_seed: int) -> np.ndarray:
    """Targets (M, 1) with normal noise of this standard deviation."""
    return targets + std * generator(data_seed, "labels").standard_normal(targets.shape)
