"""Convolutions and transposed ones."""

import math

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn import functional as F

from ...errors import UnsupportedLayerError
from ..taps import Windows
from ..weights import Slots, Weights
from .fibres import constant_channels, first_node, scales_of, slot_nodes
from .moves import padded
from .places import channels_of, elements, fingerprints, grouped, places_of
from .windows import out_grid, window_index, windows_of


def convolution(tracer, module, x) -> object:
    """Sums over channels and the window of every place."""
    size, stride, dilation = module.kernel_size, module.stride, module.dilation
    axes = len(size)
    if not hasattr(x, "ids"):
        return _first_convolution(tracer, module, x, size, stride, dilation)
    axis = tracer.axis(x)
    one = axis.take(x.ids)
    check_grid(tracer, module, one.shape, axes)
    mode, pads = _paddings(module)
    if mode != "zeros":
        one, pads = _wrapped(one, pads, mode), [(0, 0)] * axes
    _check_groups(tracer, module)
    grid = one.shape[1:]
    _check_size(tracer, module, size, grid, dilation, pads)
    index = window_index(grid, size, stride, dilation, pads)
    ids = one.flatten(1)
    places, columns = constant_channels(tracer, places_of(ids), channels_of(ids))
    inverse, representatives = grouped(fingerprints(places.mT))
    if module.groups > 1 and len(representatives) > 1:
        raise tracer.builder.refused(
            "groups", "see different values, so that channels are not alike; use groups=1"
        )
    counts = torch.bincount(inverse)
    said = (inverse.numpy().tobytes(), columns.amax(1).numpy().tobytes(), size)
    shares = counts.double() / len(places) / math.prod(size)
    options = (grid, size, stride, dilation, tuple(pads))
    found = _window_nodes(tracer, module, places[representatives], shares, index, said, options)
    out = out_grid(grid, size, stride, dilation, pads)
    ids = elements(found, module.out_channels).mT.reshape(-1, *out)
    return tracer.all_rows(ids, axis)


def _window_nodes(tracer, module, blocks, shares, index, said, options) -> Tensor:
    """Places of a convolution: windows on whole grids where its sources are such."""
    builder = tracer.builder
    groups = []
    for block, share in zip(blocks, shares.tolist(), strict=True):
        (owner, *others) = builder.sources(block)
        source = builder.nodes[owner]
        whole = not others and torch.equal(block, builder.places(source))
        if not whole:
            slots = torch.cat(
                [torch.where(index < 0, -1, block[index.clamp(min=0)]) for block in blocks], 1
            )
            each = shares.repeat_interleave(index.shape[1])
            return slot_nodes(builder, module, slots, each, said)
        groups.append(Slots(source, Windows(index, source.places, *options), share))
    node = builder.add(
        Weights, builder.here, len(index), *scales_of(module), tuple(groups), (hash(said),)
    )
    return builder.places(node)


def _paddings(module) -> tuple[str, list[tuple[int, int]]]:
    """Kind of padding, and how many places before and after on each axis."""
    return module.padding_mode, [(margin, margin) for margin in module.margins]


def _wrapped(one: Tensor, pads, mode: str) -> Tensor:
    flat = [p for pair in reversed(pads) for p in pair]
    return padded(one, flat, mode)


def _check_groups(tracer, module) -> None:
    groups = module.groups
    if groups > 1 and module.in_channels == groups:
        raise tracer.builder.refused(
            "groups",
            "a depthwise convolution sums over one channel, which is not Gaussian at any "
            "width; use groups of several channels",
        )


def check_grid(tracer, module, shape: tuple[int, ...], axes: int) -> None:
    """Rows (C, *places) have to have as many axes as filters."""
    if len(shape) != axes + 1:
        raise UnsupportedLayerError(
            f"{tracer.builder.here}: {type(module).__name__} needs images (N, C, "
            f"{', '.join('DHW'[-axes:])}), not rows of shape {tuple(shape)}"
        )


def _check_size(tracer, module, size, grid, dilation, pads) -> None:
    for length, k, d, (before, after) in zip(grid, size, dilation, pads, strict=True):
        if length + before + after < d * (k - 1) + 1:
            said = " x ".join(map(str, size))
            raise UnsupportedLayerError(
                f"{tracer.builder.here}: {type(module).__name__} with a {said} filter needs images "
                f"at least that large, not {tuple(grid)}"
            )


def _first_convolution(tracer, module, x, size, stride, dilation) -> object:
    """A convolution on inputs."""
    axis = tracer.axis(x)
    numbers = axis.front(x.value)
    axes = len(size)
    if numbers.ndim != axes + 2:
        raise UnsupportedLayerError(
            f"{tracer.builder.here}: {type(module).__name__} needs images (N, C, "
            f"{', '.join('DHW'[-axes:])}), not {tuple(numbers.shape)}"
        )
    if module.groups > 1:
        raise tracer.builder.refused(
            "groups", "of the first layer see different inputs, so its channels are not alike"
        )
    mode, pads = _paddings(module)
    _check_size(tracer, module, size, numbers.shape[2:], dilation, pads)
    out = out_grid(numbers.shape[2:], size, stride, dilation, pads)
    flat = [p for pair in reversed(pads) for p in pair]
    padded = F.pad(numbers, flat, "constant" if mode == "zeros" else mode)
    windows = windows_of(padded, size, stride, dilation)  # (N, C, *places, *taps)
    numbers = windows.flatten(2, 1 + axes).flatten(3).transpose(1, 2).flatten(2)
    node = first_node(tracer, module, numbers)
    ids = tracer.builder.elements(node, module.out_channels, (math.prod(out),))
    return tracer.all_rows(ids.mT.reshape(-1, *out), axis)


def transposed(tracer, module, x) -> object:
    """Sums over the places of the input from which a filter reaches each place of the output."""
    if not hasattr(x, "ids"):
        raise tracer.builder.refused(
            "a transposed convolution",
            "of inputs has no known limit; put Conv1d, Conv2d or Conv3d before it",
        )
    axis = tracer.axis(x)
    one = axis.take(x.ids)
    check_grid(tracer, module, one.shape, module.weight.ndim - 2)
    index, out = _reached(module, one.shape[1:])
    ids = one.flatten(1)
    places, columns = constant_channels(tracer, places_of(ids), channels_of(ids))
    inverse, representatives = grouped(fingerprints(places.mT))
    taps = math.prod(module.kernel_size) / math.prod(module.stride)
    shares = torch.bincount(inverse).double() / len(places) / taps
    slots = torch.cat(
        [torch.where(index < 0, -1, places[r][index.clamp(min=0)]) for r in representatives], 1
    )
    said = (inverse.numpy().tobytes(), columns.amax(1).numpy().tobytes())
    each = shares.repeat_interleave(index.shape[1])
    found = slot_nodes(tracer.builder, module, slots, each, said)
    ids = elements(found, module.out_channels).mT.reshape(-1, *out)
    return tracer.all_rows(ids, axis)


def _reached(module, grid) -> tuple[Int[Tensor, "p s"], tuple[int, ...]]:
    """Place of the input that meets each tap at each place of the output, -1 for none."""
    coordinates, out = [], []
    for k, length in enumerate(grid):
        size, stride, dilation = module.kernel_size[k], module.stride[k], module.dilation[k]
        total = (length - 1) * stride - 2 * module.padding[k]
        total += dilation * (size - 1) + module.output_padding[k] + 1
        out.append(total)
        numerator = torch.arange(total)[:, None] + module.padding[k] - dilation * torch.arange(size)
        place = numerator // stride
        inside = (numerator % stride == 0) & (place >= 0) & (place < length)
        coordinates.append(torch.where(inside, place, -1))
    index = torch.zeros(1, 1, dtype=torch.long)
    for found, length in zip(coordinates, grid, strict=True):
        joined = index[:, None, :, None] * length + found[None, :, None, :]
        outside = (index[:, None, :, None] < 0) | (found[None, :, None, :] < 0)
        index = torch.where(outside, -1, joined).flatten(0, 1).flatten(1)
    return index, tuple(out)
