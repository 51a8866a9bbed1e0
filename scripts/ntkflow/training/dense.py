"""Written-out forward and backward pass of multilayer perceptrons, a group of seeds at a time."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..networks import Abs, Dense, Erf, Sin

CACHE_BYTES = 2**22
aten = torch.ops.aten


class Activation(NamedTuple):
    """An activation and its pull-back, both without temporaries.

    `forward(z, a)` writes phi(z) into a, which is z itself where `in_place`; `backward(g, z, a)`
    multiplies g by phi'(z). At a kink phi' follows torch.autograd: 0 for relu and abs.
    """

    in_place: bool
    forward: Callable[[Tensor, Tensor], object]
    backward: Callable[[Tensor, Tensor, Tensor], object]


def _erf_backward(g: Tensor, z: Tensor, a: Tensor) -> None:
    torch.square(z, out=a).neg_().exp_()
    g.mul_(a).mul_(2 / math.sqrt(math.pi))


ACTIVATIONS: dict[type[nn.Module], Activation] = {
    nn.Identity: Activation(True, lambda z, a: None, lambda g, z, a: None),
    nn.ReLU: Activation(
        True,
        lambda z, a: z.relu_(),
        lambda g, z, a: aten.threshold_backward.grad_input(g, a, 0, grad_input=g),
    ),
    nn.Tanh: Activation(
        True,
        lambda z, a: z.tanh_(),
        lambda g, z, a: aten.tanh_backward.grad_input(g, a, grad_input=g),
    ),
    Erf: Activation(False, lambda z, a: torch.erf(z, out=a), _erf_backward),
    Sin: Activation(
        False, lambda z, a: torch.sin(z, out=a), lambda g, z, a: g.mul_(torch.cos(z, out=a))
    ),
    Abs: Activation(
        False, lambda z, a: torch.abs(z, out=a), lambda g, z, a: g.mul_(torch.sign(z, out=a))
    ),
    nn.GELU: Activation(
        False,
        lambda z, a: aten.gelu.out(z, out=a),
        lambda g, z, a: aten.gelu_backward.grad_input(g, z, grad_input=g),
    ),
}


class Layer(NamedTuple):
    """h = scale W a + bias_scale b and the activation that follows (identity after the last)."""

    name: str
    scale: float
    bias_scale: float
    activation: Activation


def _scales(module: nn.Module) -> tuple[float, float]:
    if type(module) is nn.Linear:
        return 1.0, float(module.bias is not None)
    return module.weight_scale, module.sigma_b


def parse(network: nn.Module) -> list[Layer]:
    """Layers of a Sequential of Dense or nn.Linear, each but the last with an activation.

    Raises:
        TypeError: if the network is anything else; the message says what does not fit.
    """
    if type(network) is not nn.Sequential:
        raise TypeError(f"{type(network).__name__} is not an nn.Sequential")
    layers: list[Layer] = []
    follows_activation = True
    for name, module in network.named_children():
        if type(module) in (Dense, nn.Linear):
            layers.append(Layer(name, *_scales(module), ACTIVATIONS[nn.Identity]))
            follows_activation = False
        elif type(module) not in ACTIVATIONS or getattr(module, "approximate", "none") != "none":
            raise TypeError(f"layer {name} ({module}) has no written-out gradient")
        elif follows_activation:
            raise TypeError(f"layer {name} ({module}) does not follow a dense layer")
        else:
            layers[-1] = layers[-1]._replace(activation=ACTIVATIONS[type(module)])
            follows_activation = True
    if follows_activation:
        raise TypeError("the last layer is not a dense layer")
    return layers


class DenseEngine:
    """Forward and backward pass of a group of MLPs (S, ...) on shared inputs x (M, n0)."""

    def __init__(self, network: nn.Module, parameters: dict[str, Tensor], x: Tensor, buffers: dict):
        self.layers, self.parameters = parse(network), parameters
        seeds, samples = len(next(iter(parameters.values()))), len(x)
        if seeds not in buffers:
            buffers[seeds] = self._allocate(seeds, x)
        self.preactivations, activations, self.cotangents = buffers[seeds]
        self.inputs = [x.expand(seeds, *x.shape), *activations]
        self.ones = x.new_ones(1, 1, samples).expand(seeds, 1, samples)

    def _allocate(self, seeds: int, x: Tensor) -> tuple[list[Tensor], ...]:
        """Arrays (S, M, n) of every hidden layer, which groups of one size share."""
        hidden = self.layers[:-1]
        widths = [self.parameters[f"{layer.name}.weight"].shape[1] for layer in hidden]
        z = [x.new_empty(seeds, len(x), width) for width in widths]
        a = [
            each if layer.activation.in_place else torch.empty_like(each)
            for each, layer in zip(z, hidden, strict=True)
        ]
        return z, a, [torch.empty_like(each) for each in z]

    @staticmethod
    def seeds_per_group(parameters: dict[str, Tensor], x: Tensor) -> int:
        """How many seeds a step handles together so that their arrays stay in cache."""
        weights = [p for p in parameters.values() if p.ndim == 3]
        widths = sum(weight.shape[1] for weight in weights)
        numbers = 2 * len(x) * widths + sum(weight[0].numel() for weight in weights)
        return max(1, CACHE_BYTES // (numbers * x.element_size()))

    def forward(self, out: Tensor) -> None:
        """Write the outputs (S, M, O) into `out`; keep what `pull_back` needs."""
        for i, layer in enumerate(self.layers):
            last = i == len(self.layers) - 1
            z = out if last else self.preactivations[i]
            weight = self.parameters[f"{layer.name}.weight"].mT
            bias = self.parameters.get(f"{layer.name}.bias")
            if bias is None:
                torch.baddbmm(z, self.inputs[i], weight, beta=0, alpha=layer.scale, out=z)
            else:
                scales = dict(beta=layer.bias_scale, alpha=layer.scale)
                torch.baddbmm(bias.unsqueeze(1), self.inputs[i], weight, **scales, out=z)
            if not last:
                layer.activation.forward(z, self.inputs[i + 1])

    def pull_back(self, cotangent: Tensor, into: dict[str, Tensor]) -> None:
        """Add the gradient of sum(cotangent * outputs) to `into`, which may be the parameters."""
        g = cotangent
        for i in reversed(range(len(self.layers))):
            layer = self.layers[i]
            weight, bias = f"{layer.name}.weight", f"{layer.name}.bias"
            if i > 0:
                # Before the update: the chain rule needs the weights of the forward pass.
                below = self.cotangents[i - 1]
                torch.baddbmm(
                    below, g, self.parameters[weight], beta=0, alpha=layer.scale, out=below
                )
            into[weight].baddbmm_(g.mT, self.inputs[i], alpha=layer.scale)
            if bias in into:
                into[bias].unsqueeze(1).baddbmm_(self.ones, g, alpha=layer.bias_scale)
            if i > 0:
                # After the update, because it may overwrite the activations.
                backward = self.layers[i - 1].activation.backward
                backward(below, self.preactivations[i - 1], self.inputs[i])
                g = below
