"""What networks compute: on the evaluation inputs, as Fourier modes, and its prediction."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from ..needs import ONE_OUTPUT, PLANE, TARGETS
from ..options import Rule
from ..registry import FINITE, measurement
from .common import to_numpy

if TYPE_CHECKING:
    import numpy as np

    from ..data.storage import Array


@dataclass(frozen=True, kw_only=True)
class FunctionOptions:
    """Ridge regression beside predictions."""

    ridge: Annotated[
        float, Rule("ridge of kernel regression, added to the Gram matrix", minimum=0)
    ] = 1e-6


@dataclass(frozen=True, kw_only=True)
class ModeOptions:
    """How many modes."""

    max_mode: Annotated[int, Rule("highest Fourier mode", minimum=0)] = 32


@measurement("function", when=FINITE, options=FunctionOptions, axes=("probe",), each=True)
def function(options, network, data):
    """Outputs f on the evaluation grid or the test set."""
    from ..data.storage import Array

    values = network.outputs(data.probe(**network.where))
    return {
        data.axis: data.coordinate,
        "f": Array(to_numpy(values), [data.axis, "output"]),
    }


@measurement(
    "function",
    when="prediction",
    options=FunctionOptions,
    axes=("probe",),
    needs=(ONE_OUTPUT,),
)
def predicted_function(options, prediction, data):
    """Mean and deviation on the grid at every step, and ridge regression (t = infinity)."""
    from ntkflow.regression import ridge_regression

    from ..data.storage import Array

    grams = prediction.train.ntk, prediction.cross.ntk
    ridge = ridge_regression(*grams, prediction.targets, ridge=options.ridge)
    axis, target = data.axis, data.file.array("probe/y").values[:, 0]
    return {
        axis: data.coordinate,
        "target": Array(target, [axis]),
        "mean": Array(to_numpy(prediction.mean), ["step", axis]),
        "deviation": Array(to_numpy(prediction.deviation), ["step", axis]),
        "ridge": Array(to_numpy(ridge[:, 0]), [axis]),
    }


@measurement(
    "modes",
    when=FINITE,
    options=ModeOptions,
    axes=("mode",),
    needs=(PLANE, TARGETS, ONE_OUTPUT),
    each=True,
)
def modes(options, network, data):
    """Fourier amplitudes of f and of its distance from the noiseless target."""
    values = network.outputs(data.probe(**network.where))
    return _mode_arrays(to_numpy(values)[:, 0], data, options.max_mode)


@measurement(
    "modes",
    when="prediction",
    options=ModeOptions,
    axes=("mode",),
    needs=(PLANE, TARGETS, ONE_OUTPUT),
)
def predicted_modes(options, prediction, data):
    """Fourier amplitudes of the mean prediction and of its distance from the target."""
    return _mode_arrays(to_numpy(prediction.mean), data, options.max_mode)


def _mode_arrays(values: "np.ndarray", data, max_mode: int) -> "dict[str, Array]":
    """Amplitudes of f on the grid, (..., N), of its target and of their difference, per mode.

    A real function is f(gamma) = A_0 + sum_k A_k cos(k gamma + phi_k).
    """
    import numpy as np

    from ntkflow.linalg.spectra import circle_modes

    from ..data.storage import Array

    target = data.file.array("probe/y").values[:, 0]
    dims, kept = ["step", "mode"][-values.ndim :], slice(max_mode + 1)
    amplitude, _ = circle_modes(values)
    # The grid begins at -pi.
    goal, phase = circle_modes(target, start=-np.pi)
    residual, _ = circle_modes(values - target)
    return {
        "mode": Array(np.arange(max_mode + 1), ["mode"], "periods per turn"),
        "amplitude": Array(amplitude[..., kept], dims),
        "target": Array(goal[kept], ["mode"]),
        "target_phase": Array(phase[kept], ["mode"], "radian"),
        "residual": Array(residual[..., kept], dims),
    }
