"""Which pairs of outputs a kernel keeps, and where their products go."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

TILE_HEIGHT = 16


class Sizes(NamedTuple):
    """Entries of a product that are formed at once, and up to which outputs share a product.

    On a CPU a tile is still in a cache when it is scaled and added: 256 rows for 10 outputs and
    1000 columns. Outputs in one product cost the pairs o' < o again, and save calls.
    """

    tile: int
    group: int

    @classmethod
    def on(cls, device: torch.device) -> "Sizes":
        """Sizes for a device; an accelerator wants few calls."""
        return cls(2_560_000, 2**17) if device.type == "cpu" else cls(2**25, 2**25)


class Target(NamedTuple):
    """Outputs, their partners, and the view (B, G, P, N1, N2) that takes their products.

    In a block G outputs meet P partners (B = 1); else B outputs meet themselves (G = P = 1).
    """

    outputs: slice
    partners: slice
    values: Tensor


@dataclass(frozen=True)
class Layout:
    """Which pairs of S outputs are kept: all (block), the equal ones, or the sum of those."""

    mode: str
    outputs: int

    def empty(self, n1: int, n2: int, like: Tensor) -> Tensor:
        """Kernel of n1 x n2 rows, yet to be filled."""
        lead = {"block": (self.outputs,) * 2, "diagonal": (self.outputs,), "trace": ()}
        return like.new_empty(*lead[self.mode], n1, n2)

    def targets(self, values: Tensor, symmetric: bool) -> Iterator[Target]:
        """Where the products go, but for a trace, a few outputs at once.

        `symmetric` leaves out partners before the first output of a target.
        """
        block = self.mode == "block"
        size = values[0].numel() if block else values.shape[-2:].numel()
        step = max(1, Sizes.on(values.device).group // size)
        for start in range(0, self.outputs, step):
            outputs = slice(start, min(start + step, self.outputs))
            if block:
                partners = slice(start if symmetric else 0, self.outputs)
                yield Target(outputs, partners, values[None, outputs, partners])
            else:
                yield Target(outputs, outputs, values[outputs, None, None])

    def mirror(self, values: Tensor, i: slice, j: slice) -> None:
        """Fill block (j, i), and on the diagonal the pairs o' < o, exactly symmetric."""
        if i != j:
            values[..., j, i] = self.transpose(values[..., i, j])
        elif self.mode != "block":
            values[..., i, i] = _mirrored(values[..., i, i])
        else:
            square = values[..., i, i]
            for outputs, _, _ in self.targets(square, True):
                own = square[outputs, outputs].transpose(1, 2)
                size = own.shape[:2].numel()
                own.copy_(_mirrored(own.reshape(size, size)).view(own.shape))
                rest = slice(outputs.stop, None)
                square[rest, outputs] = self.transpose(square[outputs, rest])

    def transpose(self, values: Tensor) -> Tensor:
        """The kernel with x1 and x2 exchanged."""
        return values.transpose(0, 1).mT if self.mode == "block" else values.mT


def _mirrored(square: Float[Tensor, "*o n n"]) -> Float[Tensor, "*o n n"]:
    return square.triu() + square.triu(1).mT
