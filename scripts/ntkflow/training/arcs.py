"""One hidden ReLU layer on a circle: full-batch steps in O(n + M) instead of O(n M).

A half-plane cuts one arc out of a circle, so a neuron relu(w.x + b) is active on one range of the
samples in order of their angles. The outputs are then running sums over positions of what each
neuron adds at the beginning of its range and takes away at the end; the gradients are differences
of running sums of (cotangent x input) between a neuron's two ends.

Weights move little in one step: nearly always a look at the samples on both sides of its ends shows
that a range has stayed. Two turns of the circle lie side by side, so a range that wraps around
begins in the first and ends in the second. The loops are compiled, because tensor operations would
make a pass through memory for each of the thirty operations that a neuron takes.
"""

import torch
from torch import Tensor, nn

from .dense import misfit, parse
from .optimizers import GradientDescent, Optimizer

_ROUNDING = 64  # in units of eps, how far from the circle a sample may lie


class ArcEngine:
    """Ensemble of one-hidden-layer ReLU networks with one output on inputs x (M, 2) on a circle.

    The weights lie in [w_1; w_2; b; a] (S, 4, n), a being those of the output, whose bias is an
    array of its own; where there are no biases they are 0. `parameters` are views. Runs on the
    CPU, in one thread.
    """

    def __init__(self, network: nn.Module, parameters: dict[str, Tensor], x: Tensor):
        hidden, last = parse(network)
        weight = parameters[f"{hidden.name}.weight"]
        self.weights = weight.new_zeros(len(weight), 4, weight.shape[1])
        self.bias = weight.new_zeros(len(weight))
        views = {
            f"{hidden.name}.weight": self.weights[:, :2].mT,
            f"{hidden.name}.bias": self.weights[:, 2],
            f"{last.name}.weight": self.weights[:, 3:],
            f"{last.name}.bias": self.bias[:, None],
        }
        self.parameters = {name: views[name].copy_(p) for name, p in parameters.items()}
        self.order = torch.atan2(x[:, 1], x[:, 0]).argsort()
        bias = x.new_full((len(x), 1), hidden.bias_input)
        samples = hidden.scale * torch.cat([x, bias], dim=1)[self.order]
        # Sample i is row i + 1: before and after every range there is one to look at.
        self.turns = torch.cat([samples[-1:], samples, samples, samples[:1]])
        self.scales = x.new_tensor([last.scale, last.bias_scale])

    @staticmethod
    def misfit(
        network: nn.Module, parameters: dict[str, Tensor], x: Tensor, optimizer: Optimizer
    ) -> str | None:
        """Why the engine does not fit; None if it does."""
        reason = misfit(network)
        if reason is not None:
            return reason
        layers = parse(network)
        if len(layers) != 2 or type(network[1]) is not nn.ReLU:
            return "it is not one hidden ReLU layer"
        outputs = parameters[f"{layers[1].name}.weight"].shape[1]
        if outputs != 1:
            return f"it has {outputs} outputs, not one"
        if not isinstance(optimizer, GradientDescent) or optimizer.penalty:
            return "it is trained by plain gradient descent only"
        return _misfit_of_inputs(x)

    @staticmethod
    def seeds_per_group(parameters: dict[str, Tensor], x: Tensor) -> int:
        """All of them: a step goes through one seed after the other."""
        return len(next(iter(parameters.values())))

    def group(self, seeds: slice) -> "ArcGroup":
        """Some of the seeds."""
        return ArcGroup(self, self.weights[seeds], self.bias[seeds])


class ArcGroup:
    """Forward and backward pass of some seeds of an ArcEngine."""

    mode = torch.inference_mode

    def __init__(self, engine: ArcEngine, weights: Tensor, bias: Tensor):
        from . import arc_loops

        self.loops = arc_loops
        self.parameters = [weights, bias]
        ranges = torch.zeros(len(weights), 2, weights.shape[2], dtype=torch.int32)
        tensors = (weights, bias, ranges, engine.turns, engine.order, engine.scales)
        self.arrays = [tensor.numpy() for tensor in tensors]

    def forward(self, out: Tensor) -> None:
        """Write the outputs (S, M, 1) into `out`; keep what `pull_back` needs."""
        self.loops.forward(*self.arrays, out.numpy())

    def pull_back(self, cotangent: Tensor, into: list[Tensor], scale: float) -> None:
        """Add `scale` times the gradient of sum(cotangent * outputs) to `into`.

        `into` holds tensors like `parameters`, and may be these.
        """
        self.loops.pull_back(
            *self.arrays, cotangent.numpy(), scale, *[each.numpy() for each in into]
        )

    def forget(self) -> None:
        """Nothing: every pass has the same arrays."""


def _misfit_of_inputs(x: Tensor) -> str | None:
    if x.ndim != 2 or x.shape[1] != 2:
        return "its inputs are not points of the plane"
    if x.device.type != "cpu":
        return f"its parameters are on the device {x.device}, not on the CPU"
    radius = x.norm(dim=1)
    rounding = _ROUNDING * torch.finfo(x.dtype).eps
    if not radius.amax() - radius.amin() <= rounding * radius.amax():
        return "its inputs do not lie on one circle around 0"
    return None
