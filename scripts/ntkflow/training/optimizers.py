"""Optimizers: how a residual becomes a change of the parameters."""

from torch import Tensor


class GradientDescent:
    """theta <- theta - eta dL/dtheta.

    The group adds the products straight into the parameters, times the step size: no gradient is
    ever stored. An optimizer that needs the gradient itself passes `pull_back` its own buffers.
    """

    def __init__(self, learning_rate: float):
        self.learning_rate = learning_rate

    def update(self, group, loss, outputs: Tensor, residual: Tensor) -> None:
        """One step from the outputs of the group's last forward pass; overwrites `residual`."""
        loss.residual(outputs, out=residual)
        group.pull_back(residual, group.parameters, -self.learning_rate * loss.weight)
