"""Layers whose outputs or gradients in a batch are not those of single rows, told by their kind."""

from collections.abc import Collection, Mapping

from torch import nn
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.spectral_norm import SpectralNorm

from ..errors import UnsupportedLayerError
from ..networks.evaluation import draws_masks, uses_batch_statistics


def check_frequencies(layers: Mapping[str, nn.Module], chosen: Collection[int]) -> None:
    """Raise an UnsupportedLayerError where gradients of a batch are not sums of those of rows.

    Parameters that are differentiated, or that others take the place of, are told by identity.
    """
    for name, layer in layers.items():
        scaled = isinstance(layer, nn.Embedding | nn.EmbeddingBag) and layer.scale_grad_by_freq
        if scaled and id(layer.weight) in chosen:
            raise UnsupportedLayerError(
                f"layer {name!r}: {type(layer).__name__} with scale_grad_by_freq=True divides "
                "gradients by how often a batch looks rows up; set scale_grad_by_freq to False"
            )


def check_evaluation_mode(module: nn.Module) -> None:
    """Raise an UnsupportedLayerError for a layer whose outputs are not those of one row alone."""
    check_layers(dict(module.named_modules()))


def check_layers(layers: Mapping[str, nn.Module]) -> None:
    """The same for layers by name, and for those that a call changes."""
    for name, layer in layers.items():
        if draws_masks(layer) or uses_batch_statistics(layer):
            raise UnsupportedLayerError(
                f"layer {name!r}: {type(layer).__name__} in training mode, or without running "
                "averages, makes the kernel depend on the batch or on chance; use network.eval(), "
                "or `ntkflow.evaluated` for statistics frozen on a training set"
            )
        if _iterates(layer):
            raise UnsupportedLayerError(
                f"layer {name!r}: spectral normalisation in training mode is another function at "
                "every call; use network.eval()"
            )
        if isinstance(layer, nn.Embedding | nn.EmbeddingBag) and layer.max_norm is not None:
            raise UnsupportedLayerError(
                f"layer {name!r}: {type(layer).__name__} with max_norm={layer.max_norm:g} changes "
                "its weight at every call; shorten its rows once and set max_norm to None"
            )


def _iterates(layer: nn.Module) -> bool:
    """Whether a call of the layer takes a step of the power iteration of spectral normalisation."""
    hooks = layer._forward_pre_hooks.values()
    is_normalised = isinstance(layer, _SpectralNorm) or any(
        isinstance(hook, SpectralNorm) for hook in hooks
    )
    return is_normalised and layer.training
