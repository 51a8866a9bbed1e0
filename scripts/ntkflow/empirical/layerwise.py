"""Kernel factors from what parameters meet in the graph and the gradients of what they make."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from .blocks import Cost, sum_products
from .capture import (
    LOOKED_AT,
    Claims,
    Recording,
    accounted,
    claims_of,
    edges,
    look,
    record,
)
from .factors import Factor, JacobianFactor
from .graph import PLACES, Use, shape_of
from .inputs import Inputs, same_rows, shapes_of_rows
from .jacobian import jacobian_factors
from .layer_factors import Part, all_rows, make_factor, prefers_rows, total
from .proof import (
    Unproved,
    are_same,
    drawn,
    rounding_of,
    shows_interaction,
    tolerance,
)
from .rule_checks import RuleChecks
from .rules import PAIRED, Seen, is_swapped, sizes_of
from .taking import TAKING, taken
from .task import Factors, Task
from .walking import pulled_back

# Most bytes of the gradients of all layers that one backward pass makes for several outputs.
GRADIENT_BYTES = 2**28
FEW = 16  # most rows whose outputs are looked at at every call
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
KEEP_ROWS_ONCE_RIGHT = KEEP_ROWS.union(PLACES, STEADY.split())


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
        found = _layer_factors(task, x, plan.claims[shapes_of_rows(x)])
        if plan.rest:
            found |= jacobian_factors(task, x, plan.rest)
        return found

    return sum_products(task, factors, plan.cost)


class LayerwisePlan(NamedTuple):
    """Which parameters go through layers, which through their own Jacobian, and the cost.

    `claims` are those of the rows of x1 and of x2, by the shapes of what a row holds.
    """

    claims: dict[tuple, Claims]
    claimed: set[str]
    rest: list[str]
    cost: Cost


def plan_layerwise(task: Task) -> LayerwisePlan:
    """Look at the network with one row of each kind and decide parameter by parameter."""
    model, outputs = task.model, len(task.selected)
    looks = {}
    for x in (task.largest, task.x1, task.other):
        if shapes_of_rows(x) not in looks:
            looks[shapes_of_rows(x)] = look(model, x)
    found = {shape: claims_of(model, seen) for shape, seen in looks.items()}
    claimed = [side.claimed for side, _ in found.values()]
    if any(each != claimed[0] for each in claimed):  # what rows of one shape alone tell
        apart = set().union(*claimed).difference(set.intersection(*claimed))
        found = {shape: claims_of(model, seen, apart) for shape, seen in looks.items()}
    claims, uses = found[shapes_of_rows(task.largest)]
    sides = {shape: side for shape, (side, _) in found.items()}
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
        if prefers_rows(task, [sizes]):
            made += outputs * sizes.fan_out * (sizes.fan_in + 1)
        else:
            grams = max(grams, sizes.places**2)
            made += 2 * gradients
        largest = max(largest, made)
    row_bytes = (entries + largest) * task.like.element_size() + model.row_bytes(task.largest)
    return LayerwisePlan(sides, claims.claimed, rest, Cost(row_bytes, 1 + grams))


@torch.enable_grad()
def _layer_factors(task: Task, x: Inputs, claims: Claims) -> Factors:
    recording = record(task.model, x, claims.made)
    keep = _keeping_rows(task, x, recording)
    uses = accounted(recording, claims, len(x))
    if uses is None and len(x) == 1:
        # One row may have a graph of its own, two equal ones have that of many.
        twice = _layer_factors(task, x[[0, 0]], claims)
        return {names: partial(_first, make) for names, make in twice.items()}
    if uses is None:
        raise Unproved("does not see every use of a parameter")
    if not uses:
        return {}
    outputs = recording.outputs
    most = min(GRADIENT_BYTES, task.memory_budget // 4)
    gradients = _output_gradients(outputs, uses, task.selected, most)
    in_place = keep.issuperset(recording.found.kinds) and recording.found.summed == claims.summed
    seen = len(x) == 1 or outputs.is_meta or in_place
    if not seen:
        seen = _check_order(outputs, uses, gradients, task.selected)
    if task.evidence is not None and task.proof is not None:

        def factor(gradients: list[Tensor], names: tuple[str, ...]) -> Factor | None:
            make = _factors(task, uses, gradients, claims, recording).get(names)
            return None if make is None else make()

        rules = RuleChecks(uses, gradients, task.selected, recording, factor)
        task.evidence.holds = rules
        task.evidence.in_order &= seen or all(rules.in_order)
    return _factors(task, uses, gradients, claims, recording)


def _first(make: Callable[[], Factor]) -> Factor:
    return make().first()


def _factors(
    task: Task, uses: list[Seen], gradients: list[Tensor], claims: Claims, recording: Recording
) -> Factors:
    """Factors of weights with their biases, of other biases, and of what others are made of."""
    factors: Factors = {}
    rows: dict[str, Callable[[], Tensor]] = {}
    found, last = recording.found, recording.outputs.grad_fn
    composing = found.sources(found.made) & claims.claimed
    apart = {*composing, *found.made}
    reading: dict[str | None, list[int]] = {}
    for i, seen in enumerate(uses):
        for name in {*seen.use.names}:
            reading.setdefault(name, []).append(i)
    for weight, bias in _groups([seen.use for seen in uses], claims.read, task.by_layer, apart):
        mine = reading[weight or bias]
        parts = [Part(uses[i], gradients[i], bias if weight else None) for i in mine]
        names = tuple(name for name in (weight, bias) if name is not None)
        if names[0] in apart:
            rows[names[0]] = partial(all_rows, names[0], parts)
            continue
        readout = len(mine) == 1 and parts[0].seen.use.node is last
        factors[names] = partial(make_factor, task, names[0], parts, readout)
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
    return JacobianFactor(total(found))


def _check_order(
    outputs: Float[Tensor, "n o"],
    uses: list[Seen],
    gradients: list[Tensor],
    selected: Sequence[int],
) -> bool:
    """Raise Unproved unless row n of each operation acts on row n of the outputs alone.

    Then the gradients of sum over n of v_n f[n] are v_n times those of row n.

    Returns:
        Whether every operation has gradients that are long enough to tell.
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
        here = seen.node.rows_first(each, seen.rows)
        deviation, size = (here - expected).norm(), expected.norm()
        if not deviation.isfinite():  # some rows have no finite gradient: the same ones in both
            deviation, size = _of_finite_rows(here, expected)
        deviations.append(deviation)
        sizes.append(size)
    allowed = tolerance(outputs.dtype, *(gradient.dtype for gradient in found))
    # Rows in another order deviate by about their size, if another use has longer gradients too.
    share = max(allowed, torch.finfo(outputs.dtype).eps ** 0.5)
    floor = 8 * torch.finfo(outputs.dtype).eps * max(sizes)
    apart = any(d > share * size + floor for d, size in zip(deviations, sizes, strict=True))
    if apart or not max(deviations) <= allowed * max(sizes):
        raise Unproved("meets rows in another order than that of the outputs")
    return bool(min(sizes) > 4 * floor)


def _of_finite_rows(found: Tensor, expected: Tensor) -> tuple[Tensor, Tensor]:
    """Deviation and size where every number of a row is finite; infinite if others are in two."""
    finite = [each.flatten(1).isfinite().all(1) for each in (found, expected)]
    if not torch.equal(*finite):
        return found.new_tensor(torch.inf), expected.new_zeros(())
    return (found[finite[0]] - expected[finite[0]]).norm(), expected[finite[0]].norm()


def _groups(uses: list[Use], claimed: set[str], by_layer: bool, apart: set[str]) -> list[tuple]:
    """Pairs (weight, bias) to treat together: those that always act together, unless by layer."""
    of_weight: dict[str, list[Use]] = {}
    for use in uses:
        of_weight.setdefault(use.names[0], []).append(use)
    counts = Counter(use.names[1] for use in uses)
    weights = [w for w in of_weight if w in claimed]
    biases = dict.fromkeys(b for b in counts if b in claimed and b not in of_weight)
    groups = []
    for weight in weights:
        mine = of_weight[weight]
        partners = {use.names[1] for use in mine}
        bias = partners.pop() if len(partners) == 1 else None
        joint = bias in biases and counts[bias] == len(mine) and weight not in counts
        joint = joint and not by_layer and apart.isdisjoint((weight, bias))
        joint = joint and not any(is_swapped(use) for use in mine)
        if joint:
            del biases[bias]
        groups.append((weight, bias if joint else None))
    return groups + [(None, bias) for bias in biases]


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


def _keeping_rows(task: Task, x: Inputs, recording: Recording) -> frozenset[str]:
    """Kinds of operations that leave rows in place; more where the plan was right for the graph.

    Rows that are reordered by what they hold, or scaled by it, leave no trace in it: the first row
    alone, and up to half of the rows in another order, must have the outputs that they have among
    the others. Operations that take what tensors say take the same as when that was right.

    Raises:
        Unproved: if these rows have other outputs, or the plan was right for another graph.
    """
    evidence, graph = task.evidence, (len(x) > 1, *recording.found.operations)
    if evidence is None:
        return KEEP_ROWS
    outputs = recording.outputs.detach()
    others = _other_outputs(task, x, outputs) if len(x) > 1 and not x.is_meta else []
    if task.proof is not None:
        others = [n for n in others if shows_interaction(task, x, outputs, n)]
    if others:
        raise Unproved("has other outputs for some rows than for all")
    form, places = shapes_of_rows(x), (len(x), taken(recording.found))
    if evidence.graphs is None:
        evidence.met.setdefault(form, {}).setdefault(graph, set()).add(places)
        return KEEP_ROWS
    known, right = evidence.graphs.get(form, (None, set()))
    if graph != known:
        raise Unproved("meets other operations than before")
    same = places in right and None not in places
    return KEEP_ROWS_ONCE_RIGHT | TAKING if same else KEEP_ROWS_ONCE_RIGHT


def _other_outputs(task: Task, x: Inputs, outputs: Float[Tensor, "n o"]) -> list[int]:
    """Which of some rows have other outputs than among all: the first alone, others together."""
    rest = {len(x) - 1: None, len(x) // 2: None, **dict.fromkeys(drawn(len(x)).tolist())}
    rows = [0, *list(rest)[: max(2, min(FEW, len(x) // 2))]]
    found = [alone for row, alone in task.alone if same_rows(row, x[:1])][:1]
    groups = [rows[:1], rows[1:]][len(found) :]
    parameters = task.model.parameters
    found += task.model.at(parameters, lambda function: [function(x[group]) for group in groups])
    few = torch.cat(found)
    same = are_same(few, outputs[rows], rounding_of(few)).all(1).tolist()
    return [n for n, is_same in zip(rows, same, strict=True) if not is_same]
