"""Functions of hidden values, as nodes of a program."""

import functools
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from ..activations import ACTIVATIONS, find_dual
from ..duals import Dual
from ..elementwise import Activation, Dropped
from ..linear import Linear
from ..nodes import Node
from .arithmetic import add, as_number, div, mul, neg, per_node, rsub, sub
from .gains import gain_dual
from .norms import group_norm, layer_norm, rms_norm
from .pooling import adaptive_pool, average_pool, interpolate, mean, total


def apply_function(tracer, function, name: str, args: tuple, kwargs: dict) -> object:
    """Value of a function of torch or a method of a tensor."""
    if name in HANDLERS:
        return HANDLERS[name](tracer, *args, **kwargs)
    known = function if function in ACTIVATIONS else getattr(torch, name.strip("_"), None)
    if known in ACTIVATIONS:
        return _activation_function(tracer, known, name, args, kwargs)
    raise tracer.builder.unknown(tracer.builder.label(name), INSTEAD.get(name, ""))


def _activation_function(tracer, function: Callable, name: str, args, kwargs) -> object:
    """An activation called as a function or method, with its options bound."""
    options = {k: v for k, v in kwargs.items() if k not in ("inplace", "input")}
    x = args[0] if args else kwargs["input"]
    for each in (*args[1:], *options.values()):
        if isinstance(each, Tensor) and each.requires_grad:
            check_slope(tracer, name, name == "prelu")
        elif isinstance(each, Tensor) and name != "prelu":
            as_number(tracer, name, each)
    bound = functools.partial(function, **options)
    if len(args) > 1:
        bound = lambda u: function(u, *args[1:], **options)  # noqa: E731

    label = tracer.builder.label(name)
    key = (function, str(args[1:]), str(sorted(options.items())))
    dual = tracer.builder.once(key, lambda: find_dual(function, bound, label))
    return activate(tracer, dual, bound, label, x)


def check_slope(tracer, name: str, is_prelu: bool) -> None:
    """A learnt slope of PReLU counts as fixed, with a warning; other such numbers are refused."""
    if not is_prelu:
        raise tracer.builder.refused(
            name,
            "a learnable number that many values share: its part of the kernel never concentrates; "
            "fix it by requires_grad_(False)",
        )
    warnings.warn(
        f"{tracer.builder.label(name)}: its slope counts as fixed at its present value, as its "
        "part of the kernel never concentrates (no warning: requires_grad_(False))",
        stacklevel=2,
    )


def activate(tracer, dual: Dual, function: Callable, label: str, x) -> object:
    """An elementwise activation of Gaussian values."""
    if not hasattr(x, "ids"):
        raise tracer.builder.refused(
            label.split(" ")[0], "an activation needs a weight layer right before it"
        )

    def make(source: Node) -> Node:
        if not source.gaussian:
            said = (
                "of a sum of a Gaussian and a non-Gaussian value"
                if (isinstance(source, Linear))
                else f"right after {source.name}"
            )
            raise tracer.builder.refused(
                label.split(" ")[0], f"{said}; an activation needs a weight layer right before it"
            )
        gain = gain_dual(tracer, source, dual, function, label)
        return tracer.builder.add(Activation, label, source.places, source, dual, function, gain)

    return per_node(tracer, x, ("activation", id(dual)), make)


def dropout(tracer, x, p=0.5, training=True, inplace=False) -> object:
    """Nothing in evaluation mode, else each entry kept with probability 1 - p."""
    if not training or p == 0:
        return x
    if p == 1:
        raise tracer.builder.refused("dropout", "keeps nothing")
    if len(x.ids.unique()) * tracer.rows < x.ids.numel():
        raise tracer.builder.refused(
            "dropout", "drops one value at several places apart; use network.eval()"
        )
    label = tracer.builder.label("dropout")
    # Every call has a mask of its own.
    key = ("dropout", len(tracer.builder.nodes))
    make = lambda source: tracer.builder.add(Dropped, label, source.places, source, 1 - p)  # noqa: E731
    return per_node(tracer, x, key, make)


def feature_dropout(tracer, x, p=0.5, training=True, inplace=False) -> object:
    """Dropout of whole channels, in evaluation mode."""
    if training and p:
        raise tracer.builder.unknown(
            tracer.builder.here, "nn.Dropout, or it in evaluation mode, by network.eval()"
        )
    return x


def refuse(name: str, reason: str, hint: str) -> Callable:
    """Handler of a function that has no limit, which says why and what to use instead."""
    return functools.partial(_refused, name, reason, hint)


def _refused(name: str, reason: str, hint: str, tracer, *args, **kwargs) -> object:
    raise tracer.builder.unknown(tracer.builder.label(name), hint, reason)


HANDLERS: dict[str, Callable] = {
    **dict.fromkeys(["add", "add_", "__add__", "__radd__", "__iadd__"], add),
    **dict.fromkeys(["sub", "sub_", "__sub__", "__isub__", "subtract"], sub),
    **dict.fromkeys(["rsub", "__rsub__"], rsub),
    **dict.fromkeys(["mul", "mul_", "__mul__", "__rmul__", "__imul__", "multiply"], mul),
    **dict.fromkeys(["div", "div_", "__truediv__", "__itruediv__", "true_divide", "divide"], div),
    **dict.fromkeys(["neg", "__neg__", "negative"], neg),
    "mean": mean,
    "sum": total,
    **dict.fromkeys(["avg_pool1d", "avg_pool2d", "avg_pool3d"], average_pool),
    **dict.fromkeys(
        ["adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"], adaptive_pool
    ),
    "dropout": dropout,
    **dict.fromkeys(
        ["dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_dropout"], feature_dropout
    ),
    "interpolate": interpolate,
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
    "group_norm": group_norm,
    "instance_norm": refuse(
        "instance_norm",
        "one channel a group is not Gaussian at any width",
        "LayerNorm or GroupNorm",
    ),
    "batch_norm": refuse(
        "batch_norm",
        "statistics of a batch make its rows interact",
        "LayerNorm, or ntkflow.monte_carlo_kernels",
    ),
    **dict.fromkeys(
        [
            "max_pool1d",
            "max_pool2d",
            "max_pool3d",
            "adaptive_max_pool1d",
            "adaptive_max_pool2d",
            "adaptive_max_pool3d",
            "max",
            "amax",
            "maximum",
            "min",
            "amin",
            "minimum",
        ],
        refuse(
            "a maximum",
            "it is not elementwise, and no closed form is known",
            "average pooling, or ntkflow.monte_carlo_kernels",
        ),
    ),
    **dict.fromkeys(
        [
            "matmul",
            "__matmul__",
            "bmm",
            "mm",
            "einsum",
            "scaled_dot_product_attention",
            "baddbmm",
            "softmax",
            "log_softmax",
        ],
        refuse(
            "a product of two values or a softmax",
            "written out, it is not read",
            "ntkflow.MultiheadAttention",
        ),
    ),
    **dict.fromkeys(
        ["glu"],
        refuse(
            "glu",
            "its halves are read as chunk, times an activation of the other half",
            "a * torch.sigmoid(b) with a, b = x.chunk(2, -1)",
        ),
    ),
}

# What has a limit instead of a function that has none.
INSTEAD = {
    "linear": "ntkflow.Dense, whose scales the limit needs (ntkflow.ntk_parameterization)",
    "conv2d": "ntkflow.Conv2d, whose scales the limit needs (ntkflow.ntk_parameterization)",
}
