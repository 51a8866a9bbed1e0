"""Penalties on the parameters."""

from dataclasses import dataclass

from ..checks import check_choice, check_not_negative

DECAYS = ("coupled", "decoupled", "seed")


@dataclass(frozen=True)
class Penalty:
    """The penalty l1 |theta|_1 + l2 |theta|^2 on all parameters, and how it enters a step.

    coupled: its gradient, l1 sign(theta) + 2 l2 theta, is part of the loss's. decoupled: eta times
    its gradient is subtracted beside the step of the loss (for L2 Loshchilov, Hutter 2019,
    arXiv:1711.05101, with weight decay 2 l2); for gradient descent that is the same. seed: coupled,
    and another l2 theta, without eta, is subtracted. Recorded losses leave the penalty out.

    Args:
        l1: factor >= 0 of |theta|_1.
        l2: factor >= 0 of |theta|^2, without 1/2.
        decay: "coupled", "decoupled" or "seed".

    Raises:
        ConfigurationError: if a factor is negative or the decay unknown.

    Examples:
        >>> bool(ntkflow.Penalty()), bool(ntkflow.Penalty(l2=1e-3))
        (False, True)
    """

    l1: float | int = 0.0
    l2: float | int = 0.0
    decay: str = "coupled"

    def __post_init__(self):
        check_choice("decay", self.decay, DECAYS)
        check_not_negative("l1", self.l1)
        check_not_negative("l2", self.l2)

    def __bool__(self) -> bool:
        return self.l1 > 0 or self.l2 > 0

    def outside(self, learning_rate: float | int) -> float:
        """Share of theta that is subtracted beside the step of the loss and its penalty."""
        return {"coupled": 0.0, "decoupled": 2 * learning_rate * self.l2, "seed": float(self.l2)}[
            self.decay
        ]


NO_PENALTY = Penalty()
