"""What a long job says of itself every few seconds: step, loss and rate, or what is at work."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from operator import length_hint
from typing import TypeVar

from torch import Tensor

EVERY_S = 5.0
AT_WORK = "at work: "

T = TypeVar("T")
_at_work: list[str] = []  # the outermost first


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


@contextmanager
def at_work(what: str, every: float = EVERY_S) -> Iterator[None]:
    """While what is inside takes long, a line every few seconds says so: "at work: gram, 12 s".

    Within another one the line names that too, and its time: "at work: gram, network 2 of 5, 12 s".

    Args:
        what: a name.
        every: seconds between lines.
    """
    done, inside = threading.Event(), len(_at_work) > 0
    _at_work.append(what)
    if not inside:
        threading.Thread(target=_speak, args=(done, every), daemon=True).start()
    try:
        yield
    finally:
        done.set()
        _at_work.pop()


def told(items: Iterable[T], what: str | Callable[[T], str], every: float = EVERY_S) -> Iterator[T]:
    """The items one by one, each `at_work` until the next is asked for.

    Args:
        items: what is worked on.
        what: a name for each, which gets its number, or what makes a name from an item.
        every: seconds between lines.
    """
    of = f" of {count}" if (count := length_hint(items)) else ""
    for number, item in enumerate(items, start=1):
        name = f"{what} {number}{of}" if isinstance(what, str) else what(item)
        with at_work(name, every):
            yield item


def _speak(done: threading.Event, every: float) -> None:
    """Print what is at work, and for how long, until it is done."""
    start = time.monotonic()
    while not done.wait(every):
        print(f"{AT_WORK}{', '.join(_at_work)}, {time.monotonic() - start:.0f} s", flush=True)
