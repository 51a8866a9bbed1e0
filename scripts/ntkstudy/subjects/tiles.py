"""The kernel that an experiment makes in tiles, and the file that they are assembled in."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ntkflow.empirical import empirical_ntk
from ntkflow.limits import limit_kernels
from ntkflow.networks import draw_parameters, member

from ..data.dataset import DataSet
from .networks import build_narrow, build_network

SEED = 0  # of the network whose empirical kernel is made


@dataclass(frozen=True)
class TiledKernel:
    """A kernel of the training rows.

    Attributes:
        network: the architecture.
        weights: of the network; None for the limit, which has none.
        x: training rows, in the type of the tiles.
        repeats: rows of the kernel for each of them: 1, or O for pairs with the outputs.
        side: training rows along the side of a tile.
    """

    network: nn.Module
    weights: Mapping[str, Tensor] | None
    x: Float[Tensor, "m n0"]
    repeats: int
    side: int

    @staticmethod
    def prepare(cfg: Mapping[str, Any], data: DataSet, device: str) -> "TiledKernel":
        """Of the blocks `network` and `tiles` of a configuration."""
        tiles, sizes = cfg["tiles"], data.sizes
        dtype = getattr(torch, tiles["dtype"])
        x, _ = data.training_set(dtype=dtype, device=device)
        if tiles["kernel"] == "limit":
            return TiledKernel(build_narrow(cfg["network"], *sizes), None, x, 1, tiles["size"])
        network = build_network(cfg["network"], *sizes)
        weights = member(draw_parameters(network, [SEED], dtype=dtype, device=device), 0)
        return TiledKernel(network, weights, x, sizes[1], tiles["size"])

    @property
    def size(self) -> int:
        """Number of rows of the kernel."""
        return len(self.x) * self.repeats

    @property
    def tile(self) -> int:
        """Rows of a tile."""
        return self.side * self.repeats

    @property
    def convention(self) -> str:
        """Which kernel it is, in words."""
        if self.weights is None:
            return "limit NTK of one output"
        return f"NTK of the network of seed {SEED}; rows are pairs of an input and an output"

    def at(self, row: int, column: int) -> Float[Tensor, "a b"]:
        """The tile at a place."""
        i, j = (self.x[self.side * each : self.side * (each + 1)] for each in (row, column))
        return self.between(i, None if row == column else j)

    def between(self, x1: Tensor, x2: Tensor | None = None) -> Float[Tensor, "a b"]:
        """The kernel of some inputs with others, in the type of the first ones."""
        if self.weights is None:
            return limit_kernels(self.network, x1, x2, only="ntk", dtype=x1.dtype).ntk
        weights = {name: each.to(x1.dtype) for name, each in self.weights.items()}
        found = empirical_ntk(self.network, x1, x2, parameters=weights).values
        rows, columns = found.shape[2] * self.repeats, found.shape[3] * self.repeats
        return found.permute(2, 0, 3, 1).reshape(rows, columns)


@dataclass(frozen=True)
class AssembledKernel:
    """The file of a kernel that was made in tiles, and what can make it in one piece.

    Attributes:
        path: the file, of `ntkflow.assemble_kernel_tiles`.
        tiled: what its tiles are of.
    """

    path: str
    tiled: TiledKernel

    @property
    def network(self) -> nn.Module:
        """The architecture."""
        return self.tiled.network
