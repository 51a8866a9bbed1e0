"""What is to be computed, as the methods need to know it."""

from dataclasses import dataclass

from torch import Tensor

from .factors import Layout
from .model import Model


@dataclass(frozen=True)
class Task:
    """A kernel between the rows x1 and x2 (None: x1 again, a symmetric kernel).

    Attributes:
        model: network and parameters.
        x1: rows.
        x2: other rows or None.
        selected: outputs that are needed, S of them.
        layout: which of their pairs are kept.
        by_layer: whether each parameter has its own kernel.
        like: a tensor of the outputs' type and device.
        memory_budget: bytes beside the result.
    """

    model: Model
    x1: Tensor
    x2: Tensor | None
    selected: list[int]
    layout: Layout
    by_layer: bool
    like: Tensor
    memory_budget: int

    @property
    def other(self) -> Tensor:
        """The rows x2, or x1 again."""
        return self.x1 if self.x2 is None else self.x2

    def empty(self) -> Tensor:
        """Kernel yet to be filled."""
        return self.layout.empty(len(self.x1), len(self.other), self.like)
