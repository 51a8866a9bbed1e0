"""Dense and convolutional layers as they are met in a forward pass, and which can be trusted."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn import functional as F

from .. import networks
from .model import Model

_DENSE = (nn.Linear.forward, networks.Dense.forward)
_CONVOLUTION = (nn.Conv2d.forward, networks.Conv2d.forward)


@dataclass(frozen=True)
class Use:
    """One call of a layer: its input, the place of its output in the graph, its parameters."""

    layer: nn.Module
    inputs: Tensor
    version: int
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


def record(model: Model, x: Tensor) -> Recording:
    """Run the network and keep every use of a layer whose parameters are the model's."""
    parameters = {name: p.detach().requires_grad_() for name, p in model.parameters.items()}
    names = {id(p): name for name, p in parameters.items()}
    uses: list[Use] = []

    def keep(layer: nn.Module, args: tuple, kwargs: dict, output: Tensor) -> None:
        weight, bias = names.get(id(layer.weight)), names.get(id(layer.bias))
        if weight is None and bias is None:
            return
        inputs = (*args, *kwargs.values())[0]
        place = get_gradient_edge(output)
        uses.append(Use(layer, inputs, inputs._version, place, output.shape, weight, bias))

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


def claimed_parameters(model: Model, x: Tensor) -> tuple[set[str], list[Use]]:
    """Parameters that act only through layers known here, and the uses of those in one row.

    A layer counts if its first axis is the axis of the rows (it follows the number of rows), its
    input is not overwritten later, and the graph holds no other use of its parameters.
    """
    one, two = record(model, x[:1]), record(model, torch.cat([x[:1], x[:1]]))
    sound = len(one.uses) == len(two.uses) and {
        index
        for index, (first, second) in enumerate(zip(one.uses, two.uses, strict=True))
        if len(first.inputs) == 1 and len(second.inputs) == 2
        if first.output_shape[0] == 1 and first.version == first.inputs._version
    }
    edges = _graph_uses(one)
    claimed = set()
    for name in model.parameters:
        mine = {i for i, use in enumerate(one.uses) if name in (use.weight, use.bias)}
        if mine and sound and mine <= sound and edges[name] == len(mine):
            claimed.add(name)
    return claimed, [use for use in one.uses if {use.weight, use.bias} & claimed]


def _graph_uses(recording: Recording) -> Counter[str]:
    """How often each parameter enters the graph of the outputs."""
    names = {id(p): name for name, p in recording.parameters.items()}
    count: Counter[str] = Counter()
    nodes, seen = [recording.outputs.grad_fn], set()
    while nodes:
        node = nodes.pop()
        for parent, _ in node.next_functions if node is not None else ():
            if hasattr(parent, "variable"):
                count[names.get(id(parent.variable), "")] += 1
            elif parent not in seen:
                seen.add(parent)
                nodes.append(parent)
    return count


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
