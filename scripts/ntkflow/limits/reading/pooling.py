"""Means and sums over places, and places that are repeated."""

import torch
from jaxtyping import Int
from torch import Tensor

from ..linear import Linear, Term
from ..taps import Taps
from .places import BITS, channels_of, fingerprints, grouped, places_of
from .windows import out_grid, window_index


def mean(tracer, x, dim=None, keepdim=False, *rest, dtype=None) -> object:
    """Mean over axes of places."""
    return _reduce(tracer, "mean", x, dim, keepdim, rest, True)


def total(tracer, x, dim=None, keepdim=False, *rest, dtype=None) -> object:
    """Sum over axes of places."""
    return _reduce(tracer, "sum", x, dim, keepdim, rest, False)


def _reduce(tracer, name: str, x, dim, keepdim, rest: tuple, is_mean: bool) -> object:
    if isinstance(dim, int) and isinstance(keepdim, int) and not isinstance(keepdim, bool):
        dim, keepdim = (dim, keepdim, *rest), False
    dims = range(x.ndim) if dim is None else dim if isinstance(dim, tuple | list) else (dim,)
    dims = sorted(d % x.ndim for d in dims)
    axis = tracer.axis(x)
    if axis.axis in dims:
        raise tracer.builder.unknown(
            f"{tracer.builder.label(name)}: over the axis of the rows (it needs images or "
            "sequences), which"
        )
    one = axis.take(x.ids)
    gone = axis.places == 1
    inner = [d - (gone and d > axis.axis) for d in dims]
    kept = [d for d in range(one.ndim) if d not in inner]
    fibres = one.permute(*kept, *inner).flatten(len(kept))
    coefficient = 1 / fibres.shape[-1] if is_mean else 1.0
    found = linear(tracer, name, fibres, coefficient)
    if keepdim:
        for d in inner:
            found = found.unsqueeze(d)
        return tracer.all_rows(found, axis)
    shifted = axis.axis - sum(d < axis.axis for d in dims)
    return tracer.all_rows(found, axis._replace(axis=shifted))


def linear(tracer, name: str, fibres: Int[Tensor, "*e s"], coefficient: float) -> Tensor:
    """Elements of the sums of fibres of elements."""
    builder = tracer.builder
    places, channels = places_of(fibres), channels_of(fibres)
    first = channels.amax(-1, keepdim=True)
    if bool((first < 0).any()):
        raise builder.refused(name, "sums zeros alone")
    if not bool(((channels == first) | (channels < 0)).all()):
        raise builder.unknown(builder.label(f"{name} over channels"))
    flat = places.flatten(0, -2)
    inverse, firsts = grouped(fingerprints(flat.mT))
    index = flat[firsts]
    terms = tuple(
        Term(
            builder.nodes[k],
            Taps(_compact(builder.inside(index, k)), builder.nodes[k].places),
            coefficient,
        )
        for k in builder.sources(index)
    )
    node = builder.add(Linear, builder.label(name), len(index), terms)
    found = (builder.starts[node.index] + inverse).view(fibres.shape[:-1])
    return (found << BITS) | first[..., 0]


def _compact(index: Int[Tensor, "p s"]) -> Int[Tensor, "p s"]:
    """Without slots that no place reads."""
    return index[:, (index >= 0).any(0)]


def interpolate(
    tracer, x, size=None, scale_factor=None, mode="nearest", align_corners=None, **_
) -> object:
    """Places repeated; other modes than the nearest are refused."""
    if mode not in ("nearest", "nearest-exact"):
        raise tracer.builder.refused("interpolate", f"{mode} has no known limit; use nearest")
    axis = tracer.axis(x)
    one = axis.take(x.ids).double()[None]  # exact below 2^53
    found = torch.nn.functional.interpolate(one, size, scale_factor, mode)[0].long()
    return tracer.all_rows(found, axis)


def average_pool(
    tracer,
    x,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
    *,
    scale: bool = True,
) -> object:
    """Means over windows of places."""
    axis = tracer.axis(x)
    one = axis.take(x.ids)
    axes = one.ndim - 1
    size, step, pad = (
        _per_axis(each, axes) for each in (kernel_size, stride or kernel_size, padding)
    )
    if ceil_mode or divisor_override or (any(pad) and not count_include_pad):
        raise tracer.builder.refused(
            "avg_pool",
            "with ceil_mode, divisor_override, or padding that does not count, has no known limit",
        )
    grid, pads, ones = one.shape[1:], [(p, p) for p in pad], (1,) * axes
    index = window_index(grid, size, step, ones, pads)
    flat = one.flatten(1)
    fibres = torch.where(index < 0, -1, flat[:, index.clamp(min=0)])
    found = linear(tracer, "avg_pool", fibres, 1 / index.shape[1] if scale else 1.0)
    return tracer.all_rows(found.view(-1, *out_grid(grid, size, step, ones, pads)), axis)


def adaptive_pool(tracer, x, output_size) -> object:
    """Means over equal parts of each axis."""
    axis = tracer.axis(x)
    grid = axis.take(x.ids).shape[1:]
    wanted = _per_axis(output_size, len(grid))
    wanted = [g if w is None else w for w, g in zip(wanted, grid, strict=True)]
    if any(g % w for w, g in zip(wanted, grid, strict=True)):
        raise tracer.builder.refused(
            "adaptive_avg_pool", f"{tuple(wanted)} does not divide {tuple(grid)}"
        )
    return average_pool(tracer, x, [g // w for w, g in zip(wanted, grid, strict=True)])


def _per_axis(each, axes: int) -> list:
    each = list(each) if isinstance(each, tuple | list) else [each]
    return each * axes if len(each) == 1 else each
