"""Networks of one architecture, at one moment of their training."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ntkflow.networks import member
from ntkflow.networks.output_scale import scale_output


@dataclass(frozen=True)
class Members:
    """An ensemble, or one network of it, which is an ensemble of one.

    Attributes:
        network: the architecture.
        parameters: name to tensor (S, *shape).
        start: the same before training.
        seeds: one for each network.
        described: `network` block of the configuration.
        training: `training` block of the configuration, empty without training.
        step: gradient steps since the start.
        kept: what measurements keep from one snapshot of the training to the next.
        shared: the same of the ensemble that one network is taken from.
    """

    network: nn.Module
    parameters: dict[str, Tensor]
    start: dict[str, Tensor]
    seeds: Sequence[int]
    described: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    step: int = 0
    kept: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    shared: dict[str, Any] | None = field(default=None, compare=False, repr=False)

    def at(self, step: int, parameters: dict[str, Tensor]) -> "Members":
        """The same networks later in training."""
        return replace(self, step=step, parameters=parameters)

    def once(self, name: str, make: Callable[[], Any], *, for_all: bool = False) -> Any:
        """What does not change in training, made at the first call.

        Args:
            name: of what is made.
            make: makes it.
            for_all: whether it is the same for all networks of the ensemble.
        """
        kept = self.shared if for_all and self.shared is not None else self.kept
        if name not in kept:
            kept[name] = make()
        return kept[name]

    @property
    def before(self) -> "Members":
        """The same networks before training."""
        return self.at(0, self.start)

    @property
    def in_double(self) -> "Members":
        """The same networks with their weights, but not their start, in float64."""
        doubled = {name: p.double() for name, p in self.parameters.items()}
        return replace(self, parameters=doubled)

    @property
    def where(self) -> dict[str, Any]:
        """Dtype and device of the weights."""
        like = next(iter(self.parameters.values()))
        return {"dtype": like.dtype, "device": like.device}

    @property
    def where_double(self) -> dict[str, Any]:
        """The same in float64."""
        return {**self.where, "dtype": torch.float64}

    def __len__(self) -> int:
        return len(next(iter(self.parameters.values())))

    def __iter__(self) -> "Iterator[Members]":
        """The networks one by one."""
        for index in range(len(self)):
            yield replace(
                self,
                parameters={name: p[index : index + 1] for name, p in self.parameters.items()},
                start={name: p[index : index + 1] for name, p in self.start.items()},
                seeds=[self.seeds[index]],
                kept=self.once(f"member {index}", dict),
                shared=self.kept if self.shared is None else self.shared,
            )

    @property
    def weights(self) -> dict[str, Tensor]:
        """Weights of one network, without the ensemble's axis."""
        return member(self.parameters, 0)

    @property
    def start_weights(self) -> dict[str, Tensor]:
        """Weights of one network before training."""
        return member(self.start, 0)

    def outputs(self, x: Tensor) -> Tensor:
        """Outputs f = alpha h of one network, or alpha (h - h0) if training is centred.

        Args:
            x: inputs (N, n0).

        Returns:
            Outputs (N, O).
        """
        initial = None
        if self.training.get("centred"):
            initial = functional_call(self.network, self.start_weights, (x,))
        values = functional_call(self.network, self.weights, (x,))
        return scale_output(values, self.training.get("output_scale", 1.0), initial)
