"""Sums, differences, products and quotients of traced values."""

from collections.abc import Callable

import torch
from jaxtyping import Int
from torch import Tensor

from ..elementwise import Activation, Product
from ..hermite import HermiteDual
from ..linear import Code, Fixed, Linear, Shifted, Term
from ..nodes import Node, independent
from ..taps import Taps
from .gains import gain_dual
from .places import BITS, NONE, channels_of, fingerprints, grouped, places_of


def per_node(tracer, x, key: tuple, make: Callable[[Node], Node]) -> object:
    """A value whose elements come from a new node for each node of x, place by place."""
    builder, axis = tracer.builder, tracer.axis(x)
    one = axis.take(x.ids)
    places = places_of(one)
    moved = one.clone()
    for index in builder.sources(places):
        source = builder.nodes[index]
        node = builder.once((*key, index), lambda source=source: make(source))
        inside = builder.inside(places, index) >= 0
        shift = builder.starts[node.index] - builder.starts[index]
        moved += torch.where(inside, shift << BITS, 0)
    return tracer.all_rows(moved, axis)


def scaled(tracer, x, factor: float) -> object:
    """A value times a number."""
    if factor == 1:
        return x
    if factor == 0:
        return tracer.lifted(torch.full_like(x.ids, NONE), x.rows)

    def make(source: Node) -> Node:
        terms = (Term(source, whole(source.places), factor),)
        return tracer.builder.add(Linear, tracer.builder.label("mul"), source.places, terms)

    return per_node(tracer, x, ("scaled", factor), make)


def whole(places: int) -> Taps:
    """Every place reads itself."""
    return Taps(torch.arange(places)[:, None], places)


def as_number(tracer, name: str, each: object) -> float | None:
    """A constant factor, or None for a value of the network."""
    if hasattr(each, "ids"):
        return None
    if isinstance(each, int | float):
        return float(each)
    if isinstance(each, torch.nn.Parameter) or (isinstance(each, Tensor) and each.requires_grad):
        raise tracer.builder.refused(
            name,
            "a learnable number that many values share: its part of the kernel never "
            "concentrates; fix it, or put a weight layer there",
        )
    if isinstance(each, Tensor) and not hasattr(each, "rows") and each.numel() == 1:
        return float(each)
    if hasattr(each, "value"):
        raise tracer.builder.refused(
            name,
            "combines the inputs themselves with values of weight layers; put a weight layer first",
        )
    raise tracer.builder.refused(name, "combines values of weight layers with a constant tensor")


def add(tracer, a, b, *, alpha=1, out=None) -> object:
    """Sum of two values; of numbers, 0 alone can be added."""
    return _add(tracer, "add", a, b, 1.0, float(alpha))


def sub(tracer, a, b, *, alpha=1) -> object:
    """Difference of two values."""
    return _add(tracer, "sub", a, b, 1.0, -float(alpha))


def rsub(tracer, a, b, *, alpha=1) -> object:
    """B - alpha a."""
    return _add(tracer, "sub", b, a, 1.0, -float(alpha))


def _add(tracer, name: str, a, b, first: float, second: float) -> object:
    a, b = _with_code(tracer, name, a, b), _with_code(tracer, name, b, a)
    numbers = [_is_zero(tracer, name, each) for each in (a, b)]
    if numbers[1]:
        return scaled(tracer, a, first)
    if numbers[0]:
        return scaled(tracer, b, second)

    def make(sources: list[Node], taps: list[Taps]) -> Node:
        factors = first, second
        terms = tuple(Term(*each) for each in zip(sources, taps, factors, strict=True))
        return tracer.builder.add(Linear, tracer.builder.label(name), len(taps[0].index), terms)

    return combined(tracer, name, a, b, make)


def _with_code(tracer, name: str, each: object, beside) -> object:
    """A constant tensor beside hidden values, as a code of positions, counts as values itself."""
    constant = isinstance(each, Tensor) and not hasattr(each, "rows") and each.numel() > 1
    if not constant or each.is_meta or not (bool(each.any()) or tracer.learns(each)):
        return each
    builder, axis = tracer.builder, tracer.axis(beside)
    if torch.broadcast_shapes(each.shape, beside.shape) != beside.shape:
        raise builder.refused(name, f"adds a constant of shape {tuple(each.shape)}")
    one = axis.take(beside.ids)
    spread = lambda numbers: axis.front(numbers.expand(beside.shape))  # noqa: E731
    numbers = spread(each.detach())
    if bool((numbers != numbers[:1]).any()):
        raise builder.refused(name, "adds a constant that differs from row to row")
    source, owners = each, None
    if tracer.learns(each):
        source, owners = _parameter(tracer, name, each), spread(_addresses(each))[0]
    builder.once(("kept", id(source)), lambda: source)  # no other may get its number
    return tracer.all_rows(_code(tracer, name, numbers[0], one, Code(id(source)), owners), axis)


def _parameter(tracer, name: str, each: Tensor) -> Tensor:
    """The parameter that a learnt constant is, or is a part of."""
    source = each if each._base is None else each._base
    if not source.is_leaf:
        raise tracer.builder.refused(
            name, "adds a constant computed from parameters; add the parameter or a slice of it"
        )
    return source


def _addresses(each: Tensor) -> Tensor:
    """Which number of its parameter each entry is."""
    size = each.untyped_storage().nbytes() // each.element_size()
    return torch.arange(size).as_strided(each.shape, each.stride(), each.storage_offset())


def _code(tracer, name: str, numbers: Tensor, one: Tensor, key: Code, owners) -> Tensor:
    """Elements of constants, in places and channels like those beside them."""
    builder, channels = tracer.builder, channels_of(one)
    if bool((channels < 0).any()):
        raise builder.refused(name, "adds a constant to zeros of a padding")
    inverse, _ = grouped(places_of(one).flatten())
    at = inverse, channels.flatten()
    table = _table(tracer, name, numbers, at)
    if owners is not None:
        owners = _table(tracer, name, owners, at).mT
        count = len(fingerprints(owners).unique())
        if any(len(each.unique()) != count for each in owners):
            raise builder.refused(name, "adds a parameter whose numbers are shared in part")
        owners = fingerprints(owners)
    options = len(table), key, table.shape[1], owners
    node = builder.add(Fixed, builder.label(name), *options)
    builder.data[node.index] = table.to(tracer.dtype).mT[..., None].expand(-1, -1, tracer.rows)
    return (((builder.starts[node.index] + inverse) << BITS) | at[1]).view(one.shape)


def _table(tracer, name: str, numbers: Tensor, at: tuple[Tensor, Tensor]) -> Tensor:
    """Numbers by place and channel, of which every one is met, with one number."""
    shape = [int(each.max()) + 1 for each in at]
    seen = torch.zeros(shape, dtype=torch.bool)
    seen[at] = True
    table = numbers.new_zeros(shape)
    table[at] = numbers.flatten()
    if not bool(seen.all()):
        raise tracer.builder.refused(name, "adds a constant to some channels of a place alone")
    if not torch.equal(table[at], numbers.flatten()):
        raise tracer.builder.refused(
            name, "adds different constants to one value; put a weight layer before it"
        )
    return table


def _is_zero(tracer, name: str, each: object) -> bool:
    """Whether a summand vanishes; other constants are refused."""
    plain = isinstance(each, Tensor) and not hasattr(each, "rows") and not each.is_meta
    if plain and not bool(each.any()) and not tracer.learns(each):
        return True
    number = as_number(tracer, name, each)
    if number:
        raise tracer.builder.refused(name, f"adds {number}, which no bias of a layer does")
    return number == 0


def combined(tracer, name: str, a, b, make: Callable) -> object:
    """Elementwise combination of two values, for each pair of nodes that meet."""
    builder = tracer.builder
    shape = torch.broadcast_shapes(a.shape, b.shape)
    full = a if a.shape == shape else b
    if a.shape != shape and b.shape != shape:
        raise builder.refused(name, f"spreads {tuple(a.shape)} and {tuple(b.shape)} over {shape}")
    axis = tracer.axis(full)
    ones = [axis.take(each.ids.expand(shape)) for each in (a, b)]
    rows = [each.rows.expand(shape) for each in (a, b)]
    if tracer.axis_of(rows[0]) != tracer.axis_of(rows[1]):
        raise builder.refused(name, "combines values whose rows lie on different axes")
    flat = [one.flatten() for one in ones]
    if any(bool((ids < 0).any()) for ids in flat):
        raise builder.refused(name, "combines values with zeros of a padding")
    ids = _pairs_of(tracer, name, flat, make)
    return tracer.all_rows(ids.view(ones[0].shape), axis)


def _pairs_of(tracer, name: str, flat: list[Tensor], make: Callable) -> Int[Tensor, " e"]:
    """Elements of the combination of two lists of elements."""
    builder = tracer.builder
    places, channels = [places_of(ids) for ids in flat], [channels_of(ids) for ids in flat]
    owners = [builder.owners(each) for each in places]
    offset = _offset(tracer, name, flat, channels)
    found = torch.empty_like(flat[0])
    kinds, firsts = grouped(owners[0] * (len(builder.nodes) + 1) + owners[1])
    for kind, first in enumerate(firsts.tolist()):
        mine = kinds == kind
        sources = [builder.nodes[int(each[first])] for each in owners]
        inside = [
            builder.inside(each[mine], source.index)
            for each, source in zip(places, sources, strict=True)
        ]
        codes = inside[0] * (sources[1].places + 1) + inside[1]
        unique, inverse = torch.unique(codes, return_inverse=True)
        index = unique // (sources[1].places + 1), unique % (sources[1].places + 1)
        taps = [Taps(i[:, None], s.places) for i, s in zip(index, sources, strict=True)]
        node = make([sources[0], _shifted(tracer, name, sources[1], offset)], taps)
        found[mine] = ((builder.starts[node.index] + inverse) << BITS) | channels[0][mine]
    return found


def _offset(tracer, name: str, flat: list[Tensor], channels: list[Tensor]) -> int:
    """By how many channels two sides are apart; one value may not meet many."""
    if torch.equal(*channels):
        return 0
    for ids in flat:
        if len(ids.unique()) < len(ids):
            raise tracer.builder.refused(
                name, "spreads one value over many channels, where it stays random at any width"
            )
    offsets = channels[1] - channels[0]
    if bool((offsets != offsets[0]).any()):
        raise tracer.builder.refused(
            name,
            "combines channels in two different orders; put a weight layer there, or take the "
            "channels as chunk does",
        )
    return int(offsets[0])


def _shifted(tracer, name: str, source: Node, offset: int) -> Node:
    """A value whose channels are counted from another one."""
    if not offset:
        return source
    if any(isinstance(key, Code) for key, _ in source.keys):
        raise tracer.builder.refused(name, "combines different channels of a code of constants")
    options = source.places, source, offset
    make = lambda: tracer.builder.add(Shifted, tracer.builder.label(name), *options)  # noqa: E731
    return tracer.builder.once(("shifted", source.index, offset), make)


def mul(tracer, a, b, *, out=None) -> object:
    """Product with a number, or of independent values."""
    numbers = [as_number(tracer, "mul", each) for each in (a, b)]
    if numbers[1] is not None:
        return scaled(tracer, a, numbers[1])
    if numbers[0] is not None:
        return scaled(tracer, b, numbers[0])
    label = tracer.builder.label("mul")

    def make(sources: list[Node], taps: list[Taps]) -> Node:
        (a, f), (b, g) = (_function_of(source) for source in sources)
        if a is b and a.gaussian and all(each.is_identity for each in taps):
            product = lambda u: f(u) * g(u)  # noqa: E731
            dual = HermiteDual(product, label)
            gain = gain_dual(tracer, a, dual, product, label)
            return tracer.builder.add(Activation, label, a.places, a, dual, product, gain)
        if not independent(*sources):
            raise tracer.builder.refused(
                "mul",
                "multiplies correlated values; one of the two branches has to end with a "
                "weight layer of its own",
            )
        factors = [
            source
            if each.is_identity
            else tracer.builder.add(Linear, label, len(each.index), (Term(source, each, 1.0),))
            for source, each in zip(sources, taps, strict=True)
        ]
        return tracer.builder.add(Product, label, factors[0].places, tuple(factors))

    return combined(tracer, "mul", a, b, make)


def _function_of(node: Node) -> tuple[Node, Callable]:
    """What a node is an elementwise function of."""
    if isinstance(node, Activation):
        return node.source, node.function
    return node, lambda u: u


def div(tracer, a, b, *, rounding_mode=None) -> object:
    """Quotient by a number."""
    number = as_number(tracer, "div", b)
    if number is None or rounding_mode:
        raise tracer.builder.refused("div", "divides by values of weight layers")
    return scaled(tracer, a, 1 / number)


def neg(tracer, x) -> object:
    """-x."""
    return scaled(tracer, x, -1.0)
