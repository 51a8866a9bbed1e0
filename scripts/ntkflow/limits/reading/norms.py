"""Calls of normalisations."""

import torch
from torch import Tensor

from ..nodes import Node
from ..normalization import Normalized
from ..taps import Taps
from .arithmetic import per_node
from .places import places_of


def layer_norm(tracer, x, normalized_shape, weight=None, bias=None, eps=1e-5) -> object:
    """Normalisation over the last axes."""
    return _normalize(tracer, "layer_norm", x, len(normalized_shape), weight, bias, eps, True)


def rms_norm(tracer, x, normalized_shape, weight=None, eps=None) -> object:
    """Division by the root of the mean square over the last axes."""
    eps = torch.finfo(tracer.dtype).eps if eps is None else eps
    return _normalize(tracer, "rms_norm", x, len(normalized_shape), weight, None, eps, False)


def group_norm(tracer, x, num_groups, weight=None, bias=None, eps=1e-5) -> object:
    """Normalisation over the channels of a group and over places."""
    if num_groups > 1 and x.shape[1] == num_groups:
        raise tracer.builder.refused(
            "group_norm",
            "one channel a group is not Gaussian at any width; use groups of several "
            "channels, or LayerNorm",
        )
    return _normalize(tracer, "group_norm", x, x.ndim - 1, weight, bias, eps, True)


def _normalize(tracer, name: str, x, axes: int, weight, bias, eps, subtracts: bool) -> object:
    builder, axis = tracer.builder, tracer.axis(x)
    if axis.axis >= x.ndim - axes:
        raise builder.refused(name, "normalises over rows")
    one = axis.take(x.ids)
    lead = one.ndim - axes
    groups = (
        places_of(one).flatten(lead).flatten(0, max(0, lead - 1))
        if lead
        else (places_of(one).flatten()[None])
    )
    if bool((groups < 0).any()):
        raise builder.refused(name, "normalises zeros of a padding")
    gain, shift = (id(each) if _is_learnt(each) else None for each in (weight, bias))
    per_place = name == "layer_norm" and axes > 1 and gain is not None
    sets = [group.unique() for group in groups.unique(dim=0)]

    def make(source: Node) -> Node:
        over = _shared(builder, name, source, sets)
        options = (source, over, eps, subtracts, gain, shift, per_place)
        return builder.add(Normalized, builder.label(name), source.places, *options)

    for each in (weight, bias):
        if each is not None and not _is_learnt(each) and not _is_plain_constant(each, each is bias):
            raise builder.refused(name, "has a fixed gain other than 1, or a shift other than 0")
    key = (name, gain, shift, eps, tuple(tuple(each.tolist()) for each in sets))
    return per_node(tracer, x, key, make)


def _is_learnt(each: Tensor | None) -> bool:
    return each is not None and each.requires_grad


def _is_plain_constant(each: Tensor, is_shift: bool) -> bool:
    return bool((each == (0 if is_shift else 1)).all())


def _shared(builder, name: str, source: Node, sets: list[Tensor]) -> Taps:
    """Which places share their statistics with each place of a node."""
    index = [torch.tensor([], dtype=torch.long)] * source.places
    for places in sets:
        inside = builder.inside(places, source.index)
        if bool((inside >= 0).any()):
            if bool((inside < 0).any()):
                raise builder.refused(name, "normalises values of several layers together")
            for place in inside.tolist():
                index[place] = inside
    longest = max(map(len, index))
    filled = [each if len(each) else torch.arange(longest) for each in index]
    return Taps(torch.stack(filled), source.places)
