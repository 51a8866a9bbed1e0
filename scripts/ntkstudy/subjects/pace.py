"""What a long training says of itself: a line every few seconds with step, loss and rate."""

import time
from collections.abc import Callable

from torch import Tensor

EVERY_S = 5.0


class Pace:
    """Prints at most one line in so many seconds; pass `tell` as `on_progress` of a schedule.

    Args:
        steps: of the whole training.
        every: seconds between lines.
        clock: returns seconds.
    """

    def __init__(
        self, steps: int, every: float = EVERY_S, clock: Callable[[], float] = time.monotonic
    ):
        self.steps, self.every, self.clock = steps, every, clock
        self._step, self._time = 0, clock()

    def tell(self, step: int, losses: Tensor) -> None:
        """Print where the training is, if it is time; a group of seeds that starts begins anew.

        Args:
            step: number of updates that were made.
            losses: of the seeds at work, (S,); NaN of those that diverged.
        """
        now = self.clock()
        if step < self._step:
            self._step, self._time = 0, now
        elif now - self._time >= self.every:
            rate, loss = (step - self._step) / (now - self._time), losses.nanmean().item()
            print(f"step {step} of {self.steps}, loss {loss:.4g}, {rate:.3g} steps/s", flush=True)
            self._step, self._time = step, now
