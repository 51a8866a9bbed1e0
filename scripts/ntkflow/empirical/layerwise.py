"""Kernel factors from what parameters meet in the graph and the gradients of what they make."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .blocks import Cost, sum_products
from .capture import (
    LOOKED_AT,
    Claims,
    Recording,
    accounted,
    claimed_parameters,
    edges,
    record,
)
from .factors import EmbeddingFactor, Factor, GramFactor, JacobianFactor, ReadoutFactor, TiedFactor
from .graph import PLACES, Use, shape_of
from .inputs import Inputs
from .jacobian import jacobian_factors
from .products import all_pairs_cost, one_side_cost
from .proof import Unproved, tolerance
from .rules import PAIRED, PATCH_BYTES, Seen, Sizes, is_swapped, reduced, sizes_of
from .task import Factors, Task
from .walking import pulled_back

# Most bytes of the gradients of all layers that one backward pass makes for several outputs.
GRADIENT_BYTES = 2**28
# Operations that leave every row in its place; others may move rows, which costs a check.
KINDS = """
    Abs Add Addmm AdaptiveAvgPool2D AvgPool2D Clamp ClampMin Clone Convolution Cos CudnnBatchNorm
    Div Elu Erf Exp Gelu Hardswish Hardtanh LeakyRelu Log LogSoftmax MaxPool2DWithIndices Mean Mm
    Mul NativeBatchNorm NativeDropout NativeLayerNorm Neg Pow Relu ReshapeAlias Sigmoid Silu Sin
    Softmax Softplus Sqrt Squeeze Sub Sum T Tanh Threshold ToCopy UnsafeView Unsqueeze View
"""
KEEP_ROWS = frozenset(KINDS.split())
# Operations that leave every row in its place, or never do, whatever the rows hold.
STEADY = """
    Alias Bmm ConstantPadNd Embedding Expand NativeGroupNorm PreluKernel Repeat Rsqrt SafeSoftmax
"""
KEEP_ROWS_ONCE_RIGHT = KEEP_ROWS | PLACES.keys() | set(STEADY.split())


def layerwise_kernel(task: Task, plan: "LayerwisePlan | None" = None) -> dict[str, Tensor]:
    """Kernel from the inputs a and output gradients g = df/dh of each operation with parameters.

    A dense layer h = c W a + beta b contributes (c^2 <a, a'> + beta^2) <g, g'>. A convolution sums
    this over pairs of places, a being the patches; where it is cheaper, sum over places of g a' is
    formed for each row and output. Source: Novak, Sohl-Dickstein, Schoenholz 2022
    (arXiv:2206.08720), section 3.2, structured derivatives.
    """
    plan = plan or plan_layerwise(task)
    if task.evidence is not None:
        task.evidence.plan = plan

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
    claims, uses = claimed_parameters(model, task.largest)
    rest = [name for name in model.parameters if name not in claims.claimed | claims.idle]
    entries = sum(model.parameters[name].numel() for name in rest) * outputs
    largest, grams = 0, 0
    for use in uses:
        gradients = outputs * shape_of(use.node).numel() // LOOKED_AT
        entries += gradients
        if use.kind not in PAIRED:
            made = outputs * sum(p.shape.numel() for p in (use.weight, use.bias) if p)
            largest = max(largest, made)
            continue
        sizes = sizes_of(use, LOOKED_AT)
        made = sizes.places * (1 if use.kind == "Embedding" else sizes.fan_in)
        if _prefers_rows(task, [sizes]):
            made += outputs * sizes.fan_out * (sizes.fan_in + 1)
        else:
            grams = max(grams, sizes.places**2)
            made += 2 * gradients
        largest = max(largest, made)
    row_bytes = (entries + largest) * task.like.element_size() + model.row_bytes(task.largest)
    return LayerwisePlan(claims, rest, Cost(row_bytes, 1 + grams))


@torch.enable_grad()
def _layer_factors(task: Task, x: Inputs, claims: Claims) -> Factors:
    recording = record(task.model, x, claims.made)
    known = _is_known(task, x, recording)
    uses = accounted(recording, claims, len(x))
    if uses is None:
        raise Unproved("does not see every use of a parameter")
    if not uses:
        return {}
    outputs = recording.outputs
    most = min(GRADIENT_BYTES, task.memory_budget // 4)
    gradients = _output_gradients(outputs, uses, task.selected, most)
    keep = KEEP_ROWS_ONCE_RIGHT if known else KEEP_ROWS
    if len(x) > 1 and not outputs.is_meta and not keep.issuperset(recording.found.kinds):
        _check_order(outputs, uses, gradients, task.selected)
    return _factors(task, uses, gradients, claims, recording)


def _factors(
    task: Task, uses: list[Seen], gradients: list[Tensor], claims: Claims, recording: Recording
) -> Factors:
    """Factors of weights with their biases, of other biases, and of what others are made of."""
    factors: Factors = {}
    rows: dict[str, Callable[[], Tensor]] = {}
    found, last = recording.found, recording.outputs.grad_fn
    composing = found.sources(found.made) & claims.claimed
    apart = {*composing, *found.made}
    for weight, bias in _groups([seen.use for seen in uses], claims.read, task.by_layer, apart):
        mine = [i for i, seen in enumerate(uses) if (weight or bias) in seen.use.names]
        parts = [_Part(uses[i], gradients[i], bias if weight else None) for i in mine]
        names = tuple(name for name in (weight, bias) if name is not None)
        if names[0] in apart:
            rows[names[0]] = partial(_all_rows, names[0], parts)
            continue
        readout = len(mine) == 1 and parts[0].seen.use.node is last
        factors[names] = partial(_factor, task, names[0], parts, readout)
    composed = {(name,): partial(_composed, name, rows, recording) for name in composing}
    return factors | composed


@torch.no_grad()
def _composed(
    name: str, rows: Mapping[str, Callable[[], Tensor]], recording: Recording
) -> JacobianFactor:
    """Of a parameter that others are made of: through each of these, and through itself."""
    found = [rows[name]()] if name in rows else []
    for other, made in recording.found.made.items():
        if name in made.sources and other in rows:
            found.append(pulled_back(made, rows[other](), recording.leaves[name]))
    return JacobianFactor(_total(found))


def _check_order(
    outputs: Float[Tensor, "n o"],
    uses: list[Seen],
    gradients: list[Tensor],
    selected: Sequence[int],
) -> None:
    """Raise Unproved unless row n of each operation acts on row n of the outputs alone.

    Then the gradients of sum over n of v_n f[n] are v_n times those of row n.
    """
    generator = torch.Generator().manual_seed(0)
    signal = torch.zeros_like(outputs)
    rows = torch.rand(len(outputs), 1, generator=generator, dtype=torch.float64) + 0.5
    columns = torch.randn(len(selected), generator=generator, dtype=torch.float64)
    rows, columns = rows.to(outputs), columns.to(outputs)
    signal[:, selected] = rows * columns
    places = edges(seen.use.node for seen in uses)
    found = torch.autograd.grad(outputs, places, signal, retain_graph=True, materialize_grads=True)
    deviations, sizes = [], []
    for seen, each, gradient in zip(uses, found, gradients, strict=True):
        summed = torch.tensordot(columns, gradient, 1)
        expected = summed * rows.view(-1, *(1 for _ in summed.shape[1:]))
        deviations.append((seen.node.rows_first(each, seen.rows) - expected).norm())
        sizes.append(expected.norm())
    allowed = tolerance(outputs.dtype, *(gradient.dtype for gradient in found))
    if max(deviations) > allowed * max(sizes):
        raise Unproved("meets rows in another order than that of the outputs")


def _groups(uses: list[Use], claimed: set[str], by_layer: bool, apart: set[str]) -> list[tuple]:
    """Pairs (weight, bias) to treat together: those that always act together, unless by layer."""
    pairs = [use.names for use in uses]
    weights = dict.fromkeys(w for w, _ in pairs if w in claimed)
    biases = dict.fromkeys(b for _, b in pairs if b in claimed and b not in weights)
    groups = []
    for weight in weights:
        mine = [use for use in uses if use.names[0] == weight]
        partners = {use.names[1] for use in mine}
        bias = partners.pop() if len(partners) == 1 else None
        joint = bias in biases and sum(b == bias for _, b in pairs) == len(mine)
        joint = joint and not by_layer and apart.isdisjoint((weight, bias))
        joint = joint and not any(is_swapped(use) for use in mine)
        joint = joint and not any(_is_bias(weight, use) for use in uses)
        if joint:
            del biases[bias]
        groups.append((weight, bias if joint else None))
    return groups + [(None, bias) for bias in biases]


def _is_bias(name: str, use: Use) -> bool:
    return use.names[1] == name


def _output_gradients(
    outputs: Float[Tensor, "n o"], uses: list[Seen], selected: Sequence[int], most: int
) -> list[Tensor]:
    """Gradients (S, N, *dims) of the selected outputs; rows do not interact, so one pass each.

    Gradients of so many outputs as take at most `most` bytes go back in one pass. Where there are
    more, rows, if they are the first axis, are also the outer axis in memory, which makes the sums
    over places one matrix product per row.
    """
    places = edges(seen.use.node for seen in uses)
    entries = sum(shape_of(seen.use.node).numel() for seen in uses) * outputs.element_size()
    step = max(1, most // max(1, entries))
    if step >= len(selected):
        gradients = list(_pull_back(outputs, places, selected))
    else:
        gradients = [_room(seen, len(selected), outputs) for seen in uses]
        for start in range(0, len(selected), step):
            chosen = slice(start, start + step)
            found = _pull_back(outputs, places, selected[chosen])
            for gradient, each in zip(gradients, found, strict=True):
                gradient[chosen] = each
    return [s.node.rows_first(g, s.rows, 1) for s, g in zip(uses, gradients, strict=True)]


def _room(seen: Seen, count: int, like: Tensor) -> Float[Tensor, "s *dims"]:
    """For gradients of so many outputs."""
    first, *rest = shape_of(seen.use.node)
    if seen.node.axis == 0 and len(rest) > 1:
        return like.new_empty(first, count, *rest).transpose(0, 1)
    return like.new_empty(count, first, *rest)


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
    """One use of a weight or a bias, and the gradients (S, N, *dims) of what it makes.

    `bias` is the name of a bias to treat together with the weight.
    """

    seen: Seen
    gradients: Tensor
    bias: str | None

    @property
    def at_places(self) -> Float[Tensor, "s n t c"]:
        """Gradients at the places where they are not all zero, or at one."""
        found = self.seen.place_gradients(self.gradients)
        return found if self._kept is None else found[:, :, self._kept]

    @cached_property
    def _kept(self) -> Tensor | None:
        """Places that have a gradient; None for all. A language model is often read at the last."""
        if self.seen.use.kind != "Matrix" or self.gradients.is_meta:
            return None
        found = self.seen.place_gradients(self.gradients)
        if found[0, 0].any(1).all():
            return None
        kept = found.ne(0).any(3).any(0).any(0).nonzero().flatten()
        return None if len(kept) == found.shape[2] else kept if len(kept) else kept.new_zeros(1)

    @property
    def sizes(self) -> Sizes:
        """Places with a gradient, inputs and outputs joined there."""
        sizes = sizes_of(self.seen.use, self.seen.rows)
        return sizes if self._kept is None else sizes._replace(places=len(self._kept))

    def inputs(self) -> Callable[[slice], Float[Tensor, "n t d"]]:
        """Inputs of some rows, with a last column for the bias."""
        make, dtype, kept = self.seen.inputs(), self.gradients.dtype, self._kept
        scale = None if self.bias is None else self.seen.use.bias.scale

        def of_rows(rows: slice) -> Tensor:
            found = make(rows).to(dtype)
            found = found if kept is None else found[:, kept]
            return found if scale is None else nn.functional.pad(found, (0, 1), value=scale)

        return of_rows

    def bias_rows(self) -> Float[Tensor, "s n p"]:
        """Gradient of the bias alone."""
        bias = self.seen.use.bias
        return reduced(self.gradients, bias.shape) * bias.scale


def _is_known(task: Task, x: Inputs, recording: Recording) -> bool:
    """Whether the graph is one for which the plan was right.

    Rows that are reordered by what they hold, or scaled by it, leave no trace in it: the last row,
    the middle one and the first, in this order, and the ends alone must have the outputs that they
    have among the others.

    Raises:
        Unproved: if the plan was right for another graph.
    """
    evidence, graph = task.evidence, (len(x) > 1, *recording.found.operations)
    if evidence is None or evidence.graph is None:
        if evidence is not None:
            evidence.met.add(graph)
        return False
    if graph != evidence.graph:
        raise Unproved("meets other operations than before")
    for rows in ([-1, len(x) // 2, 0], [-1], [0]) if len(x) > 1 else ():
        few = _outputs_of(task, x, rows)
        among = recording.outputs.detach()[rows]
        if not bool(((few - among).abs() <= tolerance(few.dtype) * among.abs().max()).all()):
            raise Unproved("has other outputs for some rows than for all")
    return True


def _outputs_of(task: Task, x: Inputs, rows: list[int]) -> Float[Tensor, "n o"]:
    """Outputs of some rows; those of the first row of x1 alone are known."""
    if rows == [0] and isinstance(x, Tensor) and x.data_ptr() == task.x1.data_ptr():
        return task.like.to(task.dtype)
    return task.model(task.model.parameters, x[rows]).detach()


@torch.no_grad()
def _factor(task: Task, name: str, parts: list[_Part], readout: bool) -> Factor:
    uses = [part.seen.use for part in parts]
    if any(_is_bias(name, use) for use in uses):
        return JacobianFactor(_all_rows(name, parts))
    first = uses[0]
    tied = _tied(task, parts)
    if tied is not None:
        return tied
    alike = len({(use.kind == "Embedding", is_swapped(use)) for use in uses}) == 1
    if not alike or any(use.kind not in PAIRED for use in uses):
        return JacobianFactor(_total([_weight_rows(part) for part in parts]))
    if readout and first.kind == "Matrix" and not is_swapped(first):
        return ReadoutFactor(parts[0].inputs()(slice(None))[:, 0])
    prefers_rows = _prefers_rows(task, [part.sizes for part in parts])
    if first.kind == "Embedding":
        return _embedding(parts).summed() if prefers_rows else _embedding(parts)
    return JacobianFactor(_sums_over_places(parts)) if prefers_rows else _gram(parts)


def _tied(task: Task, parts: list[_Part]) -> TiedFactor | None:
    """Of a table that also multiplies, where that costs less than its rows."""
    tables = [part for part in parts if part.seen.use.kind == "Embedding"]
    matrices = [part for part in parts if part.seen.use.kind == "Matrix"]
    apart = tables and matrices and len(tables) + len(matrices) == len(parts)
    if not apart or any(is_swapped(part.seen.use) for part in matrices):
        return None
    if any(_prefers_rows(task, [part.sizes for part in each]) for each in (tables, matrices)):
        return None
    return TiedFactor(_embedding(tables), _gram(matrices))


def _gram(parts: list[_Part]) -> GramFactor:
    inputs = torch.cat([part.inputs()(slice(None)) for part in parts], dim=1)
    swapped = is_swapped(parts[0].seen.use)
    return GramFactor(inputs.transpose(0, 1).contiguous(), _place_gradients(parts), swapped)


def _embedding(parts: list[_Part]) -> EmbeddingFactor:
    indices = torch.cat([part.seen.indices() for part in parts], dim=1)
    size = parts[0].seen.use.weight.shape[0]
    return EmbeddingFactor(indices.mT.contiguous(), _place_gradients(parts), size)


def _place_gradients(parts: list[_Part]) -> Float[Tensor, "t s n c"]:
    gradients = torch.cat([part.at_places for part in parts], dim=2)
    return gradients.permute(2, 0, 1, 3)


@torch.no_grad()
def _all_rows(name: str, parts: list[_Part]) -> Float[Tensor, "s n p"]:
    """Gradient of a weight, a bias or both for each output and row, from all its uses."""
    return _total([_rows_of(name, part) for part in parts])


def _rows_of(name: str, part: _Part) -> Float[Tensor, "s n p"]:
    """Gradient of a parameter that is a bias, or a bias here and a weight there."""
    rows = [_weight_rows(part)] if part.seen.use.names[0] == name else []
    return _total(rows + ([part.bias_rows()] if _is_bias(name, part.seen.use) else []))


def _total(rows: list[Tensor]) -> Tensor:
    return sum(rows[1:], rows[0]).contiguous()


def _prefers_rows(task: Task, uses: list[Sizes]) -> bool:
    """Whether weight gradients of each row cost less than pairs of places, for a pair of rows."""
    layout, places = task.layout, sum(sizes.places for sizes in uses)
    _, d, c, match = uses[0]
    formed = places * layout.outputs * c * d / task.fewest
    if layout.mode == "block":
        pairs = min(cost(places, layout.outputs, c) for cost in (one_side_cost, all_pairs_cost))
        return formed + layout.outputs**2 * c * d / 2 <= pairs + places**2 * match
    pairs = layout.outputs * all_pairs_cost(places, 1, c)
    return formed + layout.outputs * c * d <= pairs + places**2 * match


def _weight_rows(part: _Part) -> Float[Tensor, "s n p"]:
    """Gradient of the weight (and bias) for each output and row."""
    kind = part.seen.use.kind
    if kind not in PAIRED:
        return part.seen.weight_rows(part.gradients)
    return _embedding([part]).summed().rows if kind == "Embedding" else _sums_over_places([part])


def _sums_over_places(parts: list[_Part]) -> Float[Tensor, "s n p"]:
    """Sum over places of all uses of g a', for each output and row, a few rows at a time."""
    g = parts[0].at_places if len(parts) == 1 else torch.cat([p.at_places for p in parts], dim=2)
    inputs, swapped = [part.inputs() for part in parts], is_swapped(parts[0].seen.use)
    outputs, count, length, fan_out = g.shape
    fan_in = inputs[0](slice(0, 1)).shape[2]
    rows = g.new_empty(outputs, count, *((fan_in, fan_out) if swapped else (fan_out, fan_in)))
    step = max(1, PATCH_BYTES // (length * fan_in * g.element_size()))
    for start in range(0, count, step):
        chunk = slice(start, start + step)
        met = [make(chunk) for make in inputs]
        met = met[0] if len(met) == 1 else torch.cat(met, dim=1)
        for output, here in zip(rows, g, strict=True):
            pair = (met.mT, here[chunk]) if swapped else (here[chunk].mT, met)
            torch.bmm(*pair, out=output[chunk])
    return rows.flatten(2)
