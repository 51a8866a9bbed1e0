"""Losses as small pieces: the value for records, the residual for the backward pass."""

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import ConfigurationError


class MeanSquaredError:
    """L = (1/M) sum_i |f(x_i) - y_i|^2 / alpha^2 of the scaled model f = alpha (h - offset).

    |.|^2 sums over the outputs. The scale is folded into the target: with
    target = y / alpha + offset the loss is (1/M) sum_i |h(x_i) - target_i|^2, so that training at
    output scale alpha costs nothing (Chizat, Bach 2018, arXiv:1812.07956, section 1).
    """

    def __init__(self, target: Float[Tensor, "s m o"]):
        self.target = target
        self.weight = 2 / target.shape[-2]

    @classmethod
    def scaled(cls, y: Tensor, output_scale: float, offset: Tensor) -> "MeanSquaredError":
        """Loss for targets y (M, O) and an offset (S, M, O), the initial function or zero."""
        return cls(y / output_scale + offset)

    @staticmethod
    def check(y: Float[Tensor, "m o"]) -> None:
        """Takes any targets."""

    def value(self, outputs: Float[Tensor, "*t s m o"]) -> Float[Tensor, "*t s"]:
        """Loss of every seed."""
        return (outputs - self.target).square().sum(-1).mean(-1)

    def residual(self, outputs: Float[Tensor, "s m o"], *, out: Tensor) -> Tensor:
        """(dL/dh) / `weight`, written into `out`."""
        return torch.sub(outputs, self.target, out=out)


class CrossEntropy:
    """L = -(1/M) sum_i sum_o y_io log softmax(f(x_i))_o / alpha^2, f = alpha (h - offset).

    Targets y are one-hot rows, or any rows of probabilities; natural logarithm.
    """

    def __init__(self, y: Float[Tensor, "m o"], output_scale: float, offset: Tensor):
        # Samples along the last axis in memory, like the outputs: ten times faster.
        self.y = y.mT.contiguous().mT
        self.output_scale, self.offset = output_scale, offset
        self.weight = 1 / (len(y) * output_scale)

    @classmethod
    def scaled(cls, y: Tensor, output_scale: float, offset: Tensor) -> "CrossEntropy":
        """Loss for targets y (M, O) and an offset (S, M, O), the initial function or zero."""
        return cls(y, output_scale, offset)

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
        f = (outputs - self.offset) * self.output_scale
        logs = f.logsumexp(-1) - (f * self.y).sum(-1)
        return logs.mean(-1) / self.output_scale**2

    def residual(self, outputs: Float[Tensor, "s m o"], *, out: Tensor) -> Tensor:
        """(dL/dh) / `weight` = softmax(f) - y, written into `out`."""
        torch.sub(outputs, self.offset, out=out).mul_(self.output_scale)
        return out.copy_(torch.softmax(out.mT, dim=-2).mT).sub_(self.y)


LOSSES = {"mse": MeanSquaredError, "cross_entropy": CrossEntropy}
