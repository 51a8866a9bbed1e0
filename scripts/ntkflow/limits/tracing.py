"""Read a torch network as a program of operations with known limits, by torch.fx."""

import contextlib
import functools
import operator
from collections.abc import Callable
from typing import NamedTuple

import jaxtyping
import torch
from torch import fx, nn

from .. import networks
from ..errors import UnsupportedLayerError
from .activations import ACTIVATIONS, find_dual
from .duals import Dual
from .operations import Activation, Convolution, Dense, Flatten, Pool, Sum, Unflatten
from .recursion import Program, Step

DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
# What has a limit instead of a layer that has none.
INSTEAD = {
    nn.Linear: "ntkflow.Dense, whose scales the limit needs",
    nn.Conv2d: "ntkflow.Conv2d, whose scales the limit needs",
    **dict.fromkeys(DROPOUT, "it in evaluation mode, by network.eval()"),
}
SUPPORTED = (
    "ntkflow's Dense, Conv2d, Residual and GlobalAveragePool, nn.Flatten, nn.Identity, sums, means "
    "over space, and activations (others: ntkflow.register_activation)"
)


class _Value(NamedTuple):
    """Where a value comes from: its step, the weight layers whose outputs it sums, its law."""

    step: int
    terms: frozenset[str] = frozenset()
    gaussian: bool = False


_INPUT = _Value(-1)
_LEAVES = (networks.Dense, networks.Conv2d, networks.GlobalAveragePool)
_SUMS = {operator.add, operator.iadd, torch.add, "add", "add_"}
_MEANS = {torch.mean, "mean"}
_FLATTENS = {torch.flatten, "flatten", "view", "reshape"}
_SPACE = ({-2, -1}, {2, 3})


class _Tracer(fx.Tracer):
    """Symbolic tracing that stops at layers and activations."""

    def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:
        known = isinstance(module, _LEAVES) or type(module) in ACTIVATIONS
        return known or super().is_leaf_module(module, qualified_name)


def trace(network: nn.Module) -> Program:
    """Program of a network; a layer without a known limit is an error that names it."""
    functions = tuple(f for f in ACTIVATIONS if not isinstance(f, type))
    root = nn.Sequential(network)  # a network that is a single layer has to be a leaf, too
    try:
        with _unchecked_types():
            graph = _Tracer(autowrap_functions=functions).trace(root)
    except Exception as error:  # torch.fx raises whatever the network's own forward does
        raise UnsupportedLayerError(
            f"{type(network).__name__}: torch.fx cannot trace its forward ({error})"
        ) from error
    return _Reader(root, graph).program()


@contextlib.contextmanager
def _unchecked_types():
    """Where annotations are checked, symbolic values would fail: they are no tensors."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)


def _is_plain(layer: networks.Conv2d) -> bool:
    """Whether a convolution has one side, zeros around, and neither strides nor groups."""
    steps = {*layer.stride, *layer.dilation, layer.groups}
    sides = len(set(layer.kernel_size)) == len(set(layer.margins)) == 1
    return sides and steps == {1} and layer.padding_mode == "zeros"


class _Reader:
    """Walks a graph backwards from its output, so that shape arithmetic is never looked at."""

    def __init__(self, root: nn.Module, graph: fx.Graph):
        self.root, self.graph = root, graph
        self.steps: list[Step] = []
        self.values: dict[fx.Node, _Value] = {}
        self.used: set[str] = set()
        self.crossed = False

    def program(self) -> Program:
        """Steps up to the network's output."""
        (output,) = (node for node in self.graph.nodes if node.op == "output")
        if not isinstance(output.args[0], fx.Node):
            raise UnsupportedLayerError(f"network: returns {output.args[0]!r}, not one tensor")
        value = self.value(output.args[0])
        if not value.gaussian:
            raise UnsupportedLayerError(
                f"{self.label(output.args[0])}: the network has to end with a weight layer"
            )
        return Program(self.steps, self.crossed)

    def value(self, node: fx.Node) -> _Value:
        """Value of a node, after those that it reads."""
        if node not in self.values:
            self.values[node] = _INPUT if node.op == "placeholder" else self.read(node)
        return self.values[node]

    def read(self, node: fx.Node) -> _Value:
        """Step of a node that is a module, a function or a method."""
        if node.op == "call_module":
            return self.read_module(node, self.root.get_submodule(node.target))
        if node.target in _SUMS and self.is_sum(node):
            return self.read_sum(node)
        if node.target in _MEANS and self.is_mean_over_space(node):
            return self.read_pool(node)
        if node.target in _FLATTENS and self.is_flatten(node):
            return self.append(Flatten(self.label(node)), node.args[0])
        function = getattr(torch, node.target, None) if node.op == "call_method" else node.target
        if isinstance(function, Callable) and function in ACTIVATIONS:
            return self.read_function(node, function)
        raise self.unsupported(node)

    def read_module(self, node: fx.Node, module: nn.Module) -> _Value:
        """Step of a layer."""
        if isinstance(module, networks.Dense | networks.Conv2d):
            return self.read_weights(node, module)
        if isinstance(module, (nn.Identity, *DROPOUT)) and not networks.drops_out(module):
            return self.value(node.args[0])
        if isinstance(module, networks.GlobalAveragePool):
            return self.read_pool(node)
        if isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) == (1, -1):
            return self.append(Flatten(self.label(node)), node.args[0])
        if isinstance(module, nn.Unflatten) and self.value(node.args[0]) == _INPUT:
            return self.append(
                Unflatten(self.label(node), tuple(module.unflattened_size)), node.args[0]
            )
        if type(module) in ACTIVATIONS:
            dual = find_dual(type(module), module, self.label(node))
            return self.append_activation(node, dual)
        raise self.unsupported(node)

    def read_weights(self, node: fx.Node, layer: networks.Dense | networks.Conv2d) -> _Value:
        """Step of a layer with weights, independent of all others."""
        if node.target in self.used:
            raise UnsupportedLayerError(f"{self.label(node)}: its weights are used twice")
        self.used.add(node.target)
        options = (self.label(node), layer.sigma_w, layer.sigma_b, layer.bias_init, layer.fan_in)
        if isinstance(layer, networks.Conv2d):
            if not _is_plain(layer):
                raise self.unsupported(node)
            operation = Convolution(*options, layer.kernel_size[0], layer.margins[0])
        else:
            operation = Dense(*options)
        source = self.value(node.args[0])
        self.steps.append(Step(operation, (source.step,)))
        return _Value(len(self.steps) - 1, frozenset([node.target]), True)

    def read_function(self, node: fx.Node, function: Callable) -> _Value:
        """Step of an activation called as a function or method, with its options bound."""
        options = {k: v for k, v in node.kwargs.items() if k not in ("inplace", "input")}
        bound = functools.partial(function, **options)
        if len(node.args) > 1:
            bound = lambda x: function(x, *node.args[1:], **options)  # noqa: E731
        return self.append_activation(node, find_dual(function, bound, self.label(node)))

    def read_sum(self, node: fx.Node) -> _Value:
        """Step of a sum whose terms are uncorrelated: at most one is not centred Gaussian."""
        values = [self.value(argument) for argument in node.args]
        terms = [value.terms for value in values]
        if all(value == _INPUT for value in values) or not all(terms):
            raise UnsupportedLayerError(
                f"{self.label(node)}: adds to the inputs themselves; put a weight layer first"
            )
        if terms[0] & terms[1] or not any(value.gaussian for value in values):
            raise UnsupportedLayerError(
                f"{self.label(node)}: adds correlated values; one of the two branches has to end "
                "with a weight layer of its own"
            )
        self.steps.append(Step(Sum(self.label(node)), tuple(value.step for value in values)))
        gaussian = all(value.gaussian for value in values)
        return _Value(len(self.steps) - 1, frozenset().union(*terms), gaussian)

    def read_pool(self, node: fx.Node) -> _Value:
        """Step of a mean over space; unless it pools the inputs, it needs all pixel pairs."""
        value = self.append(Pool(self.label(node)), node.args[0])
        self.crossed = self.crossed or bool(value.terms)
        return value

    def append_activation(self, node: fx.Node, dual: Dual) -> _Value:
        """Step of an activation, which needs Gaussian values."""
        source = self.value(node.args[0])
        if not source.gaussian:
            raise UnsupportedLayerError(
                f"{self.label(node)}: an activation needs a weight layer right before it"
            )
        self.steps.append(Step(Activation(self.label(node), dual), (source.step,)))
        return source._replace(step=len(self.steps) - 1, gaussian=False)

    def append(self, operation: object, argument: fx.Node) -> _Value:
        """Step that keeps the law of its source."""
        source = self.value(argument)
        self.steps.append(Step(operation, (source.step,)))
        return source._replace(step=len(self.steps) - 1)

    def is_sum(self, node: fx.Node) -> bool:
        """Whether a node adds two tensors and nothing else."""
        return (
            len(node.args) == 2
            and all(isinstance(a, fx.Node) for a in node.args)
            and (not node.kwargs)
        )

    def is_mean_over_space(self, node: fx.Node) -> bool:
        """Whether a node is x.mean(dim=(-2, -1)) in one of its spellings."""
        dims = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else ())
        dims = dims if isinstance(dims, tuple | list) else node.args[1:]
        return set(dims) in _SPACE and not node.kwargs.get("keepdim", False)

    def is_flatten(self, node: fx.Node) -> bool:
        """Whether a node is x.flatten(1), or x.view(n, -1) or x.reshape(n, -1)."""
        if node.target in ("view", "reshape"):
            return len(node.args) == 3 and node.args[2] == -1
        options = dict(zip(("start_dim", "end_dim"), node.args[1:], strict=False)) | node.kwargs
        return options.get("start_dim", 0) == 1 and options.get("end_dim", -1) == -1

    def label(self, node: fx.Node) -> str:
        """Path and class of a module, or name of a function."""
        if node.op == "call_module":
            path = node.target.removeprefix("0").removeprefix(".")
            kind = type(self.root.get_submodule(node.target)).__name__
            return f"{path} ({kind})" if path else kind
        target = node.target if isinstance(node.target, str) else node.target.__name__
        return f"{node.name} ({target})"

    def unsupported(self, node: fx.Node) -> UnsupportedLayerError:
        """Error that names what has no limit."""
        module = self.root.get_submodule(node.target) if node.op == "call_module" else None
        hint = f"; use {INSTEAD[type(module)]}" if type(module) in INSTEAD else ""
        return UnsupportedLayerError(
            f"{self.label(node)} has no known limit{hint}; supported: {SUPPORTED}"
        )
