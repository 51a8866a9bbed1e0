"""Layers that are known as a whole, as nodes of a program."""

import math
from collections.abc import Callable

from torch import Tensor, nn

from ... import networks
from ...errors import UnsupportedLayerError
from ..activations import find_dual
from ..weights import Lookup
from .attending import attention
from .convolving import convolution, transposed
from .fibres import Same, first_node, scales_of, weights_at
from .functions import activate, check_slope
from .places import channels_of, elements, places_of


def apply_layer(tracer, module: nn.Module, args: tuple, kwargs: dict) -> object:
    """Value of a layer that is known as a whole."""
    _check_unchanged(tracer, module)
    if type(module) in LEAVES:
        make = lambda: LEAVES[type(module)](tracer, module, *args, **kwargs)  # noqa: E731
        if not hasattr(module, "sigma_w"):
            return make()
        _check_weight(tracer, module)
        (x,) = args or kwargs.values()
        return tracer.builder.once(("layer", module, Same(x)), make)

    builder = tracer.builder
    if any(each.requires_grad for each in module.parameters()):
        check_slope(tracer, type(module).__name__, isinstance(module, nn.PReLU))
    make = lambda: find_dual(type(module), module, builder.here)  # noqa: E731
    dual = builder.once(("module", module), make)
    return activate(tracer, dual, module, builder.here, *args, **kwargs)


def _check_unchanged(tracer, module) -> None:
    """What is put around a layer's forward would be passed over."""
    hooks = module._forward_hooks or module._forward_pre_hooks
    if hooks or "forward" in vars(module):
        raise tracer.builder.unknown(
            tracer.builder.here,
            "a module of your own around it",
            "it has hooks or another forward (as torch.nn.utils.weight_norm gives it)",
        )


def _check_weight(tracer, module) -> None:
    """Weights and biases belong to one layer, and all of a network's are trained."""
    for each in module.parameters():
        _check_owner(tracer, module, each)
    frozen = not all(each.requires_grad for each in module.parameters())
    if frozen and tracer.is_trained:
        raise tracer.builder.refused(
            "a frozen layer",
            "its weights have no part in the kernel, which is not supported; set requires_grad, "
            "or use ntkflow.monte_carlo_kernels",
        )


def _check_owner(tracer, module, parameter: Tensor) -> None:
    """Weights that two layers share must be used in one way."""
    owner = tracer.builder.once(("weight", id(parameter)), lambda: module)
    if owner is not module:
        names = (tracer.builder.names.get(each, "?") for each in (owner, module))
        raise tracer.builder.refused(
            "shared weights",
            f"of {' and '.join(names)} have no known limit where two layers share "
            "them, as gradients are not independent; call one layer twice, or give each its own",
        )


def dense(tracer, module: networks.Dense, x) -> object:
    """Sums over the last axis."""
    if not hasattr(x, "ids"):
        return _first_dense(tracer, module, x)
    axis = tracer.axis(x)
    if axis.axis == x.ndim - 1:
        raise tracer.builder.refused("Dense", "sums over rows")
    one = axis.take(x.ids)
    ids = one.flatten(0, -2) if one.ndim > 1 else one[None]
    fibres = places_of(ids)
    columns = channels_of(ids)
    _check_images(tracer, module, one, columns)
    found = weights_at(tracer, module, fibres, columns, 1 / fibres.shape[1], 1.0)
    return tracer.all_rows(elements(found, module.out_features).view(*one.shape[:-1], -1), axis)


def _check_images(tracer, module, one: Tensor, columns: Tensor) -> None:
    """The last axis has to hold channels."""
    if one.ndim == 3 and columns.shape[1] > 1 and bool((columns == columns[:, :1]).all()):
        raise UnsupportedLayerError(
            f"{tracer.builder.here}: Dense on images {tuple(one.shape)}, along an axis of places; "
            "put nn.Flatten() or a mean over space before it"
        )


def _first_dense(tracer, module, x) -> object:
    """A dense layer on inputs."""
    x = x if hasattr(x, "rows") else _constant(tracer, x)
    axis = tracer.axis(x)
    numbers = axis.front(x.value)
    if numbers.ndim > 3 or numbers.ndim == 1:
        raise UnsupportedLayerError(
            f"{tracer.builder.here}: Dense on images {tuple(numbers.shape)}; put nn.Flatten() or "
            "a mean over space before it"
        )
    shape = numbers.shape[1:-1]
    node = first_node(tracer, module, numbers.flatten(1, -2) if shape else numbers[:, None])
    ids = tracer.builder.elements(node, module.out_features, shape)
    return tracer.all_rows(ids, axis)


def _constant(tracer, x: Tensor):
    """Zeros that a forward makes, as an initial state, count as inputs."""
    if not isinstance(x, Tensor) or len(x) != tracer.rows:
        raise tracer.builder.refused("a constant", "its rows cannot be told")
    return tracer.data(x.detach())


def embedding(tracer, module, x) -> object:
    """Rows of a table."""
    if not hasattr(x, "value"):
        raise tracer.builder.refused("an embedding", "looks up tokens that are no inputs")
    axis = tracer.axis(x)
    tokens = axis.front(x.value)
    shape = tokens.shape[1:]
    options = (*scales_of(module), module.padding_idx, tracer.dtype)
    node = tracer.builder.add(Lookup, tracer.builder.here, max(1, math.prod(shape)), *options)
    tracer.builder.data[node.index] = tokens.flatten(1).mT[None] if shape else tokens[None, None]
    return tracer.all_rows(tracer.builder.elements(node, module.features, shape), axis)


def _twin(tracer, module, *args, **kwargs) -> object:
    """A layer of torch's own, whose scales are not those of a limit."""
    name = type(module).__name__
    instead = (
        f"ntkflow.{INSTEAD[name]}, whose scales the limit needs, or " if name in INSTEAD else ""
    )
    raise tracer.builder.unknown(
        tracer.builder.here, f"{instead}ntkflow.ntk_parameterization of the network"
    )


def _sampled(tracer, module, *args, **kwargs) -> object:
    """A layer without a closed limit."""
    raise tracer.builder.unknown(
        tracer.builder.here, "ntkflow.monte_carlo_kernels", "its gates multiply correlated values"
    )


INSTEAD = {"Linear": "Dense", **{f"Conv{k}d": f"Conv{k}d" for k in (1, 2, 3)}}

TWINS = [
    nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d,
    nn.ConvTranspose3d, nn.Embedding, nn.RNN, nn.RNNCell, nn.MultiheadAttention,
    nn.TransformerEncoderLayer, nn.TransformerEncoder,
]  # fmt: skip

GATED = [nn.LSTM, nn.LSTMCell, nn.GRU, nn.GRUCell]
GATED += [networks.LSTM, networks.LSTMCell, networks.GRU, networks.GRUCell]

LEAVES: dict[type, Callable] = {
    **dict.fromkeys(TWINS, _twin),
    **dict.fromkeys(GATED, _sampled),
    networks.Dense: dense,
    **dict.fromkeys([networks.Conv1d, networks.Conv2d, networks.Conv3d], convolution),
    **dict.fromkeys(
        [networks.ConvTranspose1d, networks.ConvTranspose2d, networks.ConvTranspose3d], transposed
    ),
    networks.Embedding: embedding,
    networks.MultiheadAttention: attention,
}
