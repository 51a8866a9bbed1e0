"""Losses as small pieces: the value for records, the residual for the backward pass."""

import torch
from jaxtyping import Float
from torch import Tensor


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

    def value(self, outputs: Float[Tensor, "*t s m o"]) -> Float[Tensor, "*t s"]:
        """Loss of every seed."""
        return (outputs - self.target).square().sum(-1).mean(-1)

    def residual(self, outputs: Float[Tensor, "s m o"], *, out: Tensor) -> Tensor:
        """(dL/dh) / `weight`, written into `out`."""
        return torch.sub(outputs, self.target, out=out)


LOSSES = {"mse": MeanSquaredError}
