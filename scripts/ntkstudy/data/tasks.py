"""Data sets of the experiments: inputs and targets drawn from a seed, and evaluation grids.

Tasks on the circle take their training points from the evaluation grid of `probe_points` angles.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

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


def probe_set(task: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Evaluation grid of a task: angles (N,), inputs (N, 2) and noiseless targets (N, 1)."""
    angles = circle_grid(task["probe_points"])
    return angles, circle_points(angles), _targets(task, angles)


def line_set(task: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Evaluation grid of a task on the line: positions (N,) and inputs (N, 1)."""
    positions = np.linspace(*task["probe_range"], task["probe_points"])
    return positions, positions[:, None]


def training_set(task: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (M, d) and targets (M, O) of a task block of the configuration."""
    return _TASKS[task["kind"]](task)


def _gaussian_product(task: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Inputs ~ N(0, I_2) with the targets x_1 x_2."""
    x = generator(task["data_seed"], "data").standard_normal((task["train_points"], 2))
    return x, product_target(x)


def _circle(task: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Distinct random points of the grid (all of them without `train_points`), noise on targets."""
    angles = circle_grid(task["probe_points"])
    if task["train_points"] is not None:
        if task["train_points"] > len(angles):
            raise ConfigurationError(
                f"task.train_points: {task['train_points']} is not allowed; "
                f"allowed: at most {len(angles)}, the probe_points"
            )
        rng = generator(task["data_seed"], "data")
        angles = np.sort(rng.choice(angles, task["train_points"], replace=False))
    noise = generator(task["data_seed"], "labels").standard_normal((len(angles), 1))
    return circle_points(angles), _targets(task, angles) + task["noise"] * noise


def _line(task: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """The points that the task lists."""
    if len(task["inputs"]) != len(task["targets"]):
        raise ConfigurationError(
            f"task: {len(task['inputs'])} inputs, {len(task['targets'])} targets; "
            "allowed: equally many"
        )
    return tuple(np.array(task[key], dtype=float)[:, None] for key in ("inputs", "targets"))


def _targets(task: Mapping[str, Any], angles: np.ndarray) -> np.ndarray:
    if task["kind"] == "circle_mixture":
        return fourier_mixture(angles, *(task[key] for key in ("modes", "amplitudes", "phases")))
    return product_target(circle_points(angles))


_TASKS: dict[str, Callable[[Mapping[str, Any]], tuple[np.ndarray, np.ndarray]]] = {
    "gaussian_product": _gaussian_product,
    "circle_product": _circle,
    "circle_mixture": _circle,
    "line_points": _line,
}
