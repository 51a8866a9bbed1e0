"""One view of everything that has an empirical kernel: named parameters and a function of them."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.parameter import is_lazy
from torch.utils import _pytree

from ..errors import ConfigurationError, UnsupportedLayerError
from .complexes import as_real, hook_of, put_together
from .inputs import Inputs, call, constant, refuse_call
from .keeping import kept_attributes
from .layer_checks import check_frequencies, check_layers
from .outputs import Pick, as_rows, picked
from .selection import select_parameters

# Calls work(f) where f is the network, a function of its inputs, at these named parameters.
Run = Callable[[Mapping[str, Tensor], Callable[[Callable[..., Any]], Any]], Any]

Cast = Callable[[Tensor], Tensor]

# Outputs from the network, a function of inputs, and the inputs.
Applied = Callable[[Callable[[Inputs], Any], Inputs], Any]


@dataclass(frozen=True)
class Model:
    """Named parameters, the function of them, and the module if there is one.

    Attributes:
        parameters: name to tensor, without graph; a complex one as real and imaginary parts.
        run: puts named parameters in place, and calls its second argument with the network.
        module: the module or None.
        build: the same model with everything cast to another type.
        output: part of what the network returns, see `outputs.picked`.
        own: the module's own tensors of these names that could be met in its graph.
        hooks: what changes the gradients of the parameters of these names.
        operator: makes the outputs of the network, see `differential.as_operator`, or None.
    """

    parameters: dict[str, Tensor]
    run: Run
    module: nn.Module | None
    build: Callable[[Cast], "Model"]
    output: Pick = None
    own: dict[str, Tensor] = field(default_factory=dict)
    hooks: dict[str, list[Callable]] = field(default_factory=dict)
    operator: Applied | None = None

    @property
    def has_hooks(self) -> bool:
        """Whether gradients are changed on their way: plain autograd alone is right then."""
        return any(self.hooks.values())

    def __call__(self, parameters: Mapping[str, Tensor], x: Inputs) -> Float[Tensor, "n o"]:
        """Outputs of the rows of x, every axis after the first flattened into one."""
        return self.at(parameters, lambda function: function(x))

    def at(self, parameters: Mapping[str, Tensor], work: Callable[[Callable], Any]) -> Any:
        """What `work` returns when it is given the function x -> (N, O) at these parameters.

        They are in place until it ends, so that what is recomputed in a backward pass sees them.
        The function gives a copy of x to the network, which may write into it.
        """
        with _plain_attention():
            return self.run(parameters, lambda function: work(partial(self._rows, function)))

    def _rows(self, function: Callable[..., Any], x: Inputs) -> Float[Tensor, "n o"]:
        def network(x: Inputs) -> Any:
            return picked(call(function, x.clone()), self.output)

        if self.operator is None:
            return as_rows(network(x), len(x))
        return as_rows(self.operator(network, x), len(x), source="operator")

    def outputs(self, x: Inputs) -> Float[Tensor, "n o"]:
        """Outputs at the model's own parameters, without a graph, which a network may need within.

        One that differentiates by its parameters needs them to require gradients.
        """
        try:
            return self(self.parameters, x).detach()
        except RuntimeError as error:
            if "does not require grad" not in str(error):
                raise
        leaves = {name: p.detach().requires_grad_() for name, p in self.parameters.items()}
        with torch.enable_grad():
            return self(leaves, x).detach()

    def single(self, parameters: Mapping[str, Tensor], row: Inputs) -> Float[Tensor, " o"]:
        """Outputs of one row, for `torch.func.vmap`."""
        return self(parameters, row[None])[0]

    def first(self, x: Inputs, name: str = "x") -> Float[Tensor, "1 o"]:
        """Outputs of the first row of x, which is called by this name.

        Raises:
            ConfigurationError: if the network does not take so many arguments, or of these names.
            UnsupportedLayerError: if they depend on chance: random numbers were drawn for them; or
                if the network takes several rows, but not one.
        """
        before = _random_state(x.device)
        try:
            outputs = self.outputs(x[:1])
        except UnsupportedLayerError:
            raise
        except Exception as error:
            if not self._takes(x[[0, -1]]):
                refuse_call(name, x, error)
                raise
            raise UnsupportedLayerError(
                "network: takes several rows but not one alone, so rows interact; "
                f"on one row: {(str(error) or type(error).__name__).splitlines()[0]}"
            ) from error
        finally:
            drawn = not torch.equal(before, _random_state(x.device))
            _set_random_state(x.device, before)
        if drawn:
            raise UnsupportedLayerError(
                "network: its forward pass draws random numbers, so the kernel depends on chance; "
                "call network.eval(), or leave out dropout and noise"
            )
        return outputs

    def _takes(self, x: Inputs) -> bool:
        """Whether the network has outputs for these rows."""
        try:
            self.outputs(x)
        except Exception:
            return False
        return True

    @property
    def size(self) -> int:
        """P, the number of scalars that the kernel differentiates with respect to."""
        return sum(tensor.numel() for tensor in self.parameters.values())

    def row_bytes(self, x: Inputs) -> int:
        """Bytes that autograd keeps for one row, parameters not counted."""
        leaves = {name: p.detach().requires_grad_() for name, p in self.parameters.items()}
        known = {p.untyped_storage()._cdata for p in leaves.values()}
        kept: dict[tuple, int] = {}

        def count(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()._cdata
            if storage not in known:
                kept[storage, tensor.shape] = tensor.numel() * tensor.element_size()
            return tensor

        try:
            with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(count, lambda t: t):
                outputs = self(leaves, x[:1])
        except RuntimeError:  # torch.func inside the network does not take these hooks
            return sum(p.numel() * p.element_size() for p in leaves.values())
        return sum(kept.values()) + outputs.numel() * outputs.element_size()


def _random_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _set_random_state(device: torch.device, state: Tensor) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)


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


@contextmanager
def _plain_layers(layers: Collection[nn.Module]) -> Iterator[None]:
    """An LSTM in elementary operations: the fused one lacks the same, and vmap.

    Scripted layers as they are written: what TorchScript makes of them depends on earlier calls.
    """
    before = torch.backends.mkldnn.enabled
    if any(isinstance(layer, nn.LSTM) for layer in layers):
        torch.backends.mkldnn.enabled = False
    scripted = any(isinstance(layer, torch.jit.ScriptModule) for layer in layers)
    try:
        with torch.jit.optimized_execution(False) if scripted else nullcontext():
            yield
    finally:
        torch.backends.mkldnn.enabled = before


def as_model(
    network: nn.Module | Callable,
    parameters: Any = None,
    output: Pick = None,
    operator: Applied | None = None,
) -> Model:
    """View a module, or a function of (parameters, x), as a `Model`.

    Args:
        network: module in evaluation mode, or function.
        parameters: of a module: see `selection.select_parameters`; of a function: any pytree of
            tensors.
        output: the part of what the network returns: a key, an index or a function of it.
        operator: makes the outputs of the network and the inputs.

    Raises:
        ConfigurationError: if there are no parameters, or a name is not one of the module's.
        UnsupportedLayerError: if the outputs of one row depend on chance, on the other rows or on
            how often the network was called, or a call changes the weights.
    """
    if isinstance(network, nn.Module):
        return _module_model(network, parameters, output, operator)
    if parameters is None:
        raise ConfigurationError("parameters: None is not allowed for a function; give a pytree")
    paths, spec = _pytree.tree_flatten_with_path(parameters)
    names = [_path_name(path) for path, _ in paths]
    if len(set(names)) < len(names):  # keys with dots, or of other types that read alike
        names = [_pytree.keystr(path) for path, _ in paths]
    for name, (_, leaf) in zip(names, paths, strict=True):
        if not isinstance(leaf, Tensor):
            raise ConfigurationError(
                f"parameters: {name!r} is {type(leaf).__name__}; give tensors alone, and what is "
                "no parameter to the function in another way"
            )
    leaves = {name: leaf for name, (_, leaf) in zip(names, paths, strict=True)}
    pairs = {name for name, leaf in leaves.items() if leaf.is_complex()}
    hooks = {name: _hooks(name, leaf) for name, leaf in leaves.items()}

    def run(named: Mapping[str, Tensor], work: Callable) -> Any:
        whole = put_together(named, pairs)
        tree = _pytree.tree_unflatten([whole[name] for name in names], spec)
        return work(partial(network, tree))

    def at(cast: Cast, again: Callable) -> Model:
        values = [cast(as_real(constant(leaf))) for _, leaf in paths]
        named = dict(zip(names, values, strict=True))
        build = partial(again, again=again)
        return Model(named, run, None, build, output, hooks=hooks, operator=operator)

    return at(_same, at)


def _module_model(
    module: nn.Module, parameters: Any, output: Pick, operator: Applied | None
) -> Model:
    layers = Layers.of(module)
    check_layers(layers.named)
    lazy = [name for name, p in module.named_parameters() if is_lazy(p)]
    if lazy:
        raise UnsupportedLayerError(
            f"parameters: {lazy[0]!r} has no shape before a first call; call the network once"
        )
    chosen = select_parameters(module, parameters)
    every = dict(module.named_parameters(remove_duplicate=False))
    shared = {id(every[name]) for name in chosen}
    others = {name: p for name, p in module.named_parameters() if id(p) not in shared}
    own = {name: every[name] for name in chosen if every[name].requires_grad}
    hooks = {name: _hooks(name, p) for name, p in own.items()}
    check_frequencies(layers.named, shared)
    pairs = {name for name, p in chosen.items() if p.is_complex()}

    def at(cast: Cast, again: Callable) -> Model:
        def run(named: Mapping[str, Tensor], work: Callable) -> Any:
            fixed = {name: cast(constant(p)) for name, p in others.items()}
            every = fixed | put_together(named, pairs)
            return run_unchanged(module, every, work, cast, layers)

        values = {name: cast(as_real(constant(p))) for name, p in chosen.items()}
        build = partial(again, again=again)
        return Model(values, run, module, build, output, own, hooks, operator)

    return at(_same, at)  # which is not told of itself: a cycle would hold the network


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _hooks(name: str, parameter: Tensor) -> list[Callable]:
    """What changes its gradients, of any type.

    Raises:
        UnsupportedLayerError: if a hook waits for accumulated gradients, which there are none of.
    """
    if getattr(parameter, "_post_accumulate_grad_hooks", None):
        raise UnsupportedLayerError(
            f"parameter {name!r}: a hook after the accumulation of gradients is never called here; "
            "use register_hook, which a kernel follows"
        )
    return [hook_of(parameter, hook) for hook in (parameter._backward_hooks or {}).values()]


def call_unchanged(module: nn.Module, parameters: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """Outputs of a module at these parameters, always from the state it is in, which stays."""
    return run_unchanged(module, parameters, lambda function: function(x))


def run_unchanged(
    module: nn.Module,
    parameters: Mapping[str, Tensor],
    work: Callable[[Callable], Any],
    cast: Cast = _same,
    layers: "Layers | None" = None,
) -> Any:
    """What `work` returns, given the module at these parameters, from the state it is in.

    What the forward pass writes into buffers or attributes is lost. Instance normalisation in
    training mode would write running averages that its outputs do not use, and gets none.
    """
    layers = layers or Layers.of(module)
    buffers = {name: cast(buffer).clone() for name, buffer in layers.buffers().items()}
    for name, layer in layers.named.items():
        if isinstance(layer, _InstanceNorm) and layer.training and layer.track_running_stats:
            prefix = f"{name}." if name else ""
            buffers |= {f"{prefix}running_mean": None, f"{prefix}running_var": None}
    named = {f"network.{name}": value for name, value in (buffers | dict(parameters)).items()}
    every = layers.named.values()
    with kept_attributes(every), _plain_layers(every):
        # The search for tensors that are shared takes longer than a small network.
        options = dict(tie_weights=layers.tied)
        return torch.func.functional_call(_Held(module), named, (work,), **options)


class Layers(NamedTuple):
    """The parts of a module by name, and whether two of them hold the same tensor.

    One part under two names counts once: told of both, `functional_call` would leave the tensor of
    the first in its place.
    """

    named: dict[str, nn.Module]
    tied: bool

    @classmethod
    def of(cls, module: nn.Module) -> "Layers":
        """Look at a module."""
        named = dict(module.named_modules())
        held = [[*layer._parameters.values(), *layer._buffers.values()] for layer in named.values()]
        tensors = [tensor for each in held for tensor in each if tensor is not None]
        return cls(named, len(set(map(id, tensors))) < len(tensors))

    def buffers(self) -> dict[str, Tensor]:
        """As `named_buffers`, which looks for the parts again."""
        found: dict[int, tuple[str, Tensor]] = {}
        for prefix, layer in self.named.items():
            for name, buffer in layer._buffers.items():
                if buffer is not None:
                    found.setdefault(id(buffer), (f"{prefix}.{name}" if prefix else name, buffer))
        return dict(found.values())


class _Held(nn.Module):
    """A network that is handed to a piece of work, not called."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, work: Callable[[Callable], Any]) -> Any:
        return work(self.network)


def _path_name(path: tuple) -> str:
    """Dotted name of a leaf: `('layers', 0, 'weight')` is 'layers.0.weight'."""
    keys = [getattr(key, "key", getattr(key, "idx", getattr(key, "name", key))) for key in path]
    return ".".join(map(str, keys)) or "parameters"
