"""Dense and convolutional layers as they are met in a forward pass, and which can be trusted."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, Node, get_gradient_edge
from torch.nn import functional as F

from .. import networks
from .inputs import Inputs
from .model import Model

_DENSE = (nn.Linear.forward, networks.Dense.forward)
_CONVOLUTION = (nn.Conv2d.forward, networks.Conv2d.forward)


@dataclass(frozen=True)
class Use:
    """One call of a layer: its input, the places of both in the graph, its parameters.

    `source` is the node that made the input, None if no gradient goes there.
    """

    layer: nn.Module
    inputs: Tensor
    version: int
    source: Node | None
    edge: GradientEdge
    output_shape: torch.Size
    weight: str | None
    bias: str | None

    @property
    def is_convolution(self) -> bool:
        """Whether the layer sums over patches of an image."""
        return type(self.layer).forward in _CONVOLUTION

    @property
    def weight_scale(self) -> float:
        """Factor c of the weights."""
        return getattr(self.layer, "weight_scale", 1.0)

    @property
    def bias_scale(self) -> float:
        """Factor beta of the bias."""
        return getattr(self.layer, "sigma_b", 1.0)

    @property
    def positions(self) -> int:
        """T, the number of places of one row where the weights act."""
        axes = self.output_shape[2:] if self.is_convolution else self.output_shape[1:-1]
        return axes.numel()

    @property
    def fan_out(self) -> int:
        """C, the number of outputs at each place."""
        return self.output_shape[1 if self.is_convolution else -1]

    @property
    def fan_in(self) -> int:
        """D, the number of inputs that each output sums over."""
        return self.layer.weight[0].numel()

    def patches(self, rows: slice) -> Float[Tensor, "n t d"]:
        """What the weights are multiplied with, scale included, at every place."""
        inputs = self.inputs.detach()[rows] * self.weight_scale
        if not self.is_convolution:
            return inputs.reshape(len(inputs), -1, self.fan_in)
        return _unfold(self.layer, inputs).mT

    def place_gradients(self, gradients: Tensor) -> Float[Tensor, "s n t c"]:
        """Gradients (S, N, *output) with the places on one axis."""
        if self.is_convolution:
            return gradients.flatten(3).mT
        return gradients.reshape(*gradients.shape[:2], -1, self.fan_out)


class Recording(NamedTuple):
    """Outputs of a forward pass, the uses of layers in it, and its parameters."""

    outputs: Float[Tensor, "n o"]
    uses: list[Use]
    parameters: dict[str, Tensor]


def record(model: Model, x: Inputs) -> Recording:
    """Run the network and keep every use of a layer whose parameters are the model's."""
    parameters = {name: p.detach().requires_grad_() for name, p in model.parameters.items()}
    names = {id(p): name for name, p in parameters.items()}
    uses: list[Use] = []

    def keep(layer: nn.Module, args: tuple, kwargs: dict, output: Tensor) -> None:
        weight, bias = names.get(id(layer.weight)), names.get(id(layer.bias))
        if (weight is None and bias is None) or not output.requires_grad:
            return
        inputs = (*args, *kwargs.values())[0]
        source = get_gradient_edge(inputs).node if inputs.requires_grad else None
        places = source, get_gradient_edge(output)
        uses.append(Use(layer, inputs, inputs._version, *places, output.shape, weight, bias))

    with torch.enable_grad(), _hooks(model.module, keep):
        return Recording(model(parameters, x), uses, parameters)


@contextmanager
def _hooks(module: nn.Module, hook: Callable) -> Iterator[None]:
    layers = [layer for layer in module.modules() if _is_supported(layer)]
    handles = [layer.register_forward_hook(hook, with_kwargs=True) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _is_supported(layer: nn.Module) -> bool:
    """Whether the layer computes exactly what its class says, and its class is known here."""
    if layer._forward_hooks or layer._forward_pre_hooks or "weight" not in layer._parameters:
        return False
    if type(layer).forward in _DENSE or type(layer).forward is networks.Conv2d.forward:
        return True
    plain = type(layer).forward is nn.Conv2d.forward
    return plain and layer.groups == 1 and layer.padding_mode == "zeros"


class Claims(NamedTuple):
    """Parameters that act only through layers known here, and those that do not act at all.

    `pattern` holds the parameters of each use of a layer, in order.
    """

    claimed: set[str]
    idle: set[str]
    pattern: list[tuple[str | None, str | None]]


def claimed_parameters(model: Model, x: Inputs) -> tuple[Claims, list[Use]]:
    """Look at the first row: which parameters can be had from the layers, and their uses.

    A layer counts if its first axis is the axis of the rows (it follows the number of rows), its
    input is not overwritten later, and no gradient reaches its parameters on another way.
    """
    one, two = record(model, x[:1]), record(model, x[[0, 0]])
    if len(one.uses) != len(two.uses):
        return Claims(set(), set(), []), []
    pairs = zip(one.uses, two.uses, strict=True)
    sound = [first for first, second in pairs if _is_sound(first, 1) and _is_sound(second, 2)]
    elsewhere = look_elsewhere(one, sound).parameters
    known = _names(sound)
    claimed = known - elsewhere
    idle = set(model.parameters) - elsewhere - known
    uses = [use for use in one.uses if {use.weight, use.bias} & claimed]
    return Claims(claimed, idle, _pattern(uses)), uses


def _pattern(uses: Iterable[Use]) -> list[tuple[str | None, str | None]]:
    return [(use.weight, use.bias) for use in uses]


def _is_sound(use: Use, rows: int) -> bool:
    """Whether the layer saw so many rows, on its first axis, in an input that is still there."""
    whole = len(use.inputs) == rows and use.output_shape[0] == rows
    return whole and use.version == use.inputs._version


def _names(uses: Iterable[Use]) -> set[str]:
    return {name for use in uses for name in (use.weight, use.bias)} - {None}


def is_accounted(recording: Recording, claims: Claims, rows: int) -> bool:
    """Whether these rows use the claimed parameters in the same layers as the first row did."""
    uses = [use for use in recording.uses if {use.weight, use.bias} & claims.claimed]
    if _pattern(uses) != claims.pattern or not all(_is_sound(use, rows) for use in uses):
        return False
    reached = look_elsewhere(recording, uses).parameters | (_names(recording.uses) & claims.idle)
    return not reached & (claims.claimed | claims.idle)


class Elsewhere(NamedTuple):
    """What a graph holds outside of some uses of layers: parameters, and kinds of operations."""

    parameters: set[str]
    kinds: set[str]


def look_elsewhere(recording: Recording, uses: Iterable[Use]) -> Elsewhere:
    """Walk the graph from the outputs, from the output of a use straight to what made its input.

    A second derivative shares nodes with the use that it differentiates, as that of the transposed
    weight; they are met here, as the walk never goes through the inside of a use.
    """
    names = {id(p): name for name, p in recording.parameters.items()}
    sources = {use.edge.node: use.source for use in uses}
    found, kinds = set(), set()
    nodes, seen = [recording.outputs.grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node in sources:
            nodes.append(sources[node])
        elif hasattr(node, "variable"):
            found.add(names.get(id(node.variable), ""))
        else:
            kinds.add(node.name().rstrip("0123456789").removesuffix("Backward"))
            nodes += [parent for parent, _ in node.next_functions]
    return Elsewhere(found, kinds)


def _unfold(layer: nn.Module, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d t"]:
    """Patches of zero-padded images, in the order of the layer's weights.

    Copies whole image rows, which is several times faster than `F.unfold`.
    """
    size = layer.weight.shape[2:]
    dilation, stride = getattr(layer, "dilation", (1, 1)), getattr(layer, "stride", (1, 1))
    (top, bottom), (left, right) = _paddings(layer.padding, size, dilation)
    images = F.pad(images, (left, right, top, bottom))
    n, c, *pixels = images.shape
    places = [
        (p - d * (k - 1) - 1) // s + 1
        for p, d, k, s in zip(pixels, dilation, size, stride, strict=True)
    ]
    sn, sc, sh, sw = images.stride()
    steps = (sn, sc, sh * dilation[0], sw * dilation[1], sh * stride[0], sw * stride[1])
    return images.as_strided((n, c, *size, *places), steps).reshape(n, -1, math.prod(places))


def _paddings(padding: str | tuple, size: Iterable[int], dilation: Iterable[int]) -> list:
    """Zeros before and after, for each of the two axes."""
    if padding == "same":
        totals = [d * (k - 1) for d, k in zip(dilation, size, strict=True)]
        return [(total // 2, total - total // 2) for total in totals]
    return [(p, p) for p in ((0, 0) if padding == "valid" else padding)]
