"""Torch's own layers with the weights of layers in NTK parameterization, scaled."""

import torch
from torch import nn

RECURRENT = (nn.RNN, nn.LSTM, nn.GRU)
CELLS = (nn.RNNCell, nn.LSTMCell, nn.GRUCell)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
PLAIN = (nn.Linear, *CONVOLUTIONS, *TRANSPOSED, nn.Embedding)


def weight(layer):
    return layer.weight.detach() * layer.weight_scale


def bias(layer, like):
    if layer.bias is None:
        return torch.zeros_like(like)
    return layer.bias.detach() * layer.sigma_b


def set_plain(layer, ours):
    layer.weight.copy_(weight(ours))
    if getattr(layer, "bias", None) is not None:
        layer.bias.copy_(bias(ours, layer.bias))


def set_cell(cell, ours, suffix=""):
    getattr(cell, f"weight_hh{suffix}").copy_(weight(ours.hidden))
    getattr(cell, f"weight_ih{suffix}").copy_(weight(ours.input))
    if cell.bias:
        given = getattr(cell, f"bias_ih{suffix}")
        given.copy_(bias(ours.input, given))
        getattr(cell, f"bias_hh{suffix}").zero_()


def set_recurrent(layer, ours):
    sides = ["", "_reverse"] if layer.bidirectional else [""]
    places = [f"_l{index}{side}" for index in range(layer.num_layers) for side in sides]
    for place, cell in zip(places, ours.cells, strict=True):
        set_cell(layer, cell, place)


def set_attention(layer, ours):
    """Torch divides the scores by sqrt(d) whatever we do."""
    share = (ours.score_scale * ours.head_dim**0.5) ** 0.5
    parts = [(ours.query, share), (ours.key, share), (ours.value, 1.0)]
    weights = [factor * weight(part) for part, factor in parts]
    if layer.in_proj_weight is not None:
        layer.in_proj_weight.copy_(torch.cat(weights))
    else:
        for name, value in zip("qkv", weights, strict=True):
            getattr(layer, f"{name}_proj_weight").copy_(value)
    if layer.in_proj_bias is not None:
        like = layer.in_proj_bias.chunk(3)
        biases = [f * bias(p, zero) for (p, f), zero in zip(parts, like, strict=True)]
        layer.in_proj_bias.copy_(torch.cat(biases))
    set_plain(layer.out_proj, ours.out)


@torch.no_grad()
def set_weights(network, ours):
    """Let each layer of torch compute what its twin of the same name does."""
    for name, layer in network.named_modules():
        if type(layer) in PLAIN:
            set_plain(layer, ours.get_submodule(name))
        elif isinstance(layer, RECURRENT):
            set_recurrent(layer, ours.get_submodule(name))
        elif isinstance(layer, CELLS):
            set_cell(layer, ours.get_submodule(name))
        elif isinstance(layer, nn.MultiheadAttention):
            set_attention(layer, ours.get_submodule(name))
    return network
