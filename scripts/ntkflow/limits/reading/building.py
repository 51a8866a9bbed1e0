"""The nodes of a program as they are found, by the places that they fill."""

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor, nn

from ...errors import UnsupportedLayerError
from ..activations import ACTIVATIONS
from ..nodes import Node
from ..normalization import Normalized
from ..recursion import Program
from ..weights import Layer
from .places import elements, places_of

SUPPORTED = (
    "ntkflow's layers (networks of torch's own: ntkflow.ntk_parameterization), sums, products of "
    "independent branches, means over places, normalisation, attention and activations (others: "
    "ntkflow.register_activation)"
)


class Builder:
    """Nodes in the order in which a forward makes them."""

    def __init__(self, network: nn.Module):
        self.names = {module: name for name, module in network.named_modules()}
        self.path: list[nn.Module] = []
        self.nodes: list[Node] = []
        self.starts: list[int] = []
        self.filled = 0
        self.data: dict[int, Tensor] = {}
        self.made: dict[object, object] = {}

    @property
    def here(self) -> str:
        """Name and class of the module that is running."""
        module = next((m for m in reversed(self.path) if m in self.names), None)
        if module is None:
            return type(self.path[-1]).__name__ if self.path else "network"
        name, kind = self.names[module], type(module).__name__
        return f"{name} ({kind})" if name else kind

    def label(self, function: str) -> str:
        """Name of a function, and of the module that calls it."""
        return f"{function} in {self.here}"

    def is_registered(self, module: nn.Module) -> bool:
        """Whether a module is an activation that has a dual."""
        return type(module) in ACTIVATIONS

    def refused(self, name: str, reason: str) -> UnsupportedLayerError:
        """Error for a function that has no limit, named with the module that calls it."""
        return UnsupportedLayerError(f"{self.label(name)}: {reason}")

    def unknown(self, name: str, hint: str = "", reason: str = "") -> UnsupportedLayerError:
        """Error for a function or layer whose limit is not known."""
        hint, reason = (f"; use {hint}" if hint else ""), (f": {reason}" if reason else "")
        end = "" if reason else f"; supported: {SUPPORTED}"
        return UnsupportedLayerError(f"{name} has no known limit{reason}{hint}{end}")

    def add(self, kind: type, name: str, places: int, *options, **named) -> Node:
        """A new node."""
        node = kind(name, len(self.nodes), places, *options, **named)
        self.nodes.append(node)
        self.starts.append(self.filled)
        self.filled += places
        return node

    def once(self, key: object, make) -> object:
        """What was made for a key before, or now."""
        if key not in self.made:
            self.made[key] = make()
        return self.made[key]

    def places(self, node: Node) -> Int[Tensor, " p"]:
        """Places of a node."""
        return self.starts[node.index] + torch.arange(node.places)

    def elements(self, node: Node, channels: int, shape: Sequence[int]) -> Tensor:
        """All elements of a node, places in a shape and channels last."""
        return elements(self.places(node), channels).view(*shape, channels)

    def owners(self, places: Int[Tensor, "*p"]) -> Int[Tensor, "*p"]:
        """Index of the node of each place; -1 for zeros."""
        return torch.bucketize(places.contiguous(), torch.tensor(self.starts), right=True) - 1

    def inside(self, places: Int[Tensor, "*p"], node: int) -> Int[Tensor, "*p"]:
        """Places within a node; -1 for zeros and other nodes'."""
        found = places - self.starts[node]
        mine = (places >= self.starts[node]) & (found < self.nodes[node].places)
        return torch.where(mine, found, -1)

    def sources(self, places: Int[Tensor, "*p"]) -> list[int]:
        """Indices of the nodes of some places, zeros left out."""
        found = self.owners(places.flatten()).unique().tolist()
        return [index for index in found if index >= 0]

    def program(self, output: Int[Tensor, "*shape"], rows: int) -> Program:
        """Nodes that the output needs; it is one place of a weight layer."""
        places = places_of(output).unique().tolist()
        nodes = self.sources(places_of(output))
        if not nodes or -1 in places:
            raise UnsupportedLayerError("network: returns zeros")
        last = self.nodes[nodes[-1]]
        if not last.gaussian:
            raise UnsupportedLayerError(f"{last.name}: the network has to end with a weight layer")
        if len(places) > 1:
            raise UnsupportedLayerError(
                f"{last.name}: the network ends with a map of {len(places)} places; end with "
                "nn.Flatten() or a mean over places, and Dense"
            )
        if last.places > 1:
            raise UnsupportedLayerError(
                f"{last.name}: the network returns one of its {last.places} places; take that "
                "place before the last layer"
            )
        needed = _needed(self.nodes, last)
        _check_readout(needed, last)
        data = {k: a[..., :rows] for k, a in self.data.items()}
        return Program(needed, data)


def _needed(nodes: list[Node], last: Node) -> list[Node]:
    """Nodes that the last one depends on, in order; it comes last."""
    needed, waiting = set(), [last]
    while waiting:
        node = waiting.pop()
        if node.index not in needed:
            needed.add(node.index)
            waiting += node.sources
    return [node for node in nodes if node.index in needed]


def _check_readout(nodes: list[Node], last: Node) -> None:
    """Gradients are independent of values only if the last weights are read once."""
    ends = _ends(last)
    keys = {node.key for node in ends}
    for layer in nodes:
        if isinstance(layer, Layer) and layer.key in keys and layer not in ends:
            raise UnsupportedLayerError(
                f"{layer.name}: the weights of the read-out are used inside the network, too, so "
                "that gradients depend on values; give the read-out weights of its own"
            )


def _ends(last: Node) -> list[Layer]:
    """The weight layers whose values are summed to the output."""
    found, waiting = [], [last]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Normalized):
            raise UnsupportedLayerError(
                f"{node.name}: normalises the outputs, of which there are few at any width; "
                "normalise before the last layer"
            )
        if isinstance(node, Layer):
            found.append(node)
        else:
            waiting += node.sources
    return found
