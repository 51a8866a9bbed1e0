"""Calls of attention."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..attention import Attended, ManyHeads
from ..heads import SampledHeads
from ..linear import Linear, Term
from ..nodes import Node
from ..scores import Elementwise, Score, Softmax
from ..taps import Taps
from .places import places_of


def attention(
    tracer,
    module,
    query,
    key,
    value,
    key_padding_mask=None,
    need_weights=True,
    attn_mask=None,
    average_attn_weights=True,
    is_causal=False,
) -> tuple[object, None]:
    """Attention in one of the two scalings that have a limit."""
    builder = tracer.builder
    if key_padding_mask is not None:
        raise builder.refused(
            "attention",
            "key_padding_mask differs from row to row and is not "
            "supported; use attn_mask, or rows of one length",
        )
    if module.scaling == "1/sqrt(d)":
        raise builder.refused(
            "attention",
            "a fixed number of heads with scores q.k/sqrt(d) has no deterministic "
            'limit; use scaling="tied 1/d" or "many heads", or ntkflow.monte_carlo_kernels',
        )
    if module.training and module.dropout.p:
        raise builder.refused(
            "attention", "dropout of its weights has no known limit; use network.eval()"
        )
    if not module.batch_first:
        query, key, value = (each.transpose(0, 1) for each in (query, key, value))
    parts = (module.query(query), module.key(key), module.value(value))
    axis = tracer.axis(parts[0])
    nodes = [_whole_node(tracer, each) for each in parts]
    mask = _score_mask(tracer, attn_mask, is_causal, nodes)
    name, places = builder.here, nodes[0].places
    if module.scaling == "tied 1/d":
        node = builder.add(Attended, name, places, *nodes, _score(module, mask))
    elif module.score == "identity" and _is_of_truths(mask):
        node = builder.add(ManyHeads, name, places, *nodes, None if mask is None else mask == 0)
    else:
        node = builder.add(SampledHeads, name, places, *nodes, _sampled_score(module, mask))
    found = tracer.all_rows(builder.elements(node, module.features, (places,)), axis)
    found = module.out(found)
    return (found if module.batch_first else found.transpose(0, 1)), None


def _whole_node(tracer, x) -> Node:
    """The node whose places, in order, are the tokens of a sequence."""
    builder = tracer.builder
    places = places_of(tracer.axis(x).take(x.ids))[:, 0]
    owners = [builder.nodes[index] for index in builder.sources(places)]
    if len(owners) == 1 and torch.equal(places, builder.places(owners[0])):
        return owners[0]
    taps = [builder.inside(places, each.index)[:, None] for each in owners]
    terms = tuple(
        Term(each, Taps(index, each.places), 1.0) for each, index in zip(owners, taps, strict=True)
    )
    key = "tokens", tuple(places.tolist())
    make = lambda: builder.add(Linear, builder.label("attention"), len(places), terms)  # noqa: E731
    return builder.once(key, make)


def _score_mask(tracer, mask: Tensor | None, is_causal: bool, nodes) -> Tensor | None:
    """A mask (T, S) that is added to the scores."""
    if mask is None and is_causal:
        mask = torch.ones(nodes[0].places, nodes[1].places, dtype=torch.bool).triu(1)
    if mask is None:
        return None
    if mask.ndim != 2 or hasattr(mask, "rows"):
        raise tracer.builder.refused(
            "attention", "attn_mask has to be the same for all rows, (T, S)"
        )
    if mask.dtype == torch.bool:
        return torch.zeros(mask.shape, dtype=tracer.dtype).masked_fill(mask, -torch.inf)
    return mask.to(tracer.dtype)


def _score(module, mask: Tensor | None) -> Callable[[Tensor], Tensor]:
    """Weights of the keys from scores (B, T, S)."""
    hidden = None if mask is None else mask == -torch.inf

    def score(scores: Tensor) -> Tensor:
        if module.score == "softmax":
            return torch.softmax(scores if mask is None else scores + mask, -1)
        function = module.score if isinstance(module.score, nn.Module) else nn.Identity()
        if mask is None:
            return function(scores)
        return function(scores + mask.masked_fill(hidden, 0)).masked_fill(hidden, 0)

    return score


def _sampled_score(module, mask: Tensor | None) -> Score:
    """Weights of the keys from drawn scores."""
    if module.score == "softmax":
        return Softmax(mask)
    return Elementwise(module.score if isinstance(module.score, nn.Module) else nn.Identity(), mask)


def _is_of_truths(mask: Tensor | None) -> bool:
    """Whether a mask says no more than which keys are seen."""
    return mask is None or bool(((mask == 0) | (mask == -torch.inf)).all())
