"""Which places of a value an operation reads at each of its own, slot by slot.

Arrays of pairs are (B, P, N1, N2) where equal places meet, or (B, P, N1, P', N2) where all do.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Int
from torch import Tensor

PLACES = 1, 3  # axes of the places where all pairs are kept


@dataclass(frozen=True, eq=False)
class Taps:
    """Place of the source that slot s of place p reads: index[p, s], -1 for none (a zero)."""

    index: Int[Tensor, "p s"]
    source_places: int

    @property
    def slots(self) -> int:
        """How many places each reads."""
        return self.index.shape[1]

    @cached_property
    def is_identity(self) -> bool:
        """Whether every place reads itself alone."""
        return self.slots == 1 and torch.equal(self.index[:, 0], torch.arange(self.source_places))

    @cached_property
    def is_all(self) -> bool:
        """Whether there is one place, which reads all."""
        return len(self.index) == 1 and torch.equal(self.index[0], torch.arange(self.source_places))

    def rows(self, row: Tensor) -> Tensor:
        """What the slots read of a row quantity (..., B, P, N): (S, ..., B, P', N)."""
        if self.is_identity:
            return row[None]
        index = self.index
        found = row.index_select(-2, index.flatten().clamp(min=0).to(row.device))
        found = found.unflatten(-2, index.shape).movedim(-2, 0)
        if (index < 0).any():
            kept = (index >= 0).mT.reshape(-1, *[1] * (row.ndim - 2), len(index), 1)
            found = found * kept.to(row.device)
        return found

    def paired(self, other: "Taps", array: Tensor, crossed: bool) -> Tensor:
        """Sum over slots of a pair array, slot s on one side meeting slot s on the other."""
        if not crossed:
            return self._summed_equal(array)
        if self.is_identity and other.is_identity:
            return array
        if self.is_all and other.is_all:
            return array.diagonal(0, *PLACES).sum(-1)[:, None, :, None]
        return sum(
            _selected(_selected(array, 1, self.index[:, s]), 3, other.index[:, s])
            for s in range(self.slots)
        )

    def _summed_equal(self, array: Tensor) -> Tensor:
        if self.is_identity:
            return array
        if self.is_all:
            return array.sum(1, keepdim=True)
        return sum(_selected(array, 1, self.index[:, s]) for s in range(self.slots))

    def agrees(self, other: "Taps") -> bool:
        """Whether the same places are read, so that equal places meet equal places."""
        alike = self.source_places == other.source_places
        return self is other or (alike and torch.equal(self.index, other.index))


def _selected(array: Tensor, axis: int, index: Tensor) -> Tensor:
    """Places of an array along an axis, zero where the index is -1."""
    found = array.index_select(axis, index.clamp(min=0).to(array.device))
    if not (index < 0).any():
        return found
    shape = [1] * array.ndim
    shape[axis] = len(index)
    return found.mul_((index >= 0).view(shape).to(array.device))


@dataclass(frozen=True, eq=False)
class Windows(Taps):
    """The places of a convolution on a whole grid: summed axis by axis."""

    grid: tuple[int, ...] = ()
    size: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    padding: tuple[tuple[int, int], ...] = ()

    def paired(self, other: Taps, array: Tensor, crossed: bool) -> Tensor:
        """Sum over the shifts of both places together."""
        if not isinstance(other, Windows) or self.options != other.options:
            return super().paired(other, array, crossed)
        count = len(self.grid)
        array = array.unflatten(3, other.grid) if crossed else array
        array = array.unflatten(1, self.grid)
        for k in range(count):
            axes = (1 + k, 2 + count + k) if crossed else (1 + k,)
            array = window_sum(array, axes, self, k)
        array = array.flatten(1, count)
        return array.flatten(3, 2 + count) if crossed else array

    def _summed_equal(self, array: Tensor) -> Tensor:
        return self.paired(self, array, False)

    @property
    def options(self) -> tuple:
        """All that tells one kind of windows from another."""
        return self.grid, self.size, self.stride, self.dilation, self.padding

    def agrees(self, other: Taps) -> bool:
        """Whether the same places are read."""
        if isinstance(other, Windows):
            return self.options == other.options
        return super().agrees(other)


def window_sum(array: Tensor, axes: tuple[int, ...], windows: Windows, k: int) -> Tensor:
    """Sum over the shifts of axis k of the windows, made along all the axes together."""
    length, size, stride = windows.grid[k], windows.size[k], windows.stride[k]
    before, after = windows.padding[k]
    dilation = windows.dilation[k]
    if (size, stride, before, after) == (1, 1, 0, 0):
        return array
    out = (length + before + after - dilation * (size - 1) - 1) // stride + 1
    total = None
    order = sorted(range(size), key=lambda tap: abs(tap * dilation - before))
    for tap in order:
        shift = tap * dilation - before
        start = max(0, math.ceil(-shift / stride))
        stop = min(out, (length - 1 - shift) // stride + 1)
        if stop <= start:
            continue
        part = _strided(array, axes, start * stride + shift, stop - start, stride)
        if total is None and (start, stop) == (0, out):
            total = part.clone()
            continue
        if total is None:
            shape = [out if a in axes else n for a, n in enumerate(array.shape)]
            total = array.new_zeros(shape)
        _strided(total, axes, start, stop - start, 1).add_(part)
    return total


def _strided(array: Tensor, axes: Sequence[int], start: int, count: int, step: int) -> Tensor:
    """View of `count` entries from `start` in steps along each of the axes."""
    for axis in axes:
        array = array.narrow(axis, start, (count - 1) * step + 1)
        if step > 1:
            array = array[(slice(None),) * axis + (slice(None, None, step),)]
    return array
