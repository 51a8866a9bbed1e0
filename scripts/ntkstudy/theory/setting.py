"""What checks of theory share: the experiment's network and data, ensembles, result tables."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from ntkflow.networks import draw_parameters, member

from ..data.dataset import DataSet
from ..data.storage import Array

NUMBERS = 2**22  # weights that are held at once


@dataclass(frozen=True)
class Setting:
    """An experiment's architecture, training set (M, d) and (M, O), data set and training.

    Several checks of one setting may share what `once` makes.
    """

    network: nn.Module
    x: Float[Tensor, "m d"]
    y: Float[Tensor, "m o"]
    data: DataSet
    training: Mapping[str, Any]
    _kept: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @staticmethod
    def prepare(
        network: nn.Module, data: DataSet, training: Mapping[str, Any], device: str
    ) -> "Setting":
        """In float64.

        Args:
            network: the architecture, without weights.
            data: the data set.
            training: the `training` block of the configuration, or empty.
            device: where to compute.
        """
        x, y = data.training_set(dtype=torch.float64, device=device)
        return Setting(network, x, y, data, training)

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """What several checks need, made at the first call."""
        if name not in self._kept:
            self._kept[name] = make()
        return self._kept[name]

    def parameters(self, seeds: Sequence[int]) -> dict[str, Tensor]:
        """Weights of an ensemble, name to (S, *shape), in float64."""
        like = dict(dtype=self.x.dtype, device=self.x.device)
        return draw_parameters(self.network, seeds, **like)

    def groups(self, draws: int) -> Iterator[dict[str, Tensor]]:
        """Weights of so many networks, as many at a time as fit."""
        size = max(1, NUMBERS // sum(p.numel() for p in self.network.parameters()))
        for first in range(0, draws, size):
            yield self.parameters(range(first, min(first + size, draws)))

    def members(self, draws: int) -> Iterator[dict[str, Tensor]]:
        """Weights of so many networks, one after the other."""
        for group in self.groups(draws):
            for index in range(len(next(iter(group.values())))):
                yield member(group, index)

    def outputs(self, parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        """Outputs of the network with these weights."""
        return functional_call(self.network, parameters, (x,))


def by_seed(rows: Sequence[Mapping[str, Any]], *axes: str) -> dict[str, Array]:
    """Results of every draw, one mapping each, as arrays (seed, *axes)."""
    arrays = {"seed": Array(np.arange(len(rows)), ["seed"])}
    for name in rows[0]:
        values = np.stack([np.asarray(_numpy(row[name]), dtype=float) for row in rows])
        arrays[name] = Array(values, ["seed", *axes[: values.ndim - 1]])
    return arrays


def axis(name: str, values: Sequence | np.ndarray) -> dict[str, Array]:
    """Coordinate of an axis; texts are stored as bytes."""
    array = np.asarray(values)
    return {name: Array(array.astype("S") if array.dtype.kind == "U" else array, [name])}


def _numpy(value: Any) -> Any:
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value
