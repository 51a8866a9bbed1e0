"""Optimizers as users choose them; `steps` does their arithmetic."""

from dataclasses import dataclass

from ..checks import check_positive
from .penalty import NO_PENALTY, Penalty
from .steps import AdamStep, DescentStep, PenalizedDescentStep


@dataclass(frozen=True)
class GradientDescent:
    """Gradient descent on all samples: theta <- theta - eta dL/dtheta.

    Args:
        learning_rate: eta > 0.
        penalty: added to the loss L; see `Penalty`.

    Raises:
        ConfigurationError: if the step is not positive.

    Examples:
        >>> descent = ntkflow.GradientDescent(0.1, penalty=ntkflow.Penalty(l2=1e-3))
        >>> descent.learning_rate
        0.1
    """

    learning_rate: float | int
    penalty: Penalty = NO_PENALTY

    def __post_init__(self):
        check_positive("learning_rate", self.learning_rate)

    def begin(self) -> DescentStep | PenalizedDescentStep:
        """What makes the steps of one group of seeds."""
        if self.penalty:
            return PenalizedDescentStep(self.learning_rate, self.penalty)
        return DescentStep(self.learning_rate)


@dataclass(frozen=True)
class Adam:
    """Adam on all samples, with beta = (.9, .999) and epsilon = 1e-8.

    Source: Kingma, Ba 2015 (arXiv:1412.6980), algorithm 1; with the decay "decoupled" Loshchilov,
    Hutter 2019 (arXiv:1711.05101), algorithm 2.

    Args:
        learning_rate: eta > 0.
        penalty: see `Penalty`.

    Raises:
        ConfigurationError: if the step is not positive.

    Examples:
        >>> ntkflow.Adam(1e-3).penalty
        Penalty(l1=0.0, l2=0.0, decay='coupled')
    """

    learning_rate: float | int
    penalty: Penalty = NO_PENALTY

    def __post_init__(self):
        check_positive("learning_rate", self.learning_rate)

    def begin(self) -> AdamStep:
        """What makes the steps of one group of seeds."""
        return AdamStep(self.learning_rate, self.penalty)


Optimizer = GradientDescent | Adam
