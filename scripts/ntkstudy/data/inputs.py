"""Tensors of a data set's file: the training set, the evaluation grid, one anchor on the circle."""

import math

import torch
from torch import Tensor

from .storage import StageFile


def load_training_set(
    data: StageFile, *, dtype: torch.dtype, device: torch.device | str
) -> tuple[Tensor, Tensor]:
    """Inputs (M, d) and targets (M, O)."""
    return _tensor(data, "train/x", dtype, device), _tensor(data, "train/y", dtype, device)


def load_probe(data: StageFile, *, dtype: torch.dtype, device: torch.device | str) -> Tensor:
    """Inputs (N, d) of the evaluation grid or of the test set."""
    return _tensor(data, "probe/x", dtype, device)


def load_targets(data: StageFile, *, dtype: torch.dtype, device: torch.device | str) -> Tensor:
    """Noiseless targets (N, O) of the inputs of `load_probe`."""
    return _tensor(data, "probe/y", dtype, device)


def probe_axis(data: StageFile) -> str:
    """What tells the inputs of `load_probe` apart.

    `gamma` on the circle, `position` on a line, `image` of MNIST.
    """
    return data.array("probe/x", 0).dims[0]


def circle_point(angle: float, *, dtype: torch.dtype, device: torch.device | str) -> Tensor:
    """One point on the unit circle, (1, 2)."""
    return torch.tensor([[math.cos(angle), math.sin(angle)]], dtype=dtype, device=device)


def input_sizes(data: StageFile) -> tuple[int, int]:
    """Input dimension n0 and number of outputs O."""
    return data.array("train/x").values.shape[1], data.array("train/y").values.shape[1]


def _tensor(data: StageFile, name: str, dtype: torch.dtype, device: torch.device | str) -> Tensor:
    return torch.as_tensor(data.array(name).values, dtype=dtype, device=device)
