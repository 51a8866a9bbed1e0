"""Where parameters act in the autograd graph of a network."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from .walking import Made, Node, Shapes, Walk, find_made, shapes_of, summed_lengths, visit, walk

# Operations that hand the numbers of a tensor on in their order.
RESHAPES = frozenset(
    ["Alias", "Reshape", "ReshapeAlias", "Squeeze", "ToCopy", "UnsafeView", "Unsqueeze", "View"]
)


class Parameter(NamedTuple):
    """A parameter as an operation reads it: `scale` times itself, in another shape.

    `transposed` tells that the two axes of a matrix are exchanged.
    """

    name: str
    scale: float
    transposed: bool
    shape: torch.Size


@dataclass(frozen=True)
class Use:
    """One operation h = scale F(x; weight) + bias, in which a weight, a bias or both act.

    Attributes:
        kind: name of the operation F.
        source: its node in the graph, which keeps what the parameters meet.
        node: the node that makes h: `source`, or where a scale and a bias follow it.
        weight: the weight or None.
        bias: the bias or None.
        scale: factor between `source` and `node`.
        other: what a bias is added to, and its factor; None where that is no sum.
        slot: which factor of a product the weight is.
    """

    kind: str
    source: Node
    node: Node
    weight: Parameter | None
    bias: Parameter | None
    scale: float = 1.0
    other: tuple[Node | None, float] | None = None
    slot: int = 0

    @cached_property
    def names(self) -> tuple[str | None, str | None]:
        """Names of weight and bias."""
        return tuple(None if p is None else p.name for p in (self.weight, self.bias))


class Found(NamedTuple):
    """Uses in a graph, parameters that act anywhere else, and all operations in order.

    `elsewhere` holds the kind of an operation that reads the parameter in no way known here;
    `operations` tells what each is, and which results of which others it takes; `made` what is made
    of parameters alone and named in uses like a parameter; `summed` the lengths of the axes that
    sums and means go over.
    """

    uses: list[Use]
    elsewhere: dict[str, str]
    operations: tuple[tuple, ...]
    made: dict[str, Made]
    walk: Walk
    summed: tuple[tuple[int, ...], ...] = ()

    @property
    def kinds(self) -> set[str]:
        """Kinds of all operations."""
        return {kind for kind, *_ in self.operations}

    def sources(self, names: Iterable[str | None]) -> set[str]:
        """Names of parameters, also of those that others are made of."""
        names = set(names) - {None}
        return names.union(*(self.made[name].sources for name in names if name in self.made))


def find_uses(outputs: Tensor, parameters: Mapping[str, Tensor], shapes: Shapes = {}) -> Found:  # noqa: B006
    """Walk the graph from the outputs and keep every operation that reads a parameter.

    `shapes` tells what else is read like a parameter, as it is the same for all rows.
    """
    read = _reader(parameters)
    whole = walk(outputs.grad_fn, lambda node: getattr(read(node), "name", None))
    alone = find_made(whole, shapes)
    nodes = whole.nodes
    if alone:
        nodes = visit(outputs.grad_fn, lambda node: getattr(read(node), "name", None), alone)
    uses, elsewhere, operations, counts, made = [], {}, [], Counter(), {}
    summed: list[tuple[int, ...]] = []
    numbers: dict[Node | None, int] = {}
    for node in nodes:
        met = {}
        for slot, (parent, number) in enumerate(node.next_functions):
            counts[parent] += 1
            parameter = None if parent is None else read(parent)
            if parameter is None and parent in alone:
                parameter = _made_parameter(alone[parent], parent, number)
                edge = GradientEdge(parent, number)
                made[parameter.name] = Made(edge, whole.sources[parent])
            if parameter is not None:
                met[slot] = parameter
        known = _uses_of(node, met)
        parents = [(numbers.setdefault(p, len(numbers)), i) for p, i in node.next_functions]
        operations.append((*_operation(node, bool(known)), *parents))
        if kind_of(node) in SUMS:
            summed.append(summed_lengths(node))
        uses += known
        elsewhere |= {} if known else {p.name: kind_of(node) for p in met.values()}
    told = tuple(operations), made, whole, tuple(summed)
    found = Found(_merged(uses, counts), elsewhere, *told)
    for name, kind in list(elsewhere.items()):
        elsewhere |= dict.fromkeys(found.sources([name]), kind)
    return found


def _reader(parameters: Mapping[str, Tensor]) -> Callable[[Node], "Parameter | None"]:
    """`_parameter`, once for every node."""
    names = {id(p): name for name, p in parameters.items()}
    return cache(lambda node: _parameter(node, names))


def _made_parameter(place: int, node: Node, number: int) -> Parameter:
    """What a node of parameters alone returns, as if it were one."""
    return Parameter(f"made:{place}:{number}", 1.0, False, shapes_of(node)[number])


# Numbers that say which rows an operation takes, if it takes rows apart, joins or repeats them.
PLACES = {
    "AsStrided": ("size", "stride", "storage_offset"),
    "Cat": ("dim",),
    "Flip": ("dims",),
    "LogSoftmax": ("dim",),
    "Mean": ("dim",),
    "Permute": ("dims",),
    "Repeat": ("repeats",),
    "Roll": ("shifts", "dims"),
    "Select": ("dim", "index"),
    "Slice": ("dim", "start", "end", "step"),
    "Softmax": ("dim",),
    "Split": ("dim", "split_size"),
    "SplitWithSizes": ("dim", "split_sizes"),
    "Stack": ("dim",),
    "Sum": ("dim",),
    "Transpose": ("dim0", "dim1"),
    "Unbind": ("dim",),
    "UnsafeSplit": ("dim", "split_size"),
    "Unsqueeze": ("dim",),
}


SUMS = ("Mean", "Sum")

# The factors of a product, by their slots.
FACTORS = {"Addmm": (1, 2), "Bmm": (0, 1), "Convolution": (0, 1), "Mm": (0, 1)}


def _operation(node: Node, of_parameter: bool) -> tuple:
    """Kind of an operation and where it takes rows apart or puts them together.

    A product with a constant, and a look-up, may put rows in any order, and have kinds of their
    own, unless what they meet is a parameter.
    """
    kind = kind_of(node)
    constant = any(node.next_functions[slot][0] is None for slot in FACTORS.get(kind, ()))
    if (constant or kind == "Embedding") and not of_parameter:
        return (f"{kind} of rows",)
    return kind, *(getattr(node, f"_saved_{name}", None) for name in PLACES.get(kind, ()))


def kind_of(node: Node) -> str:
    """Name of the operation that a node differentiates; custom functions keep their whole name."""
    return _kind(node.name())


@cache
def _kind(name: str) -> str:
    operation = name.rstrip("0123456789")
    return name if operation == name else operation.removesuffix("Backward")


def shape_of(node: Node) -> torch.Size:
    """Shape of what a node's operation returns."""
    return torch.Size(node._input_metadata[0].shape)


def _parameter(node: Node, names: Mapping[int, str]) -> Parameter | None:
    """The parameter that a node hands on, at most scaled, transposed and reshaped."""
    if not hasattr(node, "variable") and kind_of(node) not in _HANDED_ON:
        return None
    shape = None if hasattr(node, "variable") else shape_of(node)
    scale, transposed, reshaped = 1.0, False, False
    while not hasattr(node, "variable"):
        kind, parents = kind_of(node), [p for p, _ in node.next_functions if p is not None]
        factor = _factor(node, kind)
        if len(parents) != 1 or factor is None or (kind in _TRANSPOSES and reshaped):
            return None
        scale *= factor
        transposed ^= kind in _TRANSPOSES
        reshaped |= kind in RESHAPES
        node = parents[0]
    name = names.get(id(node.variable))
    return name and Parameter(name, scale, transposed, shape or node.variable.shape)


_TRANSPOSES = frozenset(["Permute", "T", "Transpose"])
_HANDED_ON = RESHAPES | _TRANSPOSES | {"Mul"}


def _factor(node: Node, kind: str) -> float | None:
    """Number that a node multiplies with; None if it does something else."""
    if kind in ("Permute", "Transpose") and len(shape_of(node)) != 2:
        return None
    if kind == "Permute" and tuple(node._saved_dims) != (1, 0):
        return None
    if kind in RESHAPES or kind in _TRANSPOSES:
        return 1.0
    if kind != "Mul" or any(parent is not None for parent, _ in node.next_functions[1:]):
        return None
    other = node._saved_other
    number = isinstance(other, int | float) or (other is not None and other.ndim == 0)
    # Under a mode that watches the operations, float(tensor) fails.
    return float(other.tolist() if isinstance(other, Tensor) else other) if number else None


def _uses_of(node: Node, read: dict[int, Parameter]) -> list[Use]:
    """What a node does with the parameters that it reads; nothing unless all of it is known."""
    kind = kind_of(node)
    if not read or kind not in SLOTS or node._input_metadata[0].dtype.is_complex:
        return []
    turned = [slot for slot, parameter in read.items() if parameter.transposed]
    if turned not in ([], WEIGHTS.get(kind, [])):
        return []
    try:
        uses = SLOTS[kind](node, read)
    except RuntimeError:  # what it kept was overwritten or freed
        return []
    met = sum(name is not None for use in uses for name in use.names)
    return uses if met == len(read) else []


def _matrix(node: Node, read: dict[int, Parameter], weight: int) -> list[Use]:
    """H = A W' or A W, or alpha A W' + beta b."""
    kept = node._saved_mat1 if weight == 2 else node._saved_self
    alpha, beta = (node._saved_alpha, node._saved_beta) if weight == 2 else (1, 1)
    w, b = read.get(weight), read.get(0) if weight == 2 else None
    if w is not None and kept is None:
        return []
    if b is not None:
        b = b._replace(scale=float(b.scale * beta))
    if w is None:
        return [] if b is None else [Use("Shift", node, node, None, b)]
    w = w._replace(scale=float(w.scale * alpha))
    return [Use("Matrix", node, node, w, b)]


def _convolution(node: Node, read: dict[int, Parameter]) -> list[Use]:
    w, b = read.get(1), read.get(2)
    if b is not None:
        spatial = len(shape_of(node)) - 2
        b = b._replace(shape=torch.Size([b.shape.numel(), *[1] * spatial]))
    if w is None:
        return [] if b is None else [Use("Shift", node, node, None, b)]
    if node._saved_input is None:
        return []
    joint = not node._saved_transposed and node._saved_groups == 1
    kind = "Convolution" if joint else "Transposed" if node._saved_groups == 1 else "Grouped"
    if node._saved_transposed and not _is_undone(node):
        return []
    if joint or b is None:
        return [Use(kind, node, node, w, b)]
    return [Use(kind, node, node, w, None), Use("Shift", node, node, None, b)]


def _is_undone(node: Node) -> bool:
    """Whether a transposed convolution goes back over exactly the places of its input."""
    pairs = zip(node._saved_output_padding, node._saved_stride, strict=True)
    return node._saved_groups == 1 and all(extra < stride for extra, stride in pairs)


def _normalization(node: Node, read: dict[int, Parameter]) -> list[Use]:
    """Gain and shift of normalised inputs: of the last axes, or of channels."""
    kind, uses = kind_of(node), []
    if kind == "NativeBatchNorm" and node._saved_training:
        return []
    for slot, name in ((1, "weight"), (2, "bias")):
        if slot in read:
            p = read[slot]
            if kind != "NativeLayerNorm":
                trailing = len(shape_of(node)) - 2
                p = p._replace(shape=torch.Size([p.shape.numel(), *[1] * trailing]))
            pair = (p, None) if name == "weight" else (None, p)
            uses.append(Use(kind if name == "weight" else "Shift", node, node, *pair))
    return uses


def _embedding(node: Node, read: dict[int, Parameter]) -> list[Use]:
    if node._saved_scale_grad_by_freq:
        return []
    return [Use("Embedding", node, node, read[0], None)]


def _product(node: Node, read: dict[int, Parameter]) -> list[Use]:
    """Elementwise gain."""
    (slot,) = read if len(read) == 1 else (None,)
    kept = {0: "_saved_other", 1: "_saved_self"}.get(slot)
    if kept is None or getattr(node, kept) is None:
        return []
    return [Use("Product", node, node, read[slot], None, slot=slot)]


def _prelu(node: Node, read: dict[int, Parameter]) -> list[Use]:
    return [Use("PreluKernel", node, node, read[1], None)] if list(read) == [1] else []


def _sum(node: Node, read: dict[int, Parameter]) -> list[Use]:
    """Elementwise shift."""
    if len(read) != 1:
        return []
    ((slot, b),) = read.items()
    factors = 1, (-1 if kind_of(node) == "Sub" else 1) * node._saved_alpha
    other = node.next_functions[1 - slot][0], float(factors[1 - slot])
    b = b._replace(scale=float(b.scale * factors[slot]))
    return [Use("Shift", node, node, None, b, other=other)]


def _expand(node: Node, read: dict[int, Parameter]) -> list[Use]:
    return [Use("Shift", node, node, None, read[0])]


SLOTS = {
    "Addmm": lambda node, read: _matrix(node, read, 2),
    "Mm": lambda node, read: _matrix(node, read, 1),
    "Convolution": _convolution,
    "NativeLayerNorm": _normalization,
    "NativeGroupNorm": _normalization,
    "NativeBatchNorm": _normalization,
    "Embedding": _embedding,
    "Mul": _product,
    "PreluKernel": _prelu,
    "Add": _sum,
    "Sub": _sum,
    "Expand": _expand,
}
WEIGHTS = {"Addmm": [2], "Mm": [1]}  # slots of weights that may be transposed
JOINED = ("Matrix", "Convolution")


def _merged(uses: list[Use], counts: Counter) -> list[Use]:
    """Weights and the biases that are added to nothing but their products as one use."""
    joinable = {use.node: use for use in uses if use.kind in JOINED and use.bias is None}
    result, gone = [], set()
    for use in uses:
        partner = None
        if use.other is not None:
            partner = _partner(use, joinable, counts)
        if partner is None:
            result.append(use)
        else:
            weight, scale = partner
            gone.add(weight.source)
            result.append(replace(weight, node=use.node, bias=use.bias, scale=scale))
    return [u for u in result if not (u.source in gone and u.bias is None and u.kind in JOINED)]


def _partner(use: Use, joinable: Mapping[Node, Use], counts: Counter) -> tuple[Use, float] | None:
    """The weight whose product, at most scaled, is all that this bias is added to."""
    node, scale = use.other
    while node is not None and counts[node] == 1:
        weight = joinable.get(node)
        if weight is not None:
            return (weight, scale) if _fits(use, weight) else None
        factor = None if kind_of(node) in _TRANSPOSES else _factor(node, kind_of(node))
        if factor is None:
            return None
        scale, node = scale * factor, node.next_functions[0][0]
    return None


def _fits(use: Use, weight: Use) -> bool:
    """Whether a bias has one number for each output of the weight."""
    shape, product = shape_of(use.node), shape_of(weight.source)
    if weight.kind == "Matrix":
        return use.bias.shape[-1:] == product[-1:] == shape[-1:] and _is_row(use.bias.shape)
    channels = torch.Size([shape[1], *[1] * (len(shape) - 2)])
    return shape == product and use.bias.shape[1 - len(shape) :] == channels


def _is_row(shape: torch.Size) -> bool:
    return shape.numel() == shape[-1]
