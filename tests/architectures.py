"""Toy networks of every kind that kernels are computed of: how to make each, its inputs, and which
calls refuse it.

A call not listed in `refused` must give the right kernel; a listed one must give one clear line.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import architecture_images as on_images
import architecture_odd as odd
import architecture_sequences as on_sequences
import torch
from never_wrong_cases import CASES
from torch import nn


class Architecture(NamedTuple):
    """A network, N inputs in float32, and the methods refusing it."""

    make: Callable[[], nn.Module]
    inputs: Callable[[int], torch.Tensor]
    refused: frozenset[str] = frozenset()


def of_shape(*shape):
    return lambda n: torch.randn(n, *shape)


def ids(n):
    return torch.randint(1, on_sequences.VOCABULARY, (n, 5))


def padded_ids(n):
    """Ends filled with 0, to other lengths in every row."""
    found = ids(n)
    for row in range(n):
        found[row, 2 + row % 4 :] = 0
    return found


images, vectors = of_shape(3, 8, 8), of_shape(4)
sequences, points = of_shape(4, on_sequences.WIDTH), of_shape(2)


def on(inputs, *refused, **networks):
    """Rows of the table that share their inputs and what refuses them."""
    return {
        name.replace("_", " "): Architecture(make, inputs, frozenset(refused))
        for name, make in networks.items()
    }


def known(name, inputs, *refused):
    """A network that other tests have, under the same name."""
    return {name: Architecture(CASES[name].make, inputs, frozenset(refused))}


LAYERWISE = ("layerwise",)
VMAP = ("jacobian",)
DOUBLE_VMAP = (*VMAP, "vector_product")
TORCH_FUNC = ("jacobian", "vector_product")
EVERYTHING = ("auto", "autograd", *LAYERWISE, *DOUBLE_VMAP)

ARCHITECTURES = {
    **on(
        images,
        resnet18=on_images.resnet18,
        mobilenet_v2=on_images.mobilenet_v2,
        efficientnet=on_images.efficientnet,
        convnext=on_images.convnext,
        vit=on_images.Vit,
        swin=on_images.Swin,
        mixer=on_images.Mixer,
        instance_norm=on_images.instance_norm,
        only_the_last_layer=odd.last_layer_of(on_images.resnet18),
        lora_in_vit=odd.lora_in_vit,
    ),
    **on(of_shape(1, 4, 4), unet=on_images.UNet),
    **on(of_shape(2, 5, 5), densenet=on_images.DenseNet),
    **on(of_shape(1, 8), autoencoder_1d=on_images.autoencoder_1d),
    **on(of_shape(1, 4, 4, 4), conv_3d=on_images.conv_3d),
    **on(
        sequences,
        *VMAP,
        lstm=partial(on_sequences.recurrent, nn.LSTM),
        deep_lstm=partial(on_sequences.recurrent, nn.LSTM, num_layers=2, bidirectional=True),
        gru=partial(on_sequences.recurrent, nn.GRU),
        rnn=partial(on_sequences.recurrent, nn.RNN),
        lstm_cell=on_sequences.of_lstm_cell,
    ),
    **on(
        sequences,
        encoder=on_sequences.encoder,
        encoder_norm_first=partial(on_sequences.encoder, norm_first=True, activation="gelu"),
        encoder_decoder=on_sequences.EncoderDecoder,
        linear_attention=on_sequences.of_linear_attention,
        state_space=on_sequences.of_state_space,
        gpt2_of_embeddings=on_sequences.gpt2,
        set_of_points=odd.deep_set,
        graph_convolution=odd.graph_convolution,
    ),
    **on(of_shape(6, 8), temporal_convolutions=on_sequences.temporal),
    **on(
        ids,
        gpt2=on_sequences.gpt2,
        gpt2_eager=partial(on_sequences.gpt2, attn_implementation="eager"),
        bert=on_sequences.bert,
        llama_in_one_type=on_sequences.llama_in_one_type,
        encoder_sequence_first=on_sequences.sequence_first,
        tied_embedding=odd.TiedEmbedding,
    ),
    # Fast methods differ from plain autograd by the rounding of float32 inside.
    **on(ids, *LAYERWISE, *DOUBLE_VMAP, llama=on_sequences.llama),
    **on(ids, *VMAP, lstm_on_ids=partial(on_sequences.recurrent, nn.LSTM, embed=True)),
    **on(ids, *DOUBLE_VMAP, sparse_embedding=partial(odd.embedding, sparse=True)),
    **on(ids, "vector_product", embedding_bag=odd.bag),
    **on(ids, *EVERYTHING, shortened_embedding=odd.shortened_embedding),
    **on(padded_ids, padding_mask=on_sequences.padding_mask),
    **on(padded_ids, *VMAP, gpt2_classifier=on_sequences.gpt2_classifier),
    **known("burgers", points, *DOUBLE_VMAP),
    **known("hamiltonian", vectors, *DOUBLE_VMAP),
    **known("laplacian by torch.func", points),
    **on(points, *DOUBLE_VMAP, poisson=odd.poisson, advection=odd.advection),
    **on(points, deep_operator=odd.deep_operator),
    **known("experts", vectors, *LAYERWISE, *VMAP),
    **known("experts by assignment", vectors, *LAYERWISE, *VMAP),
    **on(vectors, *LAYERWISE, *VMAP, top_two_experts=odd.top_two_experts),
    **on(vectors, soft_experts=odd.soft_experts),
    **known("prelu", vectors, *VMAP),
    **known("cdist", of_shape(3), *LAYERWISE, *DOUBLE_VMAP),
    **known("input in place", vectors),
    **known("checkpoint", vectors, *TORCH_FUNC),
    **known("checkpoint of a convolution", vectors, *DOUBLE_VMAP),
    **known("function", vectors, *TORCH_FUNC),
    **known("gradient reversed", vectors, *TORCH_FUNC),
    **on(vectors, *TORCH_FUNC, once_differentiable=odd.once_differentiable),
    **known("backward hook", vectors, *DOUBLE_VMAP),
    **known("fourier", vectors),
    **known("sorted", vectors, *LAYERWISE),
    **on(vectors, scripted=odd.scripted),
    **on(vectors, "vector_product", normalised_weights=odd.normalised_weights),
    **on(vectors, *EVERYTHING, batch_mean=odd.batch_mean, noise=odd.noise),
    **on(sequences, *EVERYTHING, attention_over_rows=odd.over_rows),
    **on(
        vectors,
        forward_hooks=odd.forward_hooks,
        straight_through=odd.straight_through,
        shared_and_used_outside=odd.shared,
        neural_ode=odd.neural_ode,
        fixed_point=odd.fixed_point,
        weights_from_inputs=odd.hypernetwork,
        sine_layers=odd.sine_layers,
        layer_norm=odd.normed(partial(nn.LayerNorm, 6)),
        batch_norm=odd.normed(partial(nn.BatchNorm1d, 6)),
        group_norm=odd.normed(partial(nn.GroupNorm, 2, 6)),
        spectral_norm=odd.spectral_norm,
    ),
    **known("lora", vectors),
    **known("orthogonal", vectors),
}

# Where a product takes one backward pass for each row and output: torch has no second derivative,
# leaves part of it out without a word, or rounds it otherwise.
PRODUCTS_BY_PLAIN_AUTOGRAD = {"llama", "embedding bag", "cdist", "once differentiable"}


def build(name, dtype=torch.float64):
    """Network in evaluation mode, its inputs x1 (3 rows) and x2 (2 rows), all from one seed.

    Drawn in float32, so that both types hold the same numbers.
    """
    architecture = ARCHITECTURES[name]
    torch.manual_seed(0)
    network = architecture.make().float().eval()
    disturb(network)
    x = architecture.inputs(5)
    x = x.to(dtype) if x.is_floating_point() else x
    return network.to(dtype), x[:3], x[3:]


@torch.no_grad()
def disturb(network):
    """Leave what networks start with: heads of zero, unit norms and unit running statistics."""
    for p in network.parameters():
        p.add_(0.05 * torch.randn_like(p))
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.1)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
