"""Parts of the check: each runs alone, in steps, every step within a time of its own."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

Row = dict[str, object]


@dataclass(frozen=True)
class Setting:
    """Where parts run, and whether at their real sizes or at tiny ones."""

    device: str = "cuda"
    smoke: bool = False

    @property
    def place(self) -> torch.device:
        """The device as torch has it."""
        return torch.device(self.device)

    def exists(self) -> bool:
        """Whether torch has the device here."""
        return self.place.type == "cpu" or torch.cuda.is_available()

    @property
    def patience(self) -> float:
        """Factor on the times of steps: where sizes are tiny a busy machine is no failure."""
        return 20.0 if self.smoke else 1.0

    def size(self, real: int, tiny: int) -> int:
        """The number that holds here."""
        return tiny if self.smoke else real


@dataclass(frozen=True)
class Step:
    """What is run at once; a peer may run out of memory or time without a failure.

    Attributes:
        label: "checks", "ours" or the peer's name.
        run: the rows of results; an error is recorded.
        seconds: after so many the process is ended.
        peer: whether it is somebody else's method.
    """

    label: str
    run: Callable[[Setting], list[Row]]
    seconds: float
    peer: bool = False


@dataclass(frozen=True)
class Part:
    """Steps that belong together, under a name for the command line and a title for the table."""

    name: str
    title: str
    steps: tuple[Step, ...]

    @property
    def measures(self) -> bool:
        """Whether it compares times, not values."""
        return any(step.peer for step in self.steps)


class Skip(Exception):
    """Raised by a step that cannot run here, with the reason."""
