"""Calls of normalisations."""

import torch
from jaxtyping import Int
from torch import Tensor

from ..nodes import Node
from ..normalization import Normalized
from ..taps import Taps
from .arithmetic import per_node
from .places import channels_of, places_of


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
    axis = tracer.axis(x)
    if num_groups > 1 and axis.axis == 0 and not _is_constant(places_of(axis.take(x.ids)), 0):
        raise tracer.builder.refused("group_norm", "its groups are channels of different values")
    return _normalize(tracer, "group_norm", x, x.ndim - 1, weight, bias, eps, True)


def _normalize(tracer, name: str, x, axes: int, weight, bias, eps, subtracts: bool) -> object:
    builder, axis = tracer.builder, tracer.axis(x)
    if axis.axis >= x.ndim - axes:
        raise builder.refused(name, "normalises over rows")
    one = axis.take(x.ids)
    lead = one.ndim - axes
    groups = one.flatten(lead).flatten(0, max(0, lead - 1)) if lead else one.flatten()[None]
    if bool((groups < 0).any()):
        raise builder.refused(name, "normalises zeros of a padding")
    gain, shift = (_learnt(tracer, name, each, k) for each, k in ((weight, 1), (bias, 0)))
    sets = _sets(tracer, name, places_of(groups))
    per_place = name != "group_norm" and axes > 1
    if gain or shift:
        layout = _layout(tracer, name, one if name == "group_norm" else groups, per_place)
        for each in (gain, shift):
            _check_layout(tracer, name, each, layout)

    def make(source: Node) -> Node:
        if (gain, 0) in source.gains:
            raise builder.refused(name, "uses a learnt gain twice; use elementwise_affine=False")
        over = _shared(builder, name, source, sets)
        options = (source, over, eps, subtracts, gain, shift, per_place)
        return builder.add(Normalized, builder.label(name), source.places, *options)

    key = (name, gain, shift, eps, tuple(tuple(each.tolist()) for each in sets))
    return per_node(tracer, x, key, make)


def _learnt(tracer, name: str, each: Tensor | None, start: int) -> int | None:
    """Key of a gain or shift, which starts at one number; None if it is not learnt."""
    if each is None:
        return None
    is_learnt = tracer.learns(each)
    if is_learnt and not each.is_leaf:
        raise tracer.builder.refused(name, "has a gain or shift computed from other parameters")
    if not (each.is_meta or (is_learnt and _was_trained(each)) or bool((each == start).all())):
        raise tracer.builder.refused(name, "has a gain other than 1, or a shift other than 0")
    return id(each) if is_learnt else None


def _was_trained(each: Tensor) -> bool:
    """Whether numbers that start alike differ; the limit is that at initialisation."""
    return each.numel() == 1 or bool((each != each.flatten()[0]).any())


def _is_constant(array: Tensor, dim: int) -> bool:
    return bool((array == array.narrow(dim, 0, 1)).all())


def _layout(tracer, name: str, groups: Tensor, per_place: bool) -> Int[Tensor, "k m"]:
    """Channel and place of each number of a gain: the same wherever it is used."""
    places, channels = places_of(groups), channels_of(groups)
    if name == "group_norm":
        channels, fits = channels.flatten(1)[:, 0][None], _is_constant(places, 0)
    elif per_place:
        (owner, *others) = tracer.builder.sources(places)
        places = tracer.builder.inside(places, owner)
        fits = not others and _is_constant(places, 0) and _is_constant(channels, 0)
        channels = torch.stack([channels[0], places[0]])
    else:
        fits, channels = _is_constant(places, 1) and _is_constant(channels, 0), channels[:1]
    if not fits:
        raise tracer.builder.refused(
            name, "has a gain whose numbers belong to several values; use elementwise_affine=False"
        )
    return channels


def _check_layout(tracer, name: str, key: int | None, layout: Tensor) -> None:
    before = tracer.builder.once(("layout", key), lambda: layout)
    if key is not None and not torch.equal(before, layout):
        raise tracer.builder.refused(
            name, "is used on channels or places in two different orders, with a learnt gain"
        )


def _sets(tracer, name: str, groups: Int[Tensor, "g m"]) -> list[Int[Tensor, " p"]]:
    """Places that are normalised together, each in one set and as often as the others."""
    sets = []
    for group in groups.unique(dim=0):
        places, counts = group.unique(return_counts=True)
        if not _is_constant(counts, 0):
            raise tracer.builder.refused(name, "counts some values more often than others")
        if not any(torch.equal(places, each) for each in sets):
            sets.append(places)
    if len(torch.cat(sets).unique()) < sum(map(len, sets)):
        raise tracer.builder.refused(name, "normalises a value in several groups")
    return sets


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
