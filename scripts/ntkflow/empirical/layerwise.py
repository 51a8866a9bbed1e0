"""Kernel factors of dense and convolutional layers from activations and output gradients."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import ConfigurationError
from .blocks import Cost, sum_products
from .capture import Claims, Use, claimed_parameters, is_accounted, look_elsewhere, record
from .factors import Factor, GramFactor, JacobianFactor, Layout, ReadoutFactor
from .inputs import Inputs
from .jacobian import jacobian_factors
from .proof import Unproved, tolerance
from .task import Factors, Task

# Bytes of unfolded patches that are held at once.
PATCH_BYTES = 2**26
# Bytes of the gradients of all layers that one backward pass makes for several outputs.
GRADIENT_BYTES, GRADIENT_BYTES_ACCELERATOR = 2**24, 2**28
# Operations that leave every row in its place; others may move rows, which costs a check.
KINDS = """
    Abs Add AdaptiveAvgPool2D AvgPool2D Clamp ClampMin Clone Cos CudnnBatchNorm Div Elu Erf Exp Gelu
    Hardswish Hardtanh LeakyRelu Log LogSoftmax MaxPool2DWithIndices Mean Mul NativeBatchNorm
    NativeDropout NativeLayerNorm Neg Pow Relu ReshapeAlias Sigmoid Silu Sin Softmax Softplus Sqrt
    Squeeze Sub Sum Tanh Threshold ToCopy UnsafeView Unsqueeze View
"""
KEEP_ROWS = frozenset(KINDS.split())


def layerwise_kernel(task: Task, plan: "LayerwisePlan | None" = None) -> dict[str, Tensor]:
    """Kernel from the activations a and output gradients g = df/dh of each layer.

    A dense layer h = c W a + beta b contributes (c^2 <a, a'> + beta^2) <g, g'>. A convolution sums
    this over pairs of places, a being the patches; where it is cheaper, sum over places of g a' is
    formed for each row and output. Source: Novak, Sohl-Dickstein, Schoenholz 2022
    (arXiv:2206.08720), section 3.2, structured derivatives.
    """
    plan = plan or plan_layerwise(task)

    def factors(task: Task, x: Inputs) -> Factors:
        found = _layer_factors(task, x, plan.claims)
        if plan.rest:
            found |= jacobian_factors(task, x, plan.rest)
        return found

    return sum_products(task, factors, plan.cost)


class LayerwisePlan(NamedTuple):
    """Which parameters go through layers, which through their own Jacobian, and the cost."""

    claims: Claims
    rest: list[str]
    cost: Cost


def plan_layerwise(task: Task) -> LayerwisePlan:
    """Look at the network with one row and decide parameter by parameter."""
    model, outputs = task.model, len(task.selected)
    if model.module is None:
        raise ConfigurationError("method: 'layerwise' needs a torch.nn.Module, not a function")
    claims, uses = claimed_parameters(model, task.largest)
    rest = [name for name in model.parameters if name not in claims.claimed | claims.idle]
    entries = sum(model.parameters[name].numel() for name in rest) * outputs
    grams = 1
    for use in uses:
        entries += outputs * use.output_shape.numel() + use.inputs.numel()
        if _prefers_rows([use], task.layout):
            entries += 2 * outputs * use.fan_out * (use.fan_in + 1)
        else:
            grams += use.positions**2
    row_bytes = entries * task.like.element_size() + model.row_bytes(task.largest)
    return LayerwisePlan(claims, rest, Cost(row_bytes, grams))


@torch.enable_grad()
def _layer_factors(task: Task, x: Inputs, claims: Claims) -> Factors:
    recording = record(task.model, x)
    if not is_accounted(recording, claims, len(x)):
        raise Unproved("does not see every use of a parameter")
    outputs, claimed = recording.outputs, claims.claimed
    uses = [use for use in recording.uses if {use.weight, use.bias} & claimed]
    if not uses:
        return {}
    gradients = _output_gradients(outputs, uses, task.selected)
    if len(x) > 1 and not look_elsewhere(recording, uses).kinds <= KEEP_ROWS:
        _check_order(outputs, uses, gradients, task.selected)
    last = outputs.grad_fn
    factors: Factors = {}
    for weight, bias in _groups(uses, claimed, task.by_layer):
        mine = [i for i, use in enumerate(uses) if _concerns(use, weight, bias)]
        parts = [_Part(uses[i], gradients[i], weight is not None, bias is not None) for i in mine]
        readout = len(mine) == 1 and uses[mine[0]].edge.node is last
        names = tuple(name for name in (weight, bias) if name is not None)
        factors[names] = _factor(parts, task.layout, readout)
    return factors


def _check_order(
    outputs: Float[Tensor, "n o"],
    uses: list[Use],
    gradients: list[Tensor],
    selected: Sequence[int],
) -> None:
    """Raise Unproved unless row n of each layer acts on row n of the outputs alone.

    Then the gradients of sum over n of v_n f[n] are v_n times those of row n.
    """
    generator = torch.Generator().manual_seed(0)
    signal = torch.zeros_like(outputs)
    rows = torch.rand(len(outputs), 1, generator=generator, dtype=torch.float64) + 0.5
    columns = torch.randn(len(selected), generator=generator, dtype=torch.float64)
    rows, columns = rows.to(outputs), columns.to(outputs)
    signal[:, selected] = rows * columns
    edges = [use.edge for use in uses]
    found = torch.autograd.grad(outputs, edges, signal, retain_graph=True, materialize_grads=True)
    deviations, sizes = [], []
    for each, gradient in zip(found, gradients, strict=True):
        summed = torch.tensordot(columns, gradient, 1)
        expected = summed * rows.view(-1, *(1 for _ in summed.shape[1:]))
        deviations.append((each - expected).norm())
        sizes.append(expected.norm())
    allowed = tolerance(outputs.dtype, *(gradient.dtype for gradient in found))
    if max(deviations) > allowed * max(sizes):
        raise Unproved("meets rows in another order than that of the outputs")


def _groups(uses: list[Use], claimed: set[str], by_layer: bool) -> list[tuple]:
    """Pairs (weight, bias) to treat together: those that always act together, unless by layer."""
    weights = {use.weight: None for use in uses if use.weight in claimed}
    biases = {use.bias: None for use in uses if use.bias in claimed}
    pairs = []
    for weight in weights:
        partners = {use.bias for use in uses if use.weight == weight}
        bias = partners.pop() if len(partners) == 1 else None
        joint = bias in biases and all((u.weight == weight) == (u.bias == bias) for u in uses)
        if joint and not by_layer:
            del biases[bias]
        pairs.append((weight, bias if joint and not by_layer else None))
    return pairs + [(None, bias) for bias in biases]


def _concerns(use: Use, weight: str | None, bias: str | None) -> bool:
    return use.weight == weight if weight is not None else use.bias == bias


def _output_gradients(
    outputs: Float[Tensor, "n o"], uses: list[Use], selected: Sequence[int]
) -> list[Tensor]:
    """Gradients (S, *output) of the selected outputs; rows do not interact, so one pass each.

    Where a layer acts at many places the rows are the outer axis in memory, which makes the sums
    over places one matrix product per row.
    """
    gradients = []
    for use in uses:
        rows, *rest = use.output_shape
        if use.positions > 1:
            gradients.append(outputs.new_empty(rows, len(selected), *rest).transpose(0, 1))
        else:
            gradients.append(outputs.new_empty(len(selected), rows, *rest))
    edges = [use.edge for use in uses]
    step = _outputs_at_once(outputs, uses)
    for start in range(0, len(selected), step):
        chosen = slice(start, start + step)
        found = _pull_back(outputs, edges, selected[chosen])
        for gradient, each in zip(gradients, found, strict=True):
            gradient[chosen] = each
    return gradients


def _outputs_at_once(outputs: Float[Tensor, "n o"], uses: list[Use]) -> int:
    """For how many outputs the gradients go back together."""
    entries = sum(use.output_shape.numel() for use in uses) * outputs.element_size()
    cpu = outputs.device.type == "cpu"
    return max(1, (GRADIENT_BYTES if cpu else GRADIENT_BYTES_ACCELERATOR) // max(1, entries))


def _pull_back(
    outputs: Float[Tensor, "n o"], edges: list, selected: Sequence[int]
) -> Sequence[Tensor]:
    """Gradients (S, *output) of the selected outputs, in one pass where torch vectorises it."""

    def pull(unit: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(outputs, edges, unit, retain_graph=True, materialize_grads=True)

    if len(selected) > 1:
        units = outputs.new_zeros(len(selected), *outputs.shape)
        units[range(len(selected)), :, selected] = 1
        try:
            return torch.func.vmap(pull)(units)
        except Exception:  # what a network's own backward raises for numbers that are not there
            passes = [_pull_back(outputs, edges, [o]) for o in selected]
            return [torch.cat(each) for each in zip(*passes, strict=True)]
    unit = torch.zeros_like(outputs)
    unit[:, selected] = 1
    return [gradient[None] for gradient in pull(unit)]


@dataclass(frozen=True)
class _Part:
    """One use of the layer, with or without its weights and its bias."""

    use: Use
    gradients: Tensor
    weight: bool
    bias: bool

    def inputs(self, rows: slice) -> Float[Tensor, "n t d"]:
        """Scaled inputs c a, with a last column beta for the bias."""
        use, inputs = self.use, None
        if self.weight:
            inputs = use.patches(rows).to(self.gradients.dtype)
        if not self.bias:
            return inputs
        if inputs is None:
            rows = len(use.inputs[rows])
            return self.gradients.new_full((rows, use.positions, 1), use.bias_scale)
        return torch.nn.functional.pad(inputs, (0, 1), value=use.bias_scale)


def _factor(parts: list[_Part], layout: Layout, readout: bool) -> Factor:
    everything = slice(None)
    if readout:
        return ReadoutFactor(parts[0].inputs(everything)[:, 0])
    if not parts[0].weight:
        sums = [p.use.place_gradients(p.gradients).sum(2) * p.use.bias_scale for p in parts]
        return JacobianFactor(sum(sums[1:], sums[0]))
    if _prefers_rows([part.use for part in parts], layout):
        rows = [_weight_gradients(part) for part in parts]
        return JacobianFactor(sum(rows[1:], rows[0]))
    inputs = torch.cat([part.inputs(everything) for part in parts], dim=1)
    gradients = torch.cat([p.use.place_gradients(p.gradients) for p in parts], dim=2)
    return GramFactor(
        inputs.transpose(0, 1).contiguous(), gradients.permute(2, 0, 1, 3).contiguous()
    )


def _prefers_rows(uses: list[Use], layout: Layout) -> bool:
    """Whether weight gradients of each row cost less than pairs of places."""
    pairs = layout.outputs ** (2 if layout.mode == "block" else 1)
    places = sum(use.positions for use in uses)
    d, c = uses[0].fan_in, uses[0].fan_out
    return pairs * c * d <= places**2 * (d + pairs * c)


def _weight_gradients(part: _Part) -> Float[Tensor, "s n p"]:
    """Sum over places of g a', for each output and row, a few rows at a time."""
    g = part.use.place_gradients(part.gradients).mT.transpose(0, 1)
    count, outputs, fan_out, places = g.shape
    fan_in = part.use.fan_in + part.bias
    rows = g.new_empty(outputs, count, fan_out * fan_in)
    step = max(1, PATCH_BYTES // (places * fan_in * g.element_size()))
    for start in range(0, count, step):
        chunk = slice(start, start + step)
        sums = torch.bmm(g[chunk].flatten(1, 2), part.inputs(chunk))
        rows[:, chunk] = sums.view(-1, outputs, fan_out * fan_in).transpose(0, 1)
    return rows
