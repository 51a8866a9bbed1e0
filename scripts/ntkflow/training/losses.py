"""Losses as small pieces: the value for records, the residual for the backward pass."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import ConfigurationError
from ..networks.output_scale import scale_output


class Loss(ABC):
    """A loss L of the outputs h of every seed, through the model f = alpha (h - offset).

    `Objective` takes a subclass in place of a name.

    Args:
        y: targets (M, O).
        output_scale: alpha.
        offset: (S, M, O), the initial function or zero.

    Attributes:
        weight: dL/dh is the residual times this number.
    """

    weight: float

    @abstractmethod
    def __init__(
        self, y: Float[Tensor, "m o"], output_scale: float | int, offset: Float[Tensor, "s m o"]
    ):
        """Keep what `value` and `residual` need."""

    @staticmethod
    @abstractmethod
    def check(y: Float[Tensor, "m o"]) -> None:
        """Raise a ConfigurationError if the loss has no meaning for these targets."""

    @abstractmethod
    def value(self, outputs: Float[Tensor, "*t s m o"]) -> Float[Tensor, "*t s"]:
        """Loss of every seed."""

    @abstractmethod
    def residual(self, outputs: Float[Tensor, "s m o"], *, out: Tensor) -> Tensor:
        """(dL/dh) / `weight`, written into `out`."""


class MeanSquaredError(Loss):
    """L = (1/M) sum_i |f(x_i) - y_i|^2 / alpha^2 of the scaled model f = alpha (h - offset).

    |.|^2 sums over the outputs. The scale is folded into the target: with
    target = y / alpha + offset the loss is (1/M) sum_i |h(x_i) - target_i|^2, so that training at
    output scale alpha costs nothing (Chizat, Bach 2018, arXiv:1812.07956, section 1).
    """

    def __init__(self, y: Tensor, output_scale: float | int, offset: Tensor):
        self.target = y / output_scale + offset
        self.weight = 2 / len(y)

    @staticmethod
    def check(y: Float[Tensor, "m o"]) -> None:
        """Takes any targets."""

    def value(self, outputs: Float[Tensor, "*t s m o"]) -> Float[Tensor, "*t s"]:
        """Loss of every seed."""
        return (outputs - self.target).square().sum(-1).mean(-1)

    def residual(self, outputs: Float[Tensor, "s m o"], *, out: Tensor) -> Tensor:
        """(dL/dh) / `weight`, written into `out`."""
        return torch.sub(outputs, self.target, out=out)


class CrossEntropy(Loss):
    """L = -(1/M) sum_i sum_o y_io log softmax(f(x_i))_o / alpha^2, f = alpha (h - offset).

    Targets y are one-hot rows, or any rows of probabilities; natural logarithm.
    """

    def __init__(self, y: Tensor, output_scale: float | int, offset: Tensor):
        # Samples along the last axis in memory, like the outputs: ten times faster.
        self.y = y.mT.contiguous().mT
        self.output_scale, self.offset = output_scale, offset
        self.weight = 1 / (len(y) * output_scale)

    @staticmethod
    def check(y: Float[Tensor, "m o"]) -> None:
        """Raise a ConfigurationError unless every row of y is one of probabilities."""
        if y.is_meta:
            return
        total = y.sum(-1)
        worst = int((total - 1).abs().argmax())
        if y.min() < 0 or (total[worst] - 1).abs() > 1e-5:
            raise ConfigurationError(
                f"y: row {worst} sums to {float(total[worst]):g}; the loss 'cross_entropy' takes "
                "one-hot rows, or others of probabilities"
            )

    def value(self, outputs: Float[Tensor, "*t s m o"]) -> Float[Tensor, "*t s"]:
        """Loss of every seed."""
        f = scale_output(outputs, self.output_scale, self.offset)
        logs = f.logsumexp(-1) - (f * self.y).sum(-1)
        return logs.mean(-1) / self.output_scale**2

    def residual(self, outputs: Float[Tensor, "s m o"], *, out: Tensor) -> Tensor:
        """(dL/dh) / `weight` = softmax(f) - y, written into `out`."""
        scale_output(outputs, self.output_scale, self.offset, out=out)
        return out.copy_(torch.softmax(out.mT, dim=-2).mT).sub_(self.y)


LOSSES = {"mse": MeanSquaredError, "cross_entropy": CrossEntropy}
