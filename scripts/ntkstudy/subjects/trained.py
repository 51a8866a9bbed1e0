"""Networks of a finished training, one at a time: together they need not fit into memory."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from ntkflow.networks import draw_parameters

from ..data.dataset import DataSet
from ..data.storage import StageFile
from .members import Members
from .networks import build_network


def trained_members(
    cfg: Mapping[str, Any], data: DataSet, run: StageFile, device: str
) -> Iterator[Members]:
    """Every network of a job after training, its start drawn anew from its seed.

    Args:
        cfg: the job's configuration.
        data: the data set.
        run: file of the training, with final weights.
        device: where the weights go.
    """
    network = build_network(cfg["network"], *data.sizes)
    dtype = getattr(torch, cfg["training"]["dtype"])
    for index, seed in enumerate(cfg["seeds"]):
        start = draw_parameters(network, [seed], dtype=dtype, device=device)
        trained = {
            name: torch.as_tensor(run.array(f"weights/{name}", index).values, device=device)[None]
            for name in start
        }
        before = Members(network, start, start, [seed], cfg["network"], cfg["training"])
        yield before.at(cfg["training"]["steps"], trained)
