"""Optimizers: how a cotangent becomes a change of the parameters."""

from torch import Tensor


class GradientDescent:
    """theta <- theta - eta dL/dtheta.

    The gradient is linear in the cotangent dL/dh, so the step size is multiplied into the small
    cotangent and the group adds the products straight into the parameters: no gradient is ever
    stored. An optimizer that needs the gradient itself passes buffers of its own to `pull_back`.
    """

    def __init__(self, learning_rate: float):
        self.learning_rate = learning_rate

    def update(self, group, loss, outputs: Tensor, cotangent: Tensor) -> None:
        """One step from the outputs of the group's last forward pass."""
        loss.cotangent(outputs, -self.learning_rate, out=cotangent)
        group.pull_back(cotangent, group.parameters)
