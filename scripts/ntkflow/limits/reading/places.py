"""Elements of traced tensors: which place of the network, and which of its channels.

An element is one whole number, place * 2^24 + channel, or -1 for a zero. What only moves elements
(views, slices, concatenation, padding) is done by torch itself to tensors of these numbers.
"""

from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from ...errors import UnsupportedLayerError

BITS = 24
NONE = -1


def elements(places: Int[Tensor, "*p"], channels: int) -> Int[Tensor, "*p c"]:
    """All channels of places."""
    return (places[..., None] << BITS) | torch.arange(channels)


def places_of(ids: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """Places of elements, -1 for zeros."""
    return ids >> BITS


def channels_of(ids: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """Channels of elements, -1 for zeros."""
    return torch.where(ids < 0, NONE, ids & ((1 << BITS) - 1))


def fingerprints(columns: Int[Tensor, "k *rest"]) -> Int[Tensor, " *rest"]:
    """One number for each column, equal where the columns are equal (but for chance, 2^-60)."""
    generator = torch.Generator().manual_seed(0)
    factors = torch.randint(-(2**62), 2**62, (len(columns),), generator=generator)
    return (columns * factors.view(-1, *[1] * (columns.ndim - 1))).sum(0)


def grouped(prints: Int[Tensor, " n"]) -> tuple[Int[Tensor, " n"], Int[Tensor, " g"]]:
    """Group of each entry, groups numbered by first appearance, and the first entry of each."""
    _, inverse = torch.unique(prints, return_inverse=True)
    first = torch.full((int(inverse.max()) + 1,), len(prints))
    first.scatter_reduce_(0, inverse, torch.arange(len(prints)), "amin")
    order = first.argsort()
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order))
    return rank[inverse], first[order]


class RowAxis(NamedTuple):
    """Axis of a tensor on which the rows lie, alone or with places on their outer or inner side."""

    axis: int
    rows: int
    places: int = 1
    outer: bool = True

    def take(self, tensor: Tensor) -> Tensor:
        """The tensor of the first row, where what else lay on the axis of the rows stays."""
        first = self.front(tensor)
        same = tensor.stride(self.axis) == 0 or bool((first == first[:1]).all())
        if not same:
            raise UnsupportedLayerError("reads other places for some rows than for others")
        return first[0]

    def front(self, tensor: Tensor) -> Tensor:
        """The tensor with the rows on its first axis; other places on it stay where they were."""
        if self.places == 1:
            return tensor.movedim(self.axis, 0)
        sizes = (self.rows, self.places) if self.outer else (self.places, self.rows)
        split = tensor.unflatten(self.axis, sizes)
        return split.movedim(self.axis + (not self.outer), 0)

    def give(self, one: Tensor) -> Tensor:
        """A tensor of all rows from that of one."""
        return self.back(one.expand(self.rows, *one.shape))

    def back(self, tensor: Tensor) -> Tensor:
        """The inverse of `front`."""
        if self.places == 1:
            return tensor.movedim(0, self.axis)
        split = tensor.movedim(0, self.axis + (not self.outer))
        return split.flatten(self.axis, self.axis + 1)

    def numbers(self, shape: tuple[int, ...]) -> Tensor:
        """Row of each element of a tensor of all rows, given the shape of that of one."""
        rows = torch.arange(self.rows).view(-1, *[1] * len(shape))
        return self.back(rows.expand(self.rows, *shape))


def row_axis(rows: Int[Tensor, "*shape"], count: int) -> RowAxis | None:
    """Where the rows lie, or None if they are reordered or mixed."""
    moving = [a for a, n in enumerate(rows.shape) if n > 1 and rows.stride(a)]
    if len(moving) > 1:
        moving = [a for a in moving if bool((rows != rows.narrow(a, 0, 1)).any())]
    if len(moving) != 1:
        return None
    (axis,) = moving
    found = rows[tuple(slice(None) if a == axis else 0 for a in range(rows.ndim))]
    places, all_rows = len(found) // count, torch.arange(count)
    if len(found) != places * count:
        return None
    for outer in (True, False):
        expected = all_rows.repeat_interleave(places) if outer else all_rows.repeat(places)
        if torch.equal(found, expected):
            return RowAxis(axis, count, places, outer)
    return None
