"""What is measured on a finite network: one function per kind of measurement.

Each gives arrays `kind/name`; scripts stack them over steps and seeds. Their counterparts for
infinitely wide networks are in `limit_measurements` and `predicted_measurements`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from ntkflow.empirical import empirical_ntk
from ntkflow.linalg.spectra import alignment, eigenvalues, kernel_drift
from ntkflow.networks.output_scale import scale_output

from ..data.inputs import circle_point, load_probe, load_training_set, probe_axis
from ..data.storage import Array, StageFile
from .lazy import LAZY_MEASUREMENTS
from .modes import mode_arrays, spectrum_arrays


@dataclass(frozen=True)
class Member:
    """One network of an ensemble, now and at the start of its training.

    Attributes:
        network: the architecture.
        parameters: its weights now, by name.
        start: its weights before training.
        training: the `training` block of the configuration, empty for an untrained network.
        step: gradient steps since the start.
        kept: what measurements keep from one snapshot of the training to the next.
    """

    network: nn.Module
    parameters: dict[str, Tensor]
    start: dict[str, Tensor]
    training: Mapping[str, Any]
    step: int = 0
    kept: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    _known: dict[str, Tensor] = field(default_factory=dict, compare=False, repr=False)

    @property
    def where(self) -> dict[str, Any]:
        """Dtype and device of the weights."""
        like = next(iter(self.parameters.values()))
        return {"dtype": like.dtype, "device": like.device}

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """What does not change in training, made at the first call."""
        if name not in self.kept:
            self.kept[name] = make()
        return self.kept[name]

    def training_set(self, data: StageFile) -> tuple[Tensor, Tensor]:
        """Inputs (M, d) and targets (M, O), read once."""
        return self.once("training set", lambda: load_training_set(data, **self.where))

    def probe(self, data: StageFile) -> Tensor:
        """Inputs (N, d) of the evaluation grid, read once."""
        return self.once("probe", lambda: load_probe(data, **self.where))

    def outputs(self, x: Tensor) -> Tensor:
        """Outputs f = alpha h, or alpha (h - h0) if training is centred: (N, d) to (N, O)."""
        h, initial = functional_call(self.network, self.parameters, (x,)), None
        if self.training.get("centred"):
            initial = functional_call(self.network, self.start, (x,))
        return scale_output(h, self.training.get("output_scale", 1.0), initial)

    def on_probe(self, data: StageFile) -> Tensor:
        """Outputs on the evaluation grid (N, O), computed once for all measurements."""
        if "probe" not in self._known:
            self._known["probe"] = self.outputs(self.probe(data))
        return self._known["probe"]

    @property
    def diverged(self) -> bool:
        """Whether training diverged, which turns all weights into NaN."""
        return any(tensor.isnan().any() for tensor in self.parameters.values())


Measurement = Callable[[Mapping[str, Any], Member, StageFile], dict[str, Array]]


def measure(
    entries: Sequence[Mapping[str, Any]], member: Member, data: StageFile
) -> dict[str, Array]:
    """Measurements of one network.

    Args:
        entries: measurement blocks of the configuration; `kind` picks the function.
        member: the network.
        data: the data set's file.

    Returns:
        `kind/name` to array, coordinates of its axes included; NaN for a diverged network.
    """
    arrays: dict[str, Array] = {}
    with torch.no_grad():
        for entry in entries:
            arrays |= MEASUREMENTS[entry["kind"]](entry, member, data)
    return arrays


def stack_measurements(each: Sequence[Mapping[str, Array]], dim: str) -> dict[str, Array]:
    """Stack equal measurements along a new leading axis; coordinates are kept once."""
    return {
        name: array
        if _is_coordinate(name, array)
        else Array(np.stack([one[name].values for one in each]), [dim, *array.dims], array.units)
        for name, array in each[0].items()
    }


def _is_coordinate(name: str, array: Array) -> bool:
    return list(array.dims) == [name.split("/")[-1]]


def _profile(entry, member: Member, data: StageFile) -> dict[str, Array]:
    """Theta(x0, x(gamma)): one vjp at the anchor and one jvp over the circle, never a Jacobian."""
    kernel = empirical_ntk(
        member.network,
        circle_point(entry["anchor_angle"], **member.where),
        member.probe(data),
        parameters=member.parameters,
        outputs="mean",
        method="vector_product",
    )
    return {
        "profile/gamma": data.array("probe/gamma"),
        "profile/theta": Array(_numpy(kernel.values[0]), ["gamma"], kernel.convention),
    }


def _function(entry, member: Member, data: StageFile) -> dict[str, Array]:
    """Outputs f on the evaluation grid or the test images."""
    axis = probe_axis(data)
    return {
        f"function/{axis}": data.array(f"probe/{axis}"),
        "function/f": Array(_numpy(member.on_probe(data)), [axis, "output"]),
    }


def _modes(entry, member: Member, data: StageFile) -> dict[str, Array]:
    """Fourier amplitudes of f and of its distance from the noiseless target."""
    values = member.on_probe(data)
    return mode_arrays(_numpy(values)[:, 0], data.array("probe/y").values[:, 0], entry["max_mode"])


def _kernel(entry, member: Member, data: StageFile) -> dict[str, Array]:
    """Gram matrix on the training set: top eigenvalue, sharpness, alignment, drift since the start.

    Of h, not of f = alpha h: dividing the loss by alpha squared makes its dynamics those of h.
    """
    x, y = member.training_set(data)
    now = _gram(member, member.parameters, x)
    before = member.once("gram at start", lambda: _gram(member, member.start, x))
    top = eigenvalues(now)[0] / len(x) if np.isfinite(now).all() else np.nan
    rate = member.training.get("learning_rate", np.nan)
    numbers = {
        "lambda_max": (top, "largest eigenvalue of K / M"),
        "sharpness": (2 * rate * top, "2 eta lambda_max; gradient descent is stable below 2"),
        "trace": (np.trace(now) / len(x), "trace of K / M"),
        "alignment": (alignment(now, _numpy(y)), "cosine of K and y y'"),
        "drift": (kernel_drift(now, before), "Frobenius norm of K - K_0 over that of K_0"),
    }
    return {
        f"kernel/{name}": Array(np.asarray(v), [], units) for name, (v, units) in numbers.items()
    }


def _spectrum(entry, member: Member, data: StageFile) -> dict[str, Array]:
    """Leading eigenvalues of the Gram matrix over M on the training set, of h as in `_kernel`."""
    x, _ = member.training_set(data)
    gram = _gram(member, member.parameters, x)
    return spectrum_arrays(gram, entry["eigenvalues"])


def _gram(member: Member, parameters: dict[str, Tensor], x: Tensor) -> np.ndarray:
    # The mean over outputs is what the limit kernel, that of any one output, is compared with.
    kernel = empirical_ntk(member.network, x, parameters=parameters, outputs="mean")
    return _numpy(kernel.values.to(torch.float64))


def _movement(entry, member: Member, data: StageFile) -> dict[str, Array]:
    """Distance of the weights from their start."""
    pairs = [(member.parameters[name], start) for name, start in member.start.items()]
    moved = sum(float((now - start).double().square().sum()) for now, start in pairs) ** 0.5
    size = sum(float(start.double().square().sum()) for _, start in pairs) ** 0.5
    scale = member.training.get("output_scale", 1.0)
    numbers = {
        "distance": (moved, "norm of theta_t - theta_0"),
        "relative": (moved / size, "over the norm of theta_0"),
        "scaled": (scale * moved, "alpha times the distance"),
        "start": (size, "norm of theta_0"),
    }
    return {
        f"movement/{name}": Array(np.asarray(v), [], units) for name, (v, units) in numbers.items()
    }


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()


MEASUREMENTS: dict[str, Measurement] = {
    "profile": _profile,
    "function": _function,
    "modes": _modes,
    "kernel": _kernel,
    "spectrum": _spectrum,
    "movement": _movement,
    **LAZY_MEASUREMENTS,
}
