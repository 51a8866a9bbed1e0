"""Layers of torch.nn: their twins in NTK parameterization, and the scales that torch draws with."""

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import nn

from ..errors import ConfigurationError, UnsupportedLayerError
from . import convolutions, recurrence
from .attention import MultiheadAttention
from .embeddings import Embedding
from .layers import Dense

# A scale that is not named is this one.
INSTEAD = {
    **dict.fromkeys(("sigma_u", "sigma_qk", "sigma_v", "sigma_o"), "sigma_w"),
    "sigma_b_v": "sigma_b",
}
# Where neither is named, and scales are not those of torch.
DEFAULTS = {"sigma_w": 1.0, "sigma_b": 0.0, "sigma_b_qk": 0.0}
UNIFORM = 3**-0.5  # torch draws from U(-1, 1) / sqrt(fan_in), of variance 1 / (3 fan_in)
ATTENTION = (
    "with 1/sqrt(d) and a fixed number of heads its scores stay random at any width, so that there "
    "is no deterministic limit; choose attention='tied 1/d' (queries and keys share weights, d "
    "grows), 'many heads' (the number of heads grows), or '1/sqrt(d)' for a finite network as it is"
)

Scales = dict[str, float]


class Kind(NamedTuple):
    """How a layer of torch is made anew, and its scales in torch's initialisation or why not."""

    make: Callable[..., nn.Module]
    torch_scales: Callable[[Any], dict[str, float | str]]


def _no_bias_limit(variance: str, now: float) -> str:
    return (
        f"torch draws biases of variance {variance}, which goes to zero with width; name 0 for the "
        f"limit, or {now**0.5:.3g} for this width"
    )


def _dense(layer: nn.Linear, attention: str | None, **options: Any) -> Dense:
    return Dense(layer.in_features, layer.out_features, **options)


def _by_fan_in(layer: nn.Linear | nn.modules.conv._ConvNd) -> dict[str, float | str]:
    now = 1 / (3 * layer.weight[0].numel())
    return {"sigma_w": UNIFORM, "sigma_b": _no_bias_limit("1 / (3 fan_in)", now)}


def _filters(layer: nn.modules.conv._ConvNd, **options: Any) -> nn.Module:
    kind = getattr(convolutions, type(layer).__name__)
    options |= dict(stride=layer.stride, padding=layer.padding, dilation=layer.dilation)
    sizes = (layer.in_channels, layer.out_channels, layer.kernel_size)
    return kind(*sizes, groups=layer.groups, **options)


def _convolution(layer: nn.modules.conv._ConvNd, attention: str | None, **options: Any):
    return _filters(layer, padding_mode=layer.padding_mode, **options)


def _transposed(layer: nn.modules.conv._ConvTransposeNd, attention: str | None, **options: Any):
    return _filters(layer, output_padding=layer.output_padding, **options)


def _by_fan_out(layer: nn.modules.conv._ConvTransposeNd) -> dict[str, float | str]:
    now = 1 / (3 * layer.weight[0].numel())
    reason = (
        "torch draws these weights by the number of output channels, whatever the number of terms "
        "of a sum; name the scale"
    )
    return {"sigma_w": reason, "sigma_b": _no_bias_limit("1 / (3 k out_channels)", now)}


def _embedding(
    layer: nn.Embedding, attention: str | None, *, sigma_w: float, bias: str, **where: Any
) -> Embedding:
    for name in ("max_norm", "scale_grad_by_freq", "sparse"):
        if getattr(layer, name):
            raise UnsupportedLayerError(f"{name} has no twin in NTK parameterization; leave it out")
    sizes = (layer.num_embeddings, layer.embedding_dim)
    return Embedding(*sizes, sigma_w=sigma_w, padding_idx=layer.padding_idx, **where)


def _cell(layer: nn.RNNCellBase, attention: str | None, **options: Any) -> nn.Module:
    kind = getattr(recurrence, type(layer).__name__)
    if isinstance(layer, nn.RNNCell):
        options["activation"] = layer.nonlinearity
    return kind(layer.input_size, layer.hidden_size, **options)


def _recurrent(layer: nn.RNNBase, attention: str | None, **options: Any) -> nn.Module:
    kind = getattr(recurrence, type(layer).__name__)
    if layer.proj_size:
        raise UnsupportedLayerError("proj_size has no twin in NTK parameterization; leave it out")
    if isinstance(layer, nn.RNN):
        options["activation"] = layer.nonlinearity
    for name in ("num_layers", "bidirectional", "dropout", "batch_first"):
        options[name] = getattr(layer, name)
    return kind(layer.input_size, layer.hidden_size, **options)


def _by_hidden_size(layer: nn.RNNBase | nn.RNNCellBase) -> dict[str, float | str]:
    reason = (
        "torch draws the weights of the input with variance 1 / (3 hidden_size), so that the input "
        "is not seen at large width; name the scale"
    )
    bias = _no_bias_limit("2 / (3 hidden_size)", 2 / (3 * layer.hidden_size))
    return {"sigma_w": UNIFORM, "sigma_u": reason, "sigma_b": bias}


def _attention(
    layer: nn.MultiheadAttention, attention: str | None, **options: Any
) -> MultiheadAttention:
    if attention is None:
        raise ConfigurationError(f"attention: none is chosen; {ATTENTION}")
    for name in ("bias_k", "add_zero_attn"):
        if getattr(layer, name) is not None and getattr(layer, name) is not False:
            raise UnsupportedLayerError(f"{name} has no twin in NTK parameterization; leave it out")
    options |= dict(dropout=layer.dropout, batch_first=layer.batch_first, scaling=attention)
    options |= dict(kdim=layer.kdim, vdim=layer.vdim)
    return MultiheadAttention(layer.embed_dim, layer.num_heads, **options)


def _by_glorot(layer: nn.MultiheadAttention) -> dict[str, float | str]:
    """Weights of variance 2 / (rows + columns), queries, keys and values being rows of one."""
    d = layer.embed_dim
    rows = 3 * d if layer._qkv_same_embed_dim else d
    query, key, value = ((2 * n / (rows + n)) ** 0.5 for n in (d, layer.kdim, layer.vdim))
    reason = "torch starts these biases at zero and so gives them no scale; name 0, or their scale"
    # Scores and their derivatives see the product of both scales alone.
    scales = {"sigma_qk": (query * key) ** 0.5, "sigma_v": value, "sigma_o": UNIFORM}
    return {**scales, "sigma_b": reason, "sigma_b_v": reason, "sigma_b_qk": 0.0}


def _as_they_are(layer: nn.Embedding) -> dict[str, float | str]:
    return {"sigma_w": 1.0}


PLAIN: dict[type[nn.Module], Kind] = {
    nn.Linear: Kind(_dense, _by_fan_in),
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), Kind(_convolution, _by_fan_in)),
    **dict.fromkeys(
        (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
        Kind(_transposed, _by_fan_out),
    ),
    nn.Embedding: Kind(_embedding, _as_they_are),
}
KINDS: dict[type[nn.Module], Kind] = {
    **PLAIN,
    **dict.fromkeys((nn.RNNCell, nn.LSTMCell, nn.GRUCell), Kind(_cell, _by_hidden_size)),
    **dict.fromkeys((nn.RNN, nn.LSTM, nn.GRU), Kind(_recurrent, _by_hidden_size)),
    nn.MultiheadAttention: Kind(_attention, _by_glorot),
}


def has_bias(layer: nn.Module) -> bool:
    """Whether a layer of torch has biases."""
    if isinstance(layer, nn.MultiheadAttention):
        return layer.in_proj_bias is not None
    bias = getattr(layer, "bias", None)
    return bias is not None and bias is not False
