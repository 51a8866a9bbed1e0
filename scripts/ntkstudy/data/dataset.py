"""A data set's file as tensors: training set, evaluation inputs, their targets."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .storage import Array, StageFile, open_file


@dataclass(frozen=True)
class DataSet:
    """Tensors of a data set, each read once for a dtype and device."""

    file: StageFile
    _known: dict[tuple, Tensor] = field(default_factory=dict, compare=False, repr=False)

    def training_set(
        self, *, dtype: torch.dtype, device: torch.device | str
    ) -> tuple[Tensor, Tensor]:
        """Inputs (M, n0) and targets (M, O)."""
        return self._tensor("train/x", dtype, device), self._tensor("train/y", dtype, device)

    def probe(self, *, dtype: torch.dtype, device: torch.device | str) -> Tensor:
        """Inputs (N, n0) of the evaluation grid or of the test set."""
        return self._tensor("probe/x", dtype, device)

    def targets(self, *, dtype: torch.dtype, device: torch.device | str) -> Tensor:
        """Noiseless targets (N, O) at the inputs of `probe`."""
        return self._tensor("probe/y", dtype, device)

    @property
    def axis(self) -> str:
        """What tells the evaluation inputs apart: `gamma` on the circle, `image` of MNIST, ..."""
        return self.file.array("probe/x", 0).dims[0]

    @property
    def coordinate(self) -> Array:
        """Values of that axis."""
        return self.file.array(f"probe/{self.axis}")

    @property
    def sizes(self) -> tuple[int, int]:
        """Input dimension n0 and number of outputs O."""
        return tuple(self.file.array(f"train/{name}").values.shape[1] for name in "xy")

    @property
    def task(self) -> dict[str, Any]:
        """The `task` block of the configuration that made it."""
        return self.file.config["task"]

    def _tensor(self, name: str, dtype: torch.dtype, device: torch.device | str) -> Tensor:
        key = (name, dtype, str(device))
        if key not in self._known:
            values = self.file.array(name).values
            self._known[key] = torch.as_tensor(values, dtype=dtype, device=device)
        return self._known[key]


@contextmanager
def open_dataset(path: str | Path) -> Iterator[DataSet]:
    """Open a data set's file.

    Raises:
        StorageError: if it is missing, truncated or another file.
    """
    with open_file(path, "dataset") as file:
        yield DataSet(file)
