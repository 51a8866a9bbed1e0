"""Weight layers over fibres of places: which slots the same weights read."""

import itertools

import torch
from jaxtyping import Int
from torch import Tensor

from ...errors import ConfigurationError
from ..linear import Split
from ..taps import Taps
from ..weights import First, Slots, Weights
from .places import fingerprints, grouped


class Same:
    """Key of a value: the same elements, or the same numbers of the inputs."""

    def __init__(self, x):
        self.x = x
        self.elements = getattr(x, "ids", None)

    def __hash__(self):
        return hash(tuple(self.x.shape))

    def __eq__(self, other: object) -> bool:
        if self.elements is None or other.elements is None:
            return getattr(self.x, "value", self.x) is getattr(other.x, "value", other.x)
        same = self.elements is other.elements or torch.equal(self.elements, other.elements)
        return same and torch.equal(self.x.rows, other.x.rows)


def scales_of(module) -> tuple:
    """What tells a layer of weights from others, and its scales."""
    return module, module.sigma_w, module.sigma_b, module.bias_init


def first_node(tracer, module, numbers: Tensor) -> First:
    """Node of a weight layer on numbers (N, P, K) of the inputs."""
    builder = tracer.builder
    if numbers.shape[2] != module.fan_in:
        raise ConfigurationError(
            f"inputs of shape {tuple(tracer.x.shape)}: {builder.here} sums over "
            f"{numbers.shape[2]} numbers there, but has weights for {module.fan_in}"
        )
    node = builder.add(First, builder.here, numbers.shape[1], *scales_of(module))
    builder.data[node.index] = numbers.to(tracer.dtype).permute(2, 1, 0)
    return node


def weights_at(
    tracer,
    module,
    fibres: Int[Tensor, "p f"],
    columns: Int[Tensor, "p f"],
    share: float,
    scale: float,
) -> Int[Tensor, " p"]:
    """Places of a weight layer that sums over fibres of places, channel by channel."""
    builder = tracer.builder
    first = columns.amax(0)
    if not bool(((columns == first) | (columns < 0)).all()):
        fibres, first = split_channels(tracer, fibres, columns)
    inverse, representatives = grouped(fingerprints(fibres))
    counts = torch.bincount(inverse).double()
    said = (inverse.numpy().tobytes(), first.numpy().tobytes())
    slots = fibres[:, representatives]
    return slot_nodes(builder, module, slots, counts * share * scale, said)


def slot_nodes(builder, module, slots: Int[Tensor, "p s"], shares: Tensor, said) -> Tensor:
    """Places of nodes whose slots come from the same sources; one node in most cases."""
    owners = builder.owners(slots)
    owners = torch.where(slots < 0, owners.amax(0), owners)
    kinds, firsts = grouped(fingerprints(owners.mT))
    found = torch.empty(len(slots), dtype=torch.long)
    for kind, first in enumerate(firsts.tolist()):
        mine = (kinds == kind).nonzero().flatten()
        groups = _groups(builder, slots[mine], owners[first].tolist(), shares.tolist())
        options = (*scales_of(module), tuple(groups), (hash(said),))
        node = builder.add(Weights, builder.here, len(mine), *options)
        found[mine] = builder.places(node)
    return found


def _groups(builder, slots: Tensor, owners: list[int], shares: list[float]) -> list[Slots]:
    """Slots side by side that read one source with one share."""
    groups = []
    for (owner, share), members in itertools.groupby(
        range(len(owners)), key=lambda s: (owners[s], shares[s])
    ):
        source = builder.nodes[owner]
        index = builder.inside(slots[:, list(members)], owner)
        groups.append(Slots(source, Taps(index, source.places), share))
    return groups


def constant_channels(tracer, places: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Places (C, P) and channels of values whose channels are the same at each place."""
    first = columns.amax(1, keepdim=True)
    if bool(((columns == first) | (columns < 0)).all()):
        return places, columns
    fibres, found = split_channels(tracer, places.mT, columns.mT)
    return fibres.mT, found[:, None].expand_as(columns)


def split_channels(
    tracer, fibres: Int[Tensor, "p f"], columns: Int[Tensor, "p f"]
) -> tuple[Int[Tensor, "p f"], Int[Tensor, " f"]]:
    """Places of their own for different channels of one place, as nn.Unflatten makes them.

    Different channels are independent, so that places made of them are.
    """
    builder = tracer.builder
    sets, firsts = grouped(fingerprints(columns.mT))
    all_channels = columns[firsts].flatten()
    if len(all_channels.unique()) < len(all_channels) or bool((columns < 0).any()):
        raise builder.refused(
            "a layer",
            "mixes places with weights that all channels share, which stays random at "
            "any width, or meets the channels of its places in different orders",
        )
    prints = fingerprints(columns.mT)[firsts]
    sets = prints.argsort().argsort()[sets]  # one number for one set of channels, everywhere
    partition = tuple(prints.sort().values.tolist())
    found = torch.empty_like(fibres)
    for index in builder.sources(fibres):
        source = builder.nodes[index]
        if any(offset for _, offset in source.keys):
            raise builder.refused("a layer", "reads a gate's channels as places")
        inside = builder.inside(fibres, index)
        mine = inside >= 0
        codes = inside * len(firsts) + sets[:, None]
        unique, inverse = torch.unique(codes[mine], return_inverse=True)
        taps = Taps((unique // len(firsts))[:, None], source.places)
        label = builder.label("split")
        options = (source, taps, unique % len(firsts), partition)
        node = builder.add(Split, label, len(unique), *options)
        found[mine] = builder.starts[node.index] + inverse
    return found, torch.arange(fibres.shape[1])
