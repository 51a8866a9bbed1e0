"""Which places the windows of a convolution or a pooling meet."""

import math

import torch
from jaxtyping import Int
from torch import Tensor


def out_grid(grid, size, stride, dilation, pads) -> tuple[int, ...]:
    """Places of the output of a convolution."""
    return tuple(
        (length + before + after - d * (k - 1) - 1) // s + 1
        for length, k, s, d, (before, after) in zip(grid, size, stride, dilation, pads, strict=True)
    )


def window_index(grid, size, stride, dilation, pads) -> Int[Tensor, "p s"]:
    """Place that each tap of each window meets, -1 outside."""
    places = torch.arange(math.prod(grid)).view(grid)
    for axis, (before, after) in enumerate(pads):
        edges = [list(places.shape), list(places.shape)]
        edges[0][axis], edges[1][axis] = before, after
        parts = [places.new_full(edges[0], -1), places, places.new_full(edges[1], -1)]
        places = torch.cat(parts, axis)
    windows = windows_of(places, size, stride, dilation)
    out = math.prod(windows.shape[: len(grid)])
    return windows.reshape(out, math.prod(size))


def windows_of(array: Tensor, size, stride, dilation) -> Tensor:
    """Windows over the last axes: (..., *places, *taps)."""
    lead = array.ndim - len(size)
    for k, (taps, step, apart) in enumerate(zip(size, stride, dilation, strict=True)):
        array = array.unfold(lead + k, apart * (taps - 1) + 1, step)[..., ::apart]
    return array
