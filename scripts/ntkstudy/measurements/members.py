"""Several networks of one architecture, at one moment of their training."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from ntkflow.networks import member

from .networks import Member


@dataclass(frozen=True)
class Ensemble:
    """Networks as the batched measurements take them.

    Attributes:
        network: the architecture.
        parameters: name to tensor (S, *shape).
        start: the same at step 0.
        training: block of the configuration, empty without training.
        step: updates done.
        known: what measurements keep between snapshots.
    """

    network: nn.Module
    parameters: dict[str, Tensor]
    start: dict[str, Tensor]
    training: Mapping[str, Any] = field(default_factory=dict)
    step: int = 0
    known: dict[str, Any] = field(default_factory=dict)

    def at(self, step: int, parameters: dict[str, Tensor]) -> "Ensemble":
        """The same networks later in training."""
        return replace(self, step=step, parameters=parameters)

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """What does not change in training, made at the first call."""
        if name not in self.known:
            self.known[name] = make()
        return self.known[name]

    @property
    def where(self) -> dict[str, Any]:
        """Dtype and device of the parameters."""
        like = next(iter(self.parameters.values()))
        return {"dtype": like.dtype, "device": like.device}

    def members(self) -> list[Member]:
        """The networks one by one."""
        seeds = range(len(next(iter(self.parameters.values()))))
        return [
            Member(
                self.network,
                member(self.parameters, i),
                member(self.start, i),
                self.training,
                self.step,
                self.once(f"member {i}", dict),
            )
            for i in seeds
        ]
