"""Measures the tangent kernel in a training loop, within a share of its time."""

import math
from time import perf_counter
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from ..checks import as_whole, check_choice, check_positive, check_tensors
from ..empirical.blocks import check_budget
from ..errors import ConfigurationError
from .subject import LOSSES, Loss, Subject, evaluating
from .values import COLUMNS, KEPT, FormedKernel, KernelProducts, Meter

# N O up to which the kernel is formed: 32 MB, and its eigenvalues take a second or two.
FORM_UP_TO = 2000
TIMES = ("step", "due", "learning_rate", "stability_limit", "kernel", "seconds", "training_seconds")


class Tracker:
    """Kernel, sharpness and drift of a network in the course of a training loop of one's own.

    Theta = J J^T is the block kernel of the N rows x, NO x NO, neither averaged over outputs nor
    divided by N (`empirical_ntk`). `table()` has a row a measurement, with the columns

    - step: where it was made; due: where it was to be made, see below;
    - learning_rate: eta, as given to `step`;
    - lambda_max: largest eigenvalue of Theta;
    - sharpness: largest eigenvalue of the Gauss-Newton matrix J' H J, H the loss's Hessian in the
      outputs (`gauss_newton_sharpness`), in units of 1 / eta;
    - stability_limit: 2 / eta, above which a sharpness makes gradient descent unstable (Cohen et
      al. 2021, arXiv:2103.00065, section 2);
    - trace: of Theta; effective_rank: exp(-sum p log p), p = lambda / trace, between 1 and N O;
    - alignment: y' Theta y / (|Theta| |y|^2), |.| Frobenius, y the targets as one vector, labels as
      one-hot rows (Cristianini et al. 2001);
    - drift: |Theta - Theta_0| / |Theta_0| from the first kernel measured;
    - trace_error, alignment_error, drift_error: standard errors;
    - kernel: "formed" or "products", see below;
    - seconds: that the measurement took; training_seconds: between calls, up to here.

    Where N O is at most `form_up_to` the kernel is formed and every value exact but for rounding
    (errors 0). Above, it is known by products with vectors alone: lambda_max and sharpness to a
    relative 1e-6, trace, alignment and drift as estimates with standard errors, no effective rank
    (NaN). Which of the two is settled by the size, for all rows of a table.

    A measurement is due at the first call and every `every` steps. It is put off while it would
    carry the seconds of all measurements above `share` of the training time so far, taking as long
    as the last one did; the first is always made. So no value is ever cheaper than it says, only
    later, and step and due tell by how much.

    The network is measured in evaluation mode. It, its modes, buffers and gradients, and the
    random numbers stay as they were.

    Args:
        network: the network that is trained.
        x: inputs (N, *shape), a part of the training set if that is large; sharpness is that of the
            loss on these.
        y: targets (N, O), or N labels; None: no alignment (NaN).
        every: steps between two measurements, >= 1.
        share: largest share of the training time, > 0; math.inf for all that are due.
        loss: "mse", sum over outputs, mean over samples; "cross_entropy", of softmax, mean over
            samples; or a function of (outputs, y) to a number, a sum or mean over samples, as
            `torch.nn.functional.mse_loss`, which is also a mean over outputs.
        parameters: names, patterns or parts of the network as in `empirical_ntk`; default: those
            that require a gradient.
        form_up_to: N O up to which the kernel is formed.
        memory_budget: bytes, as in `empirical_ntk`.

    Raises:
        ConfigurationError: if an argument is not allowed, or y does not fit the outputs.
        UnsupportedLayerError: as `empirical_ntk`.

    Examples:
        >>> network, x, y = ntkflow.mlp(3, [64]), torch.randn(20, 3), torch.randn(20, 1)
        >>> optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
        >>> tracker = ntkflow.Tracker(network, x, y, every=10, share=math.inf)
        >>> for step in range(31):
        ...     _ = tracker.step(step, learning_rate=0.05)
        ...     optimizer.zero_grad()
        ...     (network(x) - y).square().sum(1).mean().backward()
        ...     optimizer.step()
        >>> tracker.table()["step"], tracker.table()["drift"][0]
        ([0, 10, 20, 30], 0.0)
    """

    def __init__(
        self,
        network: nn.Module,
        x: Shaped[Tensor, "n *shape"],
        y: Shaped[Tensor, "n *outputs"] | None = None,
        *,
        every: int = 100,
        share: float | int = 0.05,
        loss: Loss = "mse",
        parameters: Any = None,
        form_up_to: int = FORM_UP_TO,
        memory_budget: int | float | None = None,
    ):
        _check_network(network, loss, y)
        check_tensors(x=x, y=y)
        check_positive("share", share)
        check_budget(memory_budget)
        if len(x) == 0:
            raise ConfigurationError("x: no rows; give at least one input")
        self._every, self._share = as_whole("every", every, 1), share
        self._subject = Subject(network, x, y, loss, parameters, memory_budget)
        _ = self._subject.targets  # y is checked before any training
        size = len(x) * self._subject.outputs
        formed = size <= max(form_up_to, KEPT + 1)
        self._meter: Meter = FormedKernel() if formed else KernelProducts()
        self._rows: list[dict[str, Any]] = []
        self._last_step, self._next_due = -1, 0
        self._begun = self._spent = 0.0

    def step(
        self, step: int, *, learning_rate: float | int | None = None, now: bool = False
    ) -> bool:
        """Measure if it is time to, with the weights as they are.

        Args:
            step: number of updates made so far, larger at every call.
            learning_rate: eta of the next update; None: stability_limit is NaN.
            now: measure in any case, beyond the share too, as after the last update.

        Returns:
            Whether a measurement was made.

        Raises:
            ConfigurationError: if the step is not above the last one, or the rate not above 0.
        """
        step = as_whole("step", step, self._last_step + 1)
        if learning_rate is not None:
            check_positive("learning_rate", learning_rate)
        self._last_step = step
        if not self._rows:
            self._begun, self._next_due = perf_counter(), step
        if not now and (step < self._next_due or not self._affordable()):
            return False
        self._measure(step, learning_rate)
        return True

    def table(self) -> dict[str, list]:
        """Columns by name, a row a measurement, as `pandas.DataFrame` takes them."""
        names = (*TIMES[:3], *COLUMNS[:2], TIMES[3], *COLUMNS[2:], *TIMES[4:])
        return {name: [row[name] for row in self._rows] for name in names}

    def _affordable(self) -> bool:
        """Whether another measurement, as long as the last, stays within the share."""
        if not self._rows or math.isinf(self._share):
            return True
        training = perf_counter() - self._begun - self._spent
        return self._spent + self._rows[-1]["seconds"] <= self._share * training

    def _measure(self, step: int, learning_rate: float | int | None) -> None:
        _finish(self._subject.x.device)
        start = perf_counter()
        training = start - self._begun - self._spent
        with evaluating(self._subject.network):
            values = self._meter.measure(self._subject)
        seconds = perf_counter() - start
        self._spent += seconds
        eta = math.nan if learning_rate is None else float(learning_rate)
        times = (step, min(step, self._next_due), eta, 2 / eta, self._meter.name, seconds, training)
        self._rows.append(values | dict(zip(TIMES, times, strict=True)))
        while self._next_due <= step:
            self._next_due += self._every


def _check_network(network: object, loss: object, y: object) -> None:
    if not isinstance(network, nn.Module):
        kind = type(network).__name__
        raise ConfigurationError(f"network: {kind} is not allowed; use a torch.nn.Module")
    if isinstance(loss, str):
        check_choice("loss", loss, LOSSES)
    elif not callable(loss):
        raise ConfigurationError(
            f"loss: {loss!r} is not allowed; use {', '.join(map(repr, LOSSES))} or a function"
        )
    elif y is None:
        raise ConfigurationError("y: None is not allowed for a loss of your own; give targets")


def _finish(device: torch.device) -> None:
    """Wait for the work of the training, which is not the tracker's."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
