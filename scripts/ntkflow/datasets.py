"""Data sets of the experiments: inputs and targets drawn from a seed, and evaluation grids."""

from typing import Any

import numpy as np

from .randomness import generator


def circle_points(angles: np.ndarray) -> np.ndarray:
    """Points (cos gamma, sin gamma) on the unit circle: (N,) to (N, 2)."""
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def circle_grid(count: int) -> np.ndarray:
    """`count` equidistant angles in [-pi, pi), the first one -pi and, for even `count`, one 0."""
    return (np.arange(count) - count / 2) * (2 * np.pi / count)


def product_target(x: np.ndarray) -> np.ndarray:
    """Target x_1 x_2: (N, 2) to (N, 1). On the unit circle it is sin(2 gamma) / 2."""
    return (x[:, 0] * x[:, 1])[:, None]


def gaussian_product(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` inputs x ~ N(0, I_2), (N, 2), with the targets x_1 x_2, (N, 1)."""
    x = generator(seed, "data").standard_normal((count, 2))
    return x, product_target(x)


def training_set(task: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (M, d) and targets (M, O) of a task block of the configuration."""
    kinds = {"gaussian_product": gaussian_product}
    return kinds[task["kind"]](task["train_points"], task["data_seed"])
