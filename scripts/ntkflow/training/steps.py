"""How a residual becomes a change of the parameters of a group of seeds."""

from math import sqrt

import torch
from torch import Tensor

from .penalty import Penalty

BETAS, EPSILON = (0.9, 0.999), 1e-8


class DescentStep:
    """theta <- theta - eta dL/dtheta.

    The group adds the products straight into the parameters, times the step size: no gradient is
    ever stored. A step that needs the gradient itself passes `pull_back` its own buffers.
    """

    def __init__(self, learning_rate: float | int):
        self.learning_rate = learning_rate

    def update(self, group, loss, outputs: Tensor, residual: Tensor) -> None:
        """One step from the outputs of the group's last forward pass; overwrites `residual`."""
        loss.residual(outputs, out=residual)
        group.pull_back(residual, group.parameters, -self.learning_rate * loss.weight)


class PenalizedDescentStep:
    """theta <- keep theta - eta l1 sign(theta) - eta dL/dtheta.

    keep = 1 - 2 eta l2, and for the decay `seed` 1 - 2 eta l2 - l2. The products of the backward
    pass multiply by `keep` on their way, so L2 costs nothing.
    """

    def __init__(self, learning_rate: float | int, penalty: Penalty):
        self.learning_rate, self.shrink = learning_rate, learning_rate * penalty.l1
        # Plain descent cannot tell its decoupled penalty from a coupled one.
        double = penalty.l2 if penalty.decay == "seed" else 0.0
        self.keep = 1 - 2 * learning_rate * penalty.l2 - double

    def update(self, group, loss, outputs: Tensor, residual: Tensor) -> None:
        """One step from the outputs of the group's last forward pass; overwrites `residual`."""
        signs = [torch.sign(p) for p in group.parameters] if self.shrink else []
        loss.residual(outputs, out=residual)
        scale = -self.learning_rate * loss.weight
        group.pull_back(residual, group.parameters, scale, keep=self.keep)
        for sign, parameter in zip(signs, group.parameters, strict=False):
            parameter.sub_(sign, alpha=self.shrink)


class AdamStep:
    """Adam with beta = (.9, .999) and epsilon = 1e-8 (Kingma, Ba 2015, arXiv:1412.6980)."""

    def __init__(self, learning_rate: float | int, penalty: Penalty):
        self.learning_rate, self.penalty = learning_rate, penalty
        self.outside = penalty.outside(learning_rate)
        self.steps = 0
        self.gradients: list[Tensor] = []

    def update(self, group, loss, outputs: Tensor, residual: Tensor) -> None:
        """One step from the outputs of the group's last forward pass; overwrites `residual`."""
        if not self.gradients:
            self.gradients, self.first, self.second = (
                [torch.zeros_like(p) for p in group.parameters] for _ in range(3)
            )
        loss.residual(outputs, out=residual)
        group.pull_back(residual, self.gradients, loss.weight, keep=0.0)
        self.steps += 1
        state = (group.parameters, self.gradients, self.first, self.second)
        for parameter, gradient, first, second in zip(*state, strict=True):
            self._step(parameter, gradient, first, second)

    def _step(self, parameter: Tensor, gradient: Tensor, first: Tensor, second: Tensor) -> None:
        self._penalize(parameter, gradient)
        first.lerp_(gradient, 1 - BETAS[0])
        second.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
        unbiased = [1 - beta**self.steps for beta in BETAS]
        root = torch.sqrt(second, out=gradient).div_(sqrt(unbiased[1])).add_(EPSILON)
        parameter.addcdiv_(first, root, value=-self.learning_rate / unbiased[0])

    def _penalize(self, parameter: Tensor, gradient: Tensor) -> None:
        penalty = self.penalty
        if not penalty:
            return
        sign = parameter.sign()
        if penalty.decay != "decoupled":
            gradient.add_(parameter, alpha=2 * penalty.l2).add_(sign, alpha=penalty.l1)
        parameter.mul_(1 - self.outside)
        if penalty.decay == "decoupled":
            parameter.sub_(sign, alpha=self.learning_rate * penalty.l1)
