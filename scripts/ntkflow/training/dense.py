"""Written-out forward and backward pass of multilayer perceptrons, a group of seeds at a time."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..networks import Abs, Dense, Erf, Sin, StandardLinear
from .optimizers import Optimizer

# What a step of a group may fill: a core's cache, or much of an accelerator, which wants few calls.
CACHE_BYTES, ACCELERATOR_BYTES = 2**22, 2**31
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

    @property
    def bias_input(self) -> float:
        """Constant c for which scale (W a + c b) is the layer."""
        return self.bias_scale / self.scale


DENSE = (Dense, StandardLinear, nn.Linear)


def misfit(network: nn.Module) -> str | None:
    """Why a network has no written-out gradient; None for those that `parse` takes.

    It takes Sequentials of Dense, StandardLinear or nn.Linear, each but the last with an activation
    or without.
    """
    if type(network) is not nn.Sequential:
        return f"{type(network).__name__} is not an nn.Sequential"
    follows_dense = False
    for name, module in network.named_children():
        if type(module) in DENSE:
            if type(module) is Dense and module.sigma_w == 0:
                return f"{module} has no weights that matter"
        elif type(module) not in ACTIVATIONS or getattr(module, "approximate", "none") != "none":
            return f"layer {name} ({module}) has no written-out gradient"
        elif not follows_dense:
            return f"layer {name} ({module}) does not follow a dense layer"
        follows_dense = type(module) in DENSE
    return None if follows_dense else "the last layer is not a dense layer"


def parse(network: nn.Sequential) -> list[Layer]:
    """Layers of a network that has no `misfit`."""
    layers: list[Layer] = []
    for name, module in network.named_children():
        if type(module) in DENSE:
            layers.append(Layer(name, *_scales(module), ACTIVATIONS[nn.Identity]))
        else:
            layers[-1] = layers[-1]._replace(activation=ACTIVATIONS[type(module)])
    return layers


def _scales(module: nn.Module) -> tuple[float, float]:
    if isinstance(module, nn.Linear):
        return 1.0, float(module.bias is not None)
    return module.weight_scale, module.sigma_b


class DenseEngine:
    """Ensemble of MLPs on shared inputs x (M, n0), features along rows and samples along columns.

    The weights and biases of a layer lie side by side in one array [W | b] (S, out, in + 1), and
    its input has a last row of the constant bias_scale / scale. So h = scale [W | b] a is one
    product, its gradient is another, and no pass is made for the biases alone. Where the next
    layer has biases, a row of zeros below [W | b] makes room for its constant row, because the
    batched product wants a contiguous result. `parameters` are views of these arrays.
    """

    def __init__(self, network: nn.Module, parameters: dict[str, Tensor], x: Tensor):
        self.layers, self.x = parse(network), x
        self.parameters: dict[str, Tensor] = {}
        self._buffers: dict[int, tuple[list[Tensor], ...]] = {}
        has_bias = [f"{layer.name}.bias" in parameters for layer in self.layers]
        self.packed = [
            self._pack(layer.name, parameters, spare_row)
            for layer, spare_row in zip(self.layers, [*has_bias[1:], False], strict=True)
        ]

    def _pack(self, name: str, parameters: dict[str, Tensor], spare_row: bool) -> Tensor:
        weight, bias = parameters[f"{name}.weight"], parameters.get(f"{name}.bias")
        seeds, rows, columns = weight.shape
        packed = weight.new_zeros(seeds, rows + spare_row, columns + (bias is not None))
        self.parameters[f"{name}.weight"] = packed[:, :rows, :columns].copy_(weight)
        if bias is not None:
            self.parameters[f"{name}.bias"] = packed[:, :rows, columns].copy_(bias)
        return packed

    @staticmethod
    def misfit(
        network: nn.Module, parameters: dict[str, Tensor], x: Tensor, optimizer: Optimizer
    ) -> str | None:
        """Why the engine does not fit; None if it does."""
        if x.ndim != 2:
            return f"its inputs have {x.ndim} axes, not two"
        return misfit(network)

    @staticmethod
    def seeds_per_group(parameters: dict[str, Tensor], x: Tensor) -> int:
        """How many seeds a step takes together so that its arrays stay in a CPU's cache."""
        weights = [p[0] for p in parameters.values() if p.ndim == 3]
        hidden = sum(len(weight) for weight in weights)
        numbers = 2 * hidden * len(x) + sum(weight.numel() for weight in weights)
        most = CACHE_BYTES if x.device.type == "cpu" else ACCELERATOR_BYTES
        return max(1, most // (numbers * x.element_size()))

    def group(self, seeds: slice) -> "DenseGroup":
        """Some of the seeds; groups of one size share their buffers."""
        packed = [each[seeds] for each in self.packed]
        size = len(packed[0])
        if size not in self._buffers:
            self._buffers[size] = self._allocate(size)
        return DenseGroup(self.layers, packed, *self._buffers[size])

    def _allocate(self, seeds: int) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Inputs of every layer; pre-activations and cotangents of every hidden layer."""
        samples = len(self.x)
        rows = self.x.new_full((self.packed[0].shape[2], samples), self.layers[0].bias_input)
        rows[: self.x.shape[1]] = self.x.mT
        # One copy for all seeds: with wide inputs, memory is what a step waits for.
        inputs = [rows.expand(seeds, -1, -1)]
        z, g = [], []
        for layer, packed in zip(self.layers[:-1], self.packed[1:], strict=True):
            z.append(self.x.new_empty(seeds, packed.shape[2], samples))
            inputs.append(z[-1] if layer.activation.in_place else torch.empty_like(z[-1]))
            g.append(torch.empty_like(z[-1]))
        return inputs, z, g


class DenseGroup:
    """Forward and backward pass of some seeds of a DenseEngine."""

    mode = torch.inference_mode

    def __init__(self, layers, packed, inputs, preactivations, cotangents):
        self.parameters = packed
        self.scales = [layer.scale for layer in layers]
        self.functions = [layer.activation for layer in layers[:-1]]
        self.inputs, self.preactivations, self.cotangents = inputs, preactivations, cotangents
        # Views once, not at every step: at width 10 making them takes as long as the arithmetic.
        shared = inputs[0][0].mT.contiguous().expand(*inputs[0].mT.shape)
        self.transposed_inputs = [shared, *(a.mT for a in inputs[1:])]
        self.transposed = [p.mT for p in packed]
        self.constants = [
            (a[:, -1], g[:, -1], layer.bias_input) if layer.bias_scale else None
            for a, g, layer in zip(inputs[1:], cotangents, layers[1:], strict=True)
        ]

    def forward(self, out: Tensor) -> None:
        """Write the outputs (S, M, O) into `out`; keep what `pull_back` needs."""
        for i, (z, function) in enumerate(zip(self.preactivations, self.functions, strict=True)):
            self._multiply(i, z)
            function.forward(z, self.inputs[i + 1])
            if self.constants[i]:
                row, _, constant = self.constants[i]
                row.fill_(constant)
        self._multiply(-1, out.mT)

    def _multiply(self, i: int, z: Tensor) -> None:
        torch.baddbmm(z, self.parameters[i], self.inputs[i], beta=0, alpha=self.scales[i], out=z)

    def pull_back(
        self, cotangent: Tensor, into: list[Tensor], scale: float, *, keep: float = 1.0
    ) -> None:
        """Multiply `into` by `keep` and add `scale` times the gradient of sum(cotangent * outputs).

        `into` holds tensors like `parameters`, and may be these.
        """
        g = cotangent.mT
        for i in range(len(self.parameters) - 1, 0, -1):
            # Before the update: the chain rule needs the weights of the forward pass.
            below = self.cotangents[i - 1]
            torch.baddbmm(below, self.transposed[i], g, beta=0, alpha=self.scales[i], out=below)
            self._add_product(into[i], i, g, keep, scale)
            # After the update, because it may overwrite the activations.
            self.functions[i - 1].backward(below, self.preactivations[i - 1], self.inputs[i])
            if i > 1 and self.constants[i - 1]:
                # The constant row has no gradient. (In the first layer it would reach nothing but
                # the spare row of its weights, whose outputs are overwritten.)
                self.constants[i - 1][1].zero_()
            g = below
        self._add_product(into[0], 0, g, keep, scale)

    def forget(self) -> None:
        """Nothing: every pass has the same arrays."""

    def _add_product(self, into: Tensor, i: int, g: Tensor, keep: float, scale: float) -> None:
        into.baddbmm_(g, self.transposed_inputs[i], beta=keep, alpha=scale * self.scales[i])
