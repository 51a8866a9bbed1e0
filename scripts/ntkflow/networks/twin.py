"""The twin in NTK parameterization of a network made of torch's own layers."""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import nn
from torch.nn import functional as F

from ..checks import check_choice, check_not_negative
from ..errors import ConfigurationError, NtkflowError, UnsupportedLayerError, unknown
from .attention import SCALINGS
from .scaled import ScaledLayer
from .transformers import TransformerEncoder, TransformerEncoderLayer
from .twin_layers import DEFAULTS, INSTEAD, KINDS, PLAIN, Scales, has_bias

_ENCODERS = (nn.TransformerEncoder, nn.TransformerEncoderLayer)
_NORMS = (nn.LayerNorm, nn.RMSNorm)  # their gains may have several axes
_SCALES = sorted({*DEFAULTS, *INSTEAD})
_FUNCTIONS = {F.relu: "relu", F.gelu: "gelu"}


def ntk_parameterization(
    network: nn.Module,
    *,
    sigma_w: float | None = None,
    sigma_b: float | None = None,
    bias: str = "normal",
    attention: str | None = None,
    scales: str = "named",
    overrides: Mapping[str, Mapping[str, float]] | None = None,
    keep: Sequence[str] = (),
) -> nn.Module:
    """The twin of a network of torch in NTK parameterization.

    A copy in which every linear layer, convolution, transposed convolution, embedding, recurrent
    layer or cell, attention and encoder of a transformer of torch.nn is ntkflow's layer of the same
    name: h = W x + b becomes h = sigma_w W x / sqrt(fan_in) + sigma_b b with W, b ~ N(0, 1), drawn
    from torch's current random state; `draw_parameters` draws the twin by seeds. Source: Jacot et
    al. 2018 (arXiv:1806.07572), section 2.

    All else is copied as it is: activations, pooling, dropout, normalisations with their gains, and
    parameters that a forward reads itself, like a gain (C, 1, 1), a position code (1, T, d) or a
    class token (1, 1, d); other ones of several axes look like weights and are refused unless they
    are in `keep`. A weight of a layer that some forward reads past its layer is not scaled there.

    Shapes of inputs and outputs, modes, devices, types and frozen parameters stay; layers that are
    shared, and weights that linear layers, convolutions or embeddings share, stay shared. Of the
    two biases of a recurrent layer, which torch sums, there is one. A layer without biases gets
    none. Under the scaling "tied 1/d" attention has other scores than torch's.

    Args:
        network: not changed; its weights are not read.
        sigma_w: standard deviation of the weights; default: 1.
        sigma_b: standard deviation of the biases; default: 0, without parameters. In attention
            that is those of values and outputs; queries and keys have none but by `sigma_b_qk`.
        bias: "normal" or "zero", the biases at initialisation.
        attention: the scaling of `torch.nn.MultiheadAttention`, as in `MultiheadAttention`: "tied
            1/d" or "many heads", or "1/sqrt(d)", which has no deterministic limit.
        scales: "named", those above; or "torch", those of torch's initialisation where it has a
            limit: sigma_w^2 = 1/3 for linear layers, convolutions, the state of recurrent layers
            and the outputs of attention, 1 for embeddings, 1/2 for queries, keys and values.
            `sigma_w` is left out then, and `sigma_b` named where there are biases.
        overrides: scales of single layers, by name or pattern ("encoder.*"; a shared one under its
            first name, the network itself under ""), of which the last one counts:
            sigma_w, sigma_b; sigma_u of the input of recurrent layers, sigma_qk, sigma_v, sigma_o,
            sigma_b_v and sigma_b_qk of attention.
        keep: names or patterns of parameters that stay though they look like weights.

    Returns:
        The twin, a network of the same class.

    Raises:
        ConfigurationError: if a choice, scale or name is not allowed, attention is not chosen, or
            torch's initialisation has no limit in a scale that is not named.
        UnsupportedLayerError: if a layer with weights has no twin; it is named.

    Examples:
        >>> network = torch.nn.Sequential(torch.nn.Conv1d(3, 8, 5), torch.nn.ReLU())
        >>> twin = ntkflow.ntk_parameterization(network, sigma_w=2**0.5, sigma_b=0.1)
        >>> twin(torch.randn(5, 3, 9)).shape
        torch.Size([5, 8, 5])
        >>> encoder = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        >>> twin = ntkflow.ntk_parameterization(
        ...     encoder, attention="tied 1/d", overrides={"self_attn": {"sigma_qk": 2.0}}
        ... )
        >>> twin.self_attn.query.sigma_w, twin.linear1.sigma_w
        (2.0, 1.0)
    """
    check_choice("scales", scales, ("named", "torch"))
    if attention is not None:
        check_choice("attention", attention, SCALINGS)
    named = {"sigma_w": sigma_w, "sigma_b": sigma_b}
    named = {name: value for name, value in named.items() if value is not None}
    if scales == "torch" and sigma_w is not None:
        raise ConfigurationError(
            f"sigma_w: {sigma_w!r} is not allowed with scales 'torch'; leave it out, or use "
            "overrides for single layers"
        )
    choice = _Choice(named, overrides or {}, scales == "torch", attention, bias)
    memo = _Twins(network, choice, keep).memo()
    return copy.deepcopy(network, memo)


class _Choice:
    """Scales of every layer, as they are named."""

    def __init__(
        self,
        named: Scales,
        overrides: Mapping[str, Mapping[str, float]],
        by_torch: bool,
        attention: str | None,
        bias: str,
    ):
        self.named, self.overrides, self.by_torch = named, overrides, by_torch
        self.attention, self.bias = attention, bias
        self.used: set[tuple[str, str]] = set()
        for options in (named, *overrides.values()):
            for key, value in options.items():
                if key not in _SCALES:
                    raise unknown("overrides", key, _SCALES)
                check_not_negative(key, value)

    def scales(self, name: str, layer: nn.Module) -> Scales:
        """Scales of a layer, by the arguments that its twin takes."""
        of_torch = KINDS[type(layer)].torch_scales(layer)
        given, biased = self._given(name, of_torch), has_bias(layer)
        return {
            scale: self._scale(name, scale, given, reason)
            for scale, reason in of_torch.items()
            if biased or not scale.startswith("sigma_b")
        }

    def _given(self, name: str, known: Iterable[str]) -> Scales:
        """What is named for a layer; those of its scales count as used."""
        given, understood = dict(self.named), {*known, *(INSTEAD.get(scale) for scale in known)}
        for pattern, options in self.overrides.items():
            if _matches(name, [pattern]):
                given |= options
                self.used |= {(pattern, key) for key in options if key in understood}
        return given

    def _scale(self, name: str, scale: str, given: Scales, of_torch: float | str) -> float:
        for key in (scale, INSTEAD.get(scale)):
            if key in given:
                return given[key]
        if not self.by_torch:
            return DEFAULTS[scale if scale in DEFAULTS else INSTEAD[scale]]
        if isinstance(of_torch, str):
            where = f"overrides={{{name!r}: {{{scale!r}: ...}}}}"
            ways = f"{where} or sigma_b=..." if scale.startswith("sigma_b") else where
            raise ConfigurationError(f"{scale}: {of_torch}, by {ways}")
        return of_torch

    def check_used(self) -> None:
        """Raise a ConfigurationError if no layer has a scale that is named for it."""
        for pattern, options in self.overrides.items():
            for key in options:
                if (pattern, key) not in self.used:
                    raise ConfigurationError(f"overrides: no layer {pattern!r} has a {key}")


class _Twins:
    """The twins of all layers of a network, as what `copy.deepcopy` puts in their place."""

    def __init__(self, network: nn.Module, choice: _Choice, keep: Sequence[str]):
        self.choice, self.keep = choice, [keep] if isinstance(keep, str) else list(keep)
        self.modules = list(_walk("", network, set()))
        self.made: dict[int, Any] = {}
        names = [name for name, _ in network.named_parameters(remove_duplicate=False)]
        for pattern in self.keep:
            if not any(_matches(name, [pattern]) for name in names):
                raise ConfigurationError(f"keep: the network has no parameter {pattern!r}")

    def memo(self) -> dict[int, Any]:
        """Identity of each layer to its twin."""
        self._check_shared()
        for name, module in self.modules:
            self._check(name, module)
        tied: dict[int, nn.Parameter] = {}
        for name, module in self.modules:
            if type(module) in KINDS:
                self.made[id(module)] = _settled(module, self._make(name, module), tied)
        self.choice.check_used()
        for _, module in reversed(self.modules):  # an encoder after its layers
            if isinstance(module, _ENCODERS):
                self.made[id(module)] = self._encoder(module)
        return self.made

    def _make(self, name: str, layer: nn.Module) -> nn.Module:
        first = next(layer.parameters())
        options = dict(device=first.device, dtype=first.dtype, bias=self.choice.bias)
        try:
            scales = self.choice.scales(name, layer)
            return KINDS[type(layer)].make(layer, self.choice.attention, **scales, **options)
        except NtkflowError as error:
            raise type(error)(f"{_label(name, layer)}: {error}") from None

    def _encoder(self, module: nn.Module) -> nn.Module:
        if isinstance(module, nn.TransformerEncoder):
            twin = TransformerEncoder([], None)
        else:
            activation = _FUNCTIONS.get(module.activation, module.activation)
            options = dict(activation=activation, norm_first=module.norm_first, device="meta")
            twin = TransformerEncoderLayer(1, 1, 1, **options)
        for name, child in module.named_children():
            setattr(twin, name, copy.deepcopy(child, self.made))
        twin.training = module.training
        return twin

    def _check(self, name: str, module: nn.Module) -> None:
        """Raise an UnsupportedLayerError if a module has weights and no twin."""
        convertible = (*KINDS, *_ENCODERS)
        if type(module) in convertible:
            _check_hooks(name, module)
        elif isinstance(module, convertible):
            kind = next(kind for kind in convertible if isinstance(module, kind))
            raise UnsupportedLayerError(
                f"{_label(name, module)} is a torch.nn.{kind.__name__} of its own kind, which has "
                f"no twin in NTK parameterization; use torch.nn.{kind.__name__} itself"
            )
        elif not isinstance(module, (ScaledLayer, *_NORMS)):
            self._check_parameters(name, module)

    def _check_parameters(self, name: str, module: nn.Module) -> None:
        for own, parameter in module.named_parameters(recurse=False):
            full = f"{name}.{own}" if name else own
            if _is_weight(own, parameter) and not _matches(full, self.keep):
                raise UnsupportedLayerError(
                    f"{_label(name, module)} has weights {own!r} of its own and no twin in NTK "
                    f"parameterization; keep={[full]!r} leaves them as they are"
                )

    def _check_shared(self) -> None:
        """Raise an UnsupportedLayerError if a layer shares weights that cannot be shared again."""
        owners: dict[int, tuple[str, nn.Module]] = {}
        for name, module in self.modules:
            for parameter in module.parameters(recurse=type(module) in KINDS):
                first = owners.setdefault(id(parameter), (name, module))
                pair = [type(first[1]), type(module)]
                if first[1] is module or not any(kind in KINDS for kind in pair):
                    continue
                if not all(kind in PLAIN for kind in pair):
                    raise UnsupportedLayerError(
                        f"{_label(name, module)} shares weights with {_label(*first)}, which "
                        "their twins in NTK parameterization cannot"
                    )


def _walk(name: str, module: nn.Module, seen: set[int]) -> Iterator[tuple[str, nn.Module]]:
    """Modules under their first names, without the parts of layers that are made anew."""
    if id(module) in seen:
        return
    seen.add(id(module))
    yield name, module
    if type(module) not in KINDS:
        for own, child in module.named_children():
            yield from _walk(f"{name}.{own}" if name else own, child, seen)


def _settled(layer: nn.Module, twin: nn.Module, tied: dict[int, nn.Parameter]) -> nn.Module:
    """The twin in the mode of a layer, with what the layer froze and shares."""
    frozen = not any(parameter.requires_grad for parameter in layer.parameters())
    for name, parameter in list(twin.named_parameters()):
        like = getattr(layer, name, None) if type(layer) in PLAIN else None
        parameter.requires_grad_(not frozen if like is None else like.requires_grad)
        if like is not None:
            setattr(twin, name, tied.setdefault(id(like), parameter))
    return twin.train(layer.training)


def _check_hooks(name: str, layer: nn.Module) -> None:
    if layer._forward_hooks or layer._forward_pre_hooks:
        raise UnsupportedLayerError(
            f"{_label(name, layer)} has hooks, or weights that are made of others before each "
            "pass; its twin in NTK parameterization would lack them"
        )


def _is_weight(name: str, parameter: nn.Parameter) -> bool:
    """Whether a parameter looks like weights, not like a gain or a code that all rows share."""
    if "weight" in name:
        return parameter.ndim >= 2
    return sum(size > 1 for size in parameter.shape) >= 2 and parameter.shape[0] > 1


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(name == pattern or fnmatchcase(name, pattern) for pattern in patterns)


def _label(name: str, module: nn.Module) -> str:
    kind = type(module).__name__
    return f"layer {name!r} ({kind})" if name else kind
