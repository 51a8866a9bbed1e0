"""How long training takes, and when it is looked at."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from ..errors import ConfigurationError


@dataclass(frozen=True)
class Schedule:
    """Number of updates, and the steps at which losses are recorded and parameters are shown.

    Step t is what t updates have made; step 0 is the start.

    Args:
        steps: number of updates, >= 0.
        record: steps whose losses are recorded, 0 to `steps`.
        snapshots: steps, 0 to `steps`, at which `on_snapshot` is called.
        on_snapshot: called with the step and the parameters (S, *shape); the tensors change when
            training goes on, so copy what is to be kept.
        on_progress: called every so many steps, which depends on the size of the problem, with the
            number of updates and the losses (S,) of the seeds at work, those before the last one;
            seeds that do not fit into memory together are at work one group after the other.

    Raises:
        ConfigurationError: if a step lies outside the training, or nobody looks at the snapshots.

    Examples:
        >>> ntkflow.Schedule(50, record=[0, 50]).steps
        50
    """

    steps: int
    record: Sequence[int] = ()
    snapshots: Sequence[int] = ()
    on_snapshot: Callable[[int, dict[str, Tensor]], object] | None = None
    on_progress: Callable[[int, Tensor], object] | None = None

    def __post_init__(self):
        if self.steps < 0:
            raise ConfigurationError(f"steps: {self.steps!r} is not allowed; use an integer >= 0")
        for name in ("record", "snapshots"):
            outside = [step for step in getattr(self, name) if not 0 <= step <= self.steps]
            if outside:
                raise ConfigurationError(
                    f"{name}: {outside[0]!r} is not within 0 .. steps = {self.steps}"
                )
        if len(self.snapshots) and self.on_snapshot is None:
            raise ConfigurationError(
                "on_snapshot: None is not allowed with snapshots; use a function"
            )

    @property
    def recorded(self) -> list[int]:
        """Recorded steps, ascending, each once."""
        return sorted(set(self.record))

    @property
    def stops(self) -> list[int]:
        """Steps at which training pauses, the last one among them."""
        return sorted({*self.snapshots, self.steps})
