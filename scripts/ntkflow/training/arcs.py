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

import inspect

import numba
import numpy as np
import torch
from torch import Tensor, nn

from .dense import parse

_ROUNDING = 64  # in units of eps, how far from the circle a sample may lie


def _compiled(function):
    """Compile a function, without the checks of shapes that tests wrap around it."""
    function = inspect.unwrap(function)
    try:
        return numba.njit(function, nogil=True, cache=True)
    except RuntimeError:  # nowhere to write the cache: compiled anew in every process
        return numba.njit(function, nogil=True)


@_compiled
def _is_active(w1, w2, b, turns, i):
    return w1 * turns[i, 0] + w2 * turns[i, 1] + b * turns[i, 2] > 0


@_compiled
def _is_range(w1, w2, b, turns, begin, length):
    """Whether just the samples from `begin` on, `length` of them, are active; not all or none."""
    begin, end = np.uint64(begin), np.uint64(begin + length)  # unsigned indices are not wrapped
    return (
        (length > 0)
        & (not _is_active(w1, w2, b, turns, begin))
        & _is_active(w1, w2, b, turns, begin + 1)
        & _is_active(w1, w2, b, turns, end)
        & (not _is_active(w1, w2, b, turns, end + 1))
    )


@_compiled
def _search(w1, w2, b, turns):
    """Begin and length of the active range, looking at every sample."""
    m, length = len(turns) // 2 - 1, 0
    for i in range(1, m + 1):
        length += _is_active(w1, w2, b, turns, i)
    begin = 0
    if 0 < length < m:
        while _is_active(w1, w2, b, turns, begin) or not _is_active(w1, w2, b, turns, begin + 1):
            begin += 1
    return begin, length


@_compiled
def _walk(w1, w2, b, turns, begin, length):
    """Begin and length of the active range, from a range that shared samples with it."""
    m = len(turns) // 2 - 1
    while length > 0 and not _is_active(w1, w2, b, turns, begin + 1):
        begin, length = begin + 1, length - 1
    while length > 0 and not _is_active(w1, w2, b, turns, begin + length):
        length -= 1
    begin %= m
    while length < m and _is_active(w1, w2, b, turns, begin):
        begin, length = begin - 1 if begin > 0 else m - 1, length + 1
    while length < m and _is_active(w1, w2, b, turns, begin + length + 1):
        length += 1
    return (begin, length) if 0 < length < m else _search(w1, w2, b, turns)


@_compiled
def _forward(weights, bias, ranges, turns, order, scales, outputs):
    """Outputs of every network; moves the ranges."""
    seeds, _, width = weights.shape
    m = len(order)
    steps = np.empty((2 * m + 1, 3))
    for s in range(seeds):
        steps[:] = 0
        for j in range(width):
            w1, w2, w3, a = weights[s, 0, j], weights[s, 1, j], weights[s, 2, j], weights[s, 3, j]
            begin, length = ranges[s, 0, j], ranges[s, 1, j]
            if not _is_range(w1, w2, w3, turns, begin, length):
                begin, length = _walk(w1, w2, w3, turns, begin, length)
                ranges[s, 0, j], ranges[s, 1, j] = begin, length
            end = begin + length
            steps[begin, 0] += w1 * a
            steps[begin, 1] += w2 * a
            steps[begin, 2] += w3 * a
            steps[end, 0] -= w1 * a
            steps[end, 1] -= w2 * a
            steps[end, 2] -= w3 * a
        for i in range(1, 2 * m):
            for k in range(3):
                steps[i, k] += steps[i - 1, k]
        for i in range(m):
            h = 0.0
            for k in range(3):
                h += (steps[i, k] + steps[i + m, k]) * turns[i + 1, k]
            outputs[s, order[i], 0] = scales[0] * h + scales[1] * bias[s]


@_compiled
def _pull_back(
    weights, bias, ranges, turns, order, scales, cotangent, factor, into_weights, into_bias
):
    """Add `factor` times the gradient of sum(cotangent * outputs); `into` may be the parameters."""
    seeds, _, width = weights.shape
    m = len(order)
    sums = np.zeros((2 * m + 1, 3))
    for s in range(seeds):
        total = 0.0
        for i in range(2 * m):
            g = factor * cotangent[s, order[i % m], 0]
            total += g
            for k in range(3):
                sums[i + 1, k] = sums[i, k] + scales[0] * g * turns[i + 1, k]
        into_bias[s] += scales[1] * total / 2
        for j in range(width):
            begin, a = ranges[s, 0, j], weights[s, 3, j]
            end = begin + ranges[s, 1, j]
            arc1 = sums[end, 0] - sums[begin, 0]
            arc2 = sums[end, 1] - sums[begin, 1]
            arc3 = sums[end, 2] - sums[begin, 2]
            into_weights[s, 3, j] += (
                weights[s, 0, j] * arc1 + weights[s, 1, j] * arc2 + weights[s, 2, j] * arc3
            )
            into_weights[s, 0, j] += a * arc1
            into_weights[s, 1, j] += a * arc2
            into_weights[s, 2, j] += a * arc3


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
    def check(network: nn.Module, parameters: dict[str, Tensor], x: Tensor) -> None:
        """Raise a TypeError that says why the engine does not fit, if so."""
        layers = parse(network)
        if len(layers) != 2 or type(network[1]) is not nn.ReLU:
            raise TypeError("it is not one hidden ReLU layer")
        outputs = parameters[f"{layers[1].name}.weight"].shape[1]
        if outputs != 1:
            raise TypeError(f"it has {outputs} outputs, not one")
        if x.ndim != 2 or x.shape[1] != 2:
            raise TypeError("its inputs are not points of the plane")
        if x.device.type != "cpu":
            raise TypeError(f"its parameters are on the device {x.device}, not on the CPU")
        radius = x.norm(dim=1)
        rounding = _ROUNDING * torch.finfo(x.dtype).eps
        if not radius.amax() - radius.amin() <= rounding * radius.amax():
            raise TypeError("its inputs do not lie on one circle around 0")

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
        self.parameters = [weights, bias]
        ranges = torch.zeros(len(weights), 2, weights.shape[2], dtype=torch.int32)
        tensors = (weights, bias, ranges, engine.turns, engine.order, engine.scales)
        self.arrays = [tensor.numpy() for tensor in tensors]

    def forward(self, out: Tensor) -> None:
        """Write the outputs (S, M, 1) into `out`; keep what `pull_back` needs."""
        _forward(*self.arrays, out.numpy())

    def pull_back(self, cotangent: Tensor, into: list[Tensor], scale: float) -> None:
        """Add `scale` times the gradient of sum(cotangent * outputs) to `into`.

        `into` holds tensors like `parameters`, and may be these.
        """
        _pull_back(*self.arrays, cotangent.numpy(), scale, *[each.numpy() for each in into])
