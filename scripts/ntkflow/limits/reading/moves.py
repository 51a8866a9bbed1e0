"""Functions of torch that only move elements, and what may be asked of a tensor's shape."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from .places import NONE
from .traced import Traced, flat, mapped

LOOKED_AT = """
    view view_as reshape reshape_as flatten unflatten ravel permute transpose swapaxes swapdims
    movedim moveaxis squeeze unsqueeze expand expand_as broadcast_to select narrow chunk split
    split_with_sizes tensor_split unbind t T mT H diagonal unfold atleast_1d atleast_2d atleast_3d
    __getitem__ __iter__ contiguous detach to float double type type_as
"""
COPIES = """
    clone cat concat concatenate stack hstack vstack dstack flip fliplr flipud roll repeat
    repeat_interleave tile index_select take_along_dim pixel_shuffle pixel_unshuffle
    channel_shuffle rot90 pad
"""
VIEWS = set(LOOKED_AT.split())
MOVES = VIEWS | set(COPIES.split())
KEEP = {"contiguous", "clone", "detach", "to", "float", "double", "type", "type_as"}
ASKED = """
    shape ndim size dim device dtype layout is_floating_point is_complex numel nelement __len__
    requires_grad is_nested is_cuda is_cpu is_meta is_sparse is_quantized is_mkldnn stride grad_fn
    is_contiguous is_leaf names has_names get_device requires_grad_ is_mps is_xpu __repr__ __hash__
"""
PASSIVE = set(ASKED.split())


def is_passive(name: str) -> bool:
    """Whether a call asks of a tensor what does not depend on its numbers."""
    return name in PASSIVE


def moved(tracer, name: str, function: Callable, args: tuple, kwargs: dict, lifted: bool) -> object:
    """Do to elements, and to the rows of each, what torch does to numbers."""
    if name in KEEP and lifted:
        return _kept(tracer, name, args, kwargs)
    if name == "pad":
        return _padded(tracer, args, kwargs, lifted)
    traced = [each for each in flat((args, kwargs)) if isinstance(each, Traced)]
    like = max(traced, key=lambda each: each.numel())

    def called(change: Callable) -> object:
        return function(*mapped(args, change), **mapped(kwargs, change))

    rows = called(lambda each: _rows_of(each, like))
    content = _elements_of if lifted else _numbers_of
    found = called(lambda each: content(tracer, name, each))
    wrap = tracer.lifted if lifted else tracer.data
    if isinstance(found, Tensor):
        return wrap(found, rows)
    return type(found)(wrap(f, r) for f, r in zip(found, rows, strict=True))


def _kept(tracer, name: str, args: tuple, kwargs: dict) -> object:
    """The same numbers, in another place of memory or with another precision."""
    if name == "detach":
        raise tracer.builder.refused(
            name, "gradients stop there, so that its part of the kernel is not known; leave it out"
        )
    given = [each.dtype if isinstance(each, Tensor) else each for each in args[1:]]
    for each in (*given, *kwargs.values()):
        whole = isinstance(each, torch.dtype) and not each.is_floating_point
        if whole or (name == "type" and isinstance(each, str)):
            raise tracer.builder.refused(name, f"rounds hidden values ({each})")
    return tracer.lifted(args[0].ids, args[0].rows)


def _is_constant(each: object) -> bool:
    """Whether an argument is a tensor of numbers, and no index or mask."""
    return isinstance(each, Tensor) and each.is_floating_point()


def _rows_of(each: object, like) -> object:
    if hasattr(each, "rows"):
        return each.rows
    return _rows_beside(each, like) if _is_constant(each) else each


def _numbers_of(tracer, name: str, each: object) -> object:
    return each.value if hasattr(each, "rows") else each


def _elements_of(tracer, name: str, each: object) -> object:
    if hasattr(each, "ids"):
        return each.ids
    if hasattr(each, "rows"):
        raise tracer.builder.refused(
            name, "puts inputs beside values of weight layers; put a weight layer before it"
        )
    return _zeros(tracer, name, each) if _is_constant(each) else each


def _rows_beside(each: Tensor, like) -> Tensor:
    """Rows of a constant tensor that is put beside traced ones."""
    axis = like.tracer.axis(like)
    rows = torch.arange(axis.rows)
    if each.ndim != like.ndim or each.shape[axis.axis] != axis.rows or axis.places > 1:
        raise like.tracer.builder.refused("a constant", "its rows cannot be told")
    return rows.view([-1 if a == axis.axis else 1 for a in range(each.ndim)]).expand(each.shape)


def _zeros(tracer, name: str, each: Tensor) -> Tensor:
    if each.is_meta or bool(each.any()):
        raise tracer.builder.refused(
            name, "puts constants other than zeros beside values of weight layers"
        )
    return torch.full(each.shape, NONE)


def _padded(tracer, args: tuple, kwargs: dict, lifted: bool) -> object:
    """Padding with zeros, or with places from elsewhere."""
    names = dict(zip(("input", "pad", "mode", "value"), args, strict=False)) | kwargs
    x, mode, value = names["input"], names.get("mode", "constant"), names.get("value")
    if not lifted:
        found = F.pad(x.value, names["pad"], mode, value)
        return tracer.data(found, padded(x.rows, names["pad"], "replicate"))
    if mode == "constant" and value:
        raise tracer.builder.refused("pad", f"pads with {value}, which is no zero")
    rows = tracer.axis(x)
    one = rows.take(x.ids)
    pads = _without_rows(names["pad"], x.ndim, rows.axis)
    return tracer.all_rows(padded(one, pads, mode), rows)


def padded(ids: Tensor, pads: Sequence[int], mode: str) -> Tensor:
    """Elements, padded as torch does with numbers, axis by axis from the last."""
    for k in range(len(pads) // 2):
        axis, (before, after) = ids.ndim - 1 - k, pads[2 * k : 2 * k + 2]
        if mode == "constant":
            ids = _with_zeros(ids, axis, before, after)
        else:
            ids = ids.index_select(axis, _padded_index(ids.shape[axis], before, after, mode))
    return ids


def _padded_index(length: int, before: int, after: int, mode: str) -> Tensor:
    """Which entry each entry of a padded axis repeats."""
    index = torch.arange(-before, length + after)
    if mode == "circular":
        return index % length
    if mode == "reflect":
        index = index.abs()
        return torch.where(index >= length, 2 * (length - 1) - index, index)
    return index.clamp(0, length - 1)


def _with_zeros(ids: Tensor, axis: int, before: int, after: int) -> Tensor:
    """Zeros on both sides; less than none cuts places off."""
    start, stop = max(0, -before), ids.shape[axis] - max(0, -after)
    ids = ids.narrow(axis, start, stop - start)

    def edge(count: int) -> Tensor:
        return ids.new_full([*ids.shape[:axis], max(0, count), *ids.shape[axis + 1 :]], NONE)

    return torch.cat([edge(before), ids, edge(after)], axis)


def _without_rows(pads: Sequence[int], ndim: int, row_axis: int) -> list[int]:
    """Paddings of one row; the axis of the rows, which is gone, must not be padded."""
    pads = list(pads) + [0] * (2 * ndim - len(pads))
    k = ndim - 1 - row_axis
    return pads[: 2 * k] + pads[2 * k + 2 :]
