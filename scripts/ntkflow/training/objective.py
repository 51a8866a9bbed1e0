"""What training minimises."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import check_choice, check_positive
from .losses import LOSSES, Loss


@dataclass(frozen=True)
class Objective:
    """The loss of a training, and the model f made of the network h.

    L = (1/M) sum_i l(f(x_i), y_i) / alpha^2 with f = alpha h or, centred, f = alpha (h - h_0),
    h_0 being the initial function. l is the squared distance |f - y|^2 ("mse") or the cross-entropy
    -sum_o y_o log softmax(f)_o ("cross_entropy"), both summed over the outputs. The larger alpha,
    the lazier the training. Source: Chizat, Bach 2018 (arXiv:1812.07956).

    Args:
        loss: "mse", "cross_entropy", whose targets are one-hot rows, or a subclass of
            `ntkflow.training.Loss`.
        output_scale: alpha > 0.
        centred: subtract the initial function; not for dropout, which makes that random.

    Raises:
        ConfigurationError: if the loss is unknown or the scale not positive.

    Examples:
        >>> ntkflow.Objective("cross_entropy", centred=True)
        Objective(loss='cross_entropy', output_scale=1.0, centred=True)
    """

    loss: str | type[Loss] = "mse"
    output_scale: float | int = 1.0
    centred: bool = False

    def __post_init__(self):
        if not isinstance(self.loss, type):
            check_choice("loss", self.loss, LOSSES)
        check_positive("output_scale", self.output_scale)

    def check(self, y: Float[Tensor, "m o"]) -> None:
        """Raise a ConfigurationError if the loss has no meaning for these targets."""
        self._kind.check(y)

    def of(self, y: Float[Tensor, "m o"], initial: Float[Tensor, "s m o"]) -> Loss:
        """The loss of networks whose initial outputs are these."""
        offset = initial if self.centred else torch.zeros_like(initial)
        return self._kind(y, self.output_scale, offset)

    @property
    def _kind(self) -> type[Loss]:
        return LOSSES[self.loss] if isinstance(self.loss, str) else self.loss


MSE = Objective()
