"""One view of everything that has an empirical kernel: named parameters and a function of them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.utils import _pytree

from ..errors import ConfigurationError, UnsupportedLayerError
from ..networks.evaluation import draws_masks, uses_batch_statistics


@dataclass(frozen=True)
class Model:
    """Named parameters, the function of them, and the module if there is one."""

    parameters: dict[str, Tensor]
    function: Callable[[Mapping[str, Tensor], Tensor], Tensor]
    module: nn.Module | None

    def __call__(self, parameters: Mapping[str, Tensor], x: Tensor) -> Float[Tensor, "n o"]:
        """Outputs of the rows of x, every axis after the first flattened into one."""
        with _plain_attention():
            outputs = self.function(parameters, x)
        return outputs if outputs.ndim == 2 else outputs.reshape(len(x), -1)

    def single(self, parameters: Mapping[str, Tensor], row: Tensor) -> Float[Tensor, " o"]:
        """Outputs of one row, for `torch.func.vmap`."""
        return self(parameters, row[None])[0]

    def first(self, x: Tensor) -> Float[Tensor, "1 o"]:
        """Outputs of the first row of x.

        Raises:
            UnsupportedLayerError: if they depend on chance: random numbers were drawn for them.
        """
        before = _random_state(x.device)
        outputs = self(self.parameters, x[:1])
        if not torch.equal(before, _random_state(x.device)):
            raise UnsupportedLayerError(
                "network: its forward pass draws random numbers, so the kernel depends on chance; "
                "call network.eval(), or leave out dropout and noise"
            )
        return outputs

    @property
    def size(self) -> int:
        """P, the number of scalars that the kernel differentiates with respect to."""
        return sum(tensor.numel() for tensor in self.parameters.values())

    def row_bytes(self, x: Tensor) -> int:
        """Bytes that autograd keeps for one row, parameters not counted."""
        leaves = {name: p.detach().requires_grad_() for name, p in self.parameters.items()}
        known = {p.untyped_storage()._cdata for p in leaves.values()}
        kept: dict[tuple, int] = {}

        def count(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()._cdata
            if storage not in known:
                kept[storage, tensor.shape] = tensor.numel() * tensor.element_size()
            return tensor

        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(count, lambda t: t):
            outputs = self(leaves, x[:1])
        return sum(kept.values()) + outputs.numel() * outputs.element_size()


def _random_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Attention in elementary operations: the fused ones lack forward and second derivatives."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


def as_model(network: nn.Module | Callable, parameters: Any = None) -> Model:
    """View a module, or a function of (parameters, x), as a `Model`.

    Args:
        network: module in evaluation mode, or function.
        parameters: of a module: name to tensor, by default those that require a gradient;
            of a function: any pytree of tensors.

    Raises:
        ConfigurationError: if there are no parameters, or a name is not one of the module's.
        UnsupportedLayerError: if the outputs of one row depend on chance, on the other rows or on
            how often the network was called, or a call changes the weights.
    """
    if isinstance(network, nn.Module):
        return _module_model(network, parameters)
    if parameters is None:
        raise ConfigurationError("parameters: None is not allowed for a function; give a pytree")
    paths, spec = _pytree.tree_flatten_with_path(parameters)
    names = [_path_name(path) for path, _ in paths]

    def function(named: Mapping[str, Tensor], x: Tensor) -> Tensor:
        return network(_pytree.tree_unflatten([named[name] for name in names], spec), x)

    leaves = [leaf.detach() for _, leaf in paths]
    return Model(dict(zip(names, leaves, strict=True)), function, None)


def _module_model(module: nn.Module, parameters: Mapping[str, Tensor] | None) -> Model:
    check_evaluation_mode(module)
    if parameters is None:
        parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
    known = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    for name in parameters:
        if name not in known:
            raise ConfigurationError(f"parameters: the network has no parameter {name!r}")
    if not parameters:
        raise ConfigurationError("parameters: no parameter of the network requires a gradient")

    return Model(
        {name: p.detach() for name, p in parameters.items()},
        lambda named, x: call_unchanged(module, named, x),
        module,
    )


def call_unchanged(module: nn.Module, parameters: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """Outputs of a module at these parameters, always from the state it is in, which stays.

    What the forward pass writes into buffers, or in place of tensors that are no parameters, is
    lost. Instance normalisation in training mode would write running averages that its outputs do
    not use, and gets none.
    """
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    for name, layer in module.named_modules():
        if isinstance(layer, _InstanceNorm) and layer.training and layer.track_running_stats:
            prefix = f"{name}." if name else ""
            buffers |= {f"{prefix}running_mean": None, f"{prefix}running_var": None}
    with _kept_tensors(module):
        return torch.func.functional_call(module, buffers | dict(parameters), (x,))


@contextmanager
def _kept_tensors(module: nn.Module) -> Iterator[None]:
    """Put tensors back that are plain attributes, as the weight of a spectral normalisation is."""
    kept = [
        (vars(layer), name, value)
        for layer in module.modules()
        for name, value in vars(layer).items()
        if isinstance(value, Tensor)
    ]
    try:
        yield
    finally:
        for attributes, name, value in kept:
            attributes[name] = value


def _path_name(path: tuple) -> str:
    """Dotted name of a leaf: `('layers', 0, 'weight')` is 'layers.0.weight'."""
    keys = [getattr(key, "key", getattr(key, "idx", getattr(key, "name", key))) for key in path]
    return ".".join(map(str, keys)) or "parameters"


def check_evaluation_mode(module: nn.Module) -> None:
    """Raise an UnsupportedLayerError for a layer whose outputs are not those of one row alone."""
    for name, layer in module.named_modules():
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
