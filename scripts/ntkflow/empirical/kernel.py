"""Empirical neural tangent kernel of any network, by four methods and in six conventions."""

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from ..errors import NtkflowError, UnsupportedLayerError, first_words
from .blocks import as_budget
from .complexes import in_precision
from .differential import KeptGraphs, Operator, as_operator
from .inputs import Inputs, Several, as_inputs, constant, in_type
from .layout import Layout
from .methods import compute
from .model import Applied, Model, as_model
from .outputs import Pick
from .overflow import check_overflow
from .precision import check_dtype, computing, refusing_type, summing_type
from .selection import Outputs, read_outputs
from .task import Task

CONVENTIONS = {
    "block": "Theta[o, o', n, n'] = <df_o(x_n)/dtheta, df_o'(x_n')/dtheta>, all pairs of outputs",
    "diagonal": "Theta[o, n, n'] = <df_o(x_n)/dtheta, df_o(x_n')/dtheta>, equal outputs only",
    "trace": "Theta[n, n'] = sum over outputs o of <df_o(x_n)/dtheta, df_o(x_n')/dtheta>",
    "mean": "Theta[n, n'] = mean over outputs o of <df_o(x_n)/dtheta, df_o(x_n')/dtheta>",
}


@dataclass(frozen=True)
class Kernel:
    """Kernel with the convention it is in.

    Attributes:
        values: (O, O, N1, N2), (O, N1, N2) or (N1, N2), see `empirical_ntk`.
        outputs: the convention, the output or the outputs that were asked for.
        convention: the same as a formula; never divided by the number of inputs.
        method: how it was computed.
        by_parameter: with `by_layer=True`, one kernel per parameter; they sum to `values`.
        by_layer: the same, one kernel per layer.

    Examples:
        >>> network, x = ntkflow.mlp(3, [64], 2), torch.randn(5, 3)
        >>> kernel = ntkflow.empirical_ntk(network, x, outputs="mean", by_layer=True)
        >>> kernel.values.shape, kernel.outputs, kernel.method
        (torch.Size([5, 5]), 'mean', 'layerwise')
        >>> torch.allclose(sum(kernel.by_layer.values()), kernel.values)
        True
    """

    values: Tensor
    outputs: str | int | list[int]
    convention: str
    method: str
    by_parameter: dict[str, Tensor] | None = None

    @property
    def by_layer(self) -> dict[str, Tensor] | None:
        """Sums over the parameters of a layer, its weight and bias; None without `by_parameter`.

        A layer is called as its parameters are up to the last dot, as in `named_modules`: "" is the
        network itself. Parameters below `parametrizations` belong to the layer above.
        """
        if self.by_parameter is None:
            return None
        layers: dict[str, Tensor] = {}
        for name, part in self.by_parameter.items():
            layer = _layer_of(name)
            layers[layer] = layers[layer] + part if layer in layers else part
        return layers


def _layer_of(name: str) -> str:
    path = name.split(".")
    end = path.index("parametrizations") if "parametrizations" in path else len(path) - 1
    return ".".join(path[:end])


def empirical_ntk(
    network: nn.Module | Callable,
    x1: Shaped[Tensor, "n1 *shape"] | Several,
    x2: Shaped[Tensor, "n2 *shape2"] | Several | None = None,
    *,
    parameters: Any = None,
    outputs: Outputs = "block",
    output: Pick = None,
    operator: Operator | None = None,
    dtype: torch.dtype | None = None,
    method: str = "auto",
    by_layer: bool = False,
    memory_budget: int | float | None = None,
) -> Kernel:
    """Empirical neural tangent kernel Theta = J(x1) J(x2)^T of a network at its parameters.

    Theta[o, o', n, n'] = <df_o(x1_n)/dtheta, df_o'(x2_n')/dtheta>, neither averaged nor summed
    over outputs, not divided by the number of inputs. Source: Jacot, Gabriel, Hongler 2018
    (arXiv:1806.07572), section 4.

    Rows must not interact and the first axis of the output must be that of the rows; further axes
    of the output are flattened into O. The network and x stay as they are, buffers included.

    Outputs in a batch are compared with those of single rows, those of up to 512 rows also in two
    arrangements, and what a fast method finds for two rows with plain autograd; for more rows where
    some parameter acts on neither. What deviates is not handed out. Each of these rows costs one
    backward pass. A module is not compared with autograd again while its modes, hooks, attributes
    and the operations of its graph are the same; the outputs of up to half of its rows, 17 at most,
    are looked at every time.

    Args:
        network: module in evaluation mode, or function of (parameters, x).
        x1: inputs, rows first: a tensor; a tuple or list of tensors, which the network gets as
            several arguments (never a list of rows); or a dict of tensors, which it gets by
            keyword. A function gets them after its parameters. Every tensor has N1 rows; None,
            numbers and strings among them are the same for all rows.
        x2: other inputs, also of other sizes after the first axis, as long as the network has as
            many outputs; default: x1, of which only half the kernel is computed.
        parameters: of a module: by default those that require a gradient; name to tensor; a name
            or pattern ("head.*"), a part of the module, a parameter, or several of these (the
            others are held fixed); of a function: any pytree of tensors. Of complex ones real and
            imaginary parts are differentiated; hooks of parameters act on their gradients.
        outputs: "block" (O, O, N1, N2); "diagonal" (O, N1, N2), equal outputs; "trace" (N1, N2),
            their sum; "mean" (N1, N2), their mean; an int (N1, N2), that output alone; a list of S
            ints (S, S, N1, N2), the block of these.
        output: of a network that returns several things, which one: a key, an index or a function.
        operator: function (f, x) -> (N, ...), the kernel of which is wanted in place of that of the
            network: a residual, `ntkflow.laplacian`, `ntkflow.gradient`. x are rows in the form
            of x1 (a list as a tuple), copies whose floating-point numbers take gradients; f is the
            network, a function of one such argument that returns what the network returns, or its
            `output`. Derivatives by torch.func, or by torch.autograd.grad with create_graph=True.
        dtype: type that parameters, buffers and inputs are cast to first, where they are
            floating-point numbers; the network stays as it is. Autocast is off then.
        method: "jacobian" forms the rows of the Jacobian; "vector_product" never does, and is
            meant for few rows x1 (a profile against one anchor) or few x2; "layerwise" goes
            through what parameters meet in the autograd graph (matrix products, convolutions,
            embeddings, normalisations, sums and products with a parameter, however they are
            called), and the Jacobian of other parameters; "autograd" takes one backward pass for
            each row and output, slow and right on whatever torch differentiates; "auto" is
            "layerwise" where most parameters act in such operations, else "vector_product" if one
            side has one row, else "jacobian", and "autograd" where these fail or deviate from it.
        by_layer: also return one kernel per parameter, and per layer.
        memory_budget: bytes to use beside the result and the network, as nearly as can be
            foreseen; sets how many rows are handled at once. At least one row always is. Default:
            1 GiB, on a GPU half of what is free.

    Returns:
        `Kernel` with the values on the device and in the type of the network's outputs; those of 16
        bits are summed in float32, but for "vector_product", where the network's own sums do it.

    Raises:
        ConfigurationError: if an option, the parameters or the inputs are not allowed, or the
            network does not take the dtype.
        UnsupportedLayerError: if batch or spectral normalisation or dropout is in training mode, an
            embedding has a max_norm, the network draws random numbers, rows interact, the network
            returns anything but real numbers (N, ...), or the method that was asked for fails or
            deviates from plain autograd.
        KernelError: if a kernel of 16-bit numbers overflows; it names the input.

    Examples:
        >>> network, x = ntkflow.mlp(3, [64], 2), torch.randn(5, 3)
        >>> ntkflow.empirical_ntk(network, x).values.shape
        torch.Size([2, 2, 5, 5])
        >>> ntkflow.empirical_ntk(network, x[:1], x, outputs="mean").values.shape
        torch.Size([1, 5])
        >>> ntkflow.empirical_ntk(network, x, outputs=[1], parameters="*weight").values.shape
        torch.Size([1, 1, 5, 5])
        >>> list(ntkflow.empirical_ntk(network, x, by_layer=True).by_layer)
        ['0', '2']
        >>> residual = lambda f, x: ntkflow.laplacian(f, x) + f(x) ** 3
        >>> kernel = ntkflow.empirical_ntk(network, x, operator=residual, dtype=torch.float64)
        >>> kernel.values.shape, kernel.values.dtype
        (torch.Size([2, 2, 5, 5]), torch.float64)
        >>> decoder = torch.nn.TransformerDecoderLayer(4, 1, 8, batch_first=True).eval()
        >>> y, memory = torch.randn(5, 2, 4), torch.randn(5, 3, 4)
        >>> ntkflow.empirical_ntk(decoder, (y, memory)).values.shape  # of decoder(y, memory)
        torch.Size([8, 8, 5, 5])
        >>> inputs = {"tgt": y, "memory": memory, "tgt_is_causal": False}
        >>> ntkflow.empirical_ntk(decoder, inputs, outputs="mean").values.shape
        torch.Size([5, 5])
    """
    options = dict(parameters=parameters, output=output, operator=as_operator(operator))
    options |= dict(dtype=dtype, by_layer=by_layer, memory_budget=memory_budget)
    with computing(dtype):
        task, outputs = pose(network, x1, x2, outputs, **options)
        method, parts = compute(task, method)
        return _as_kernel(task, outputs, method, parts)


def pose(
    network: nn.Module | Callable,
    x1: Inputs | Several,
    x2: Inputs | Several | None,
    outputs: Outputs,
    *,
    parameters: Any,
    output: Pick,
    operator: Applied | None,
    dtype: torch.dtype | None,
    by_layer: bool,
    memory_budget: int | float | None,
    name: str = "x1",
    conventions: Iterable[str] = CONVENTIONS,
) -> tuple[Task, str | int | list[int]]:
    """What `empirical_ntk` computes for these arguments, and the outputs that were meant.

    Messages call the first inputs by `name`.
    """
    x1, x2 = as_inputs(name, x1), None if x2 is None else as_inputs("x2", x2)
    check_dtype(dtype)
    model = as_model(network, parameters, output, operator)
    x1, x2 = constant(x1), None if x2 is None else constant(x2)
    if dtype is not None:
        model, cast = model.build(partial(in_precision, dtype=dtype)), partial(in_type, dtype=dtype)
        x1, x2 = cast(x1), None if x2 is None else cast(x2)
    with nullcontext() if operator is None else KeptGraphs():
        like = _first(model, x1, name, dtype)
        alone = [(x1[:1], like)]
        if x2 is not None:
            alone.append((x2[:1], _first(model, x2, "x2", dtype)))
    if not like.shape[1]:
        raise UnsupportedLayerError("network: returns no numbers for a row; a kernel needs outputs")
    outputs = read_outputs(outputs, like.shape[1], conventions)
    selected, layout = _layout(outputs, like.shape[1])
    types = like.to(summing_type(like.dtype)), like.dtype
    budget = as_budget(memory_budget, like.device)
    task = Task(model, x1, x2, selected, layout, by_layer, *types, budget, alone=alone)
    return task, outputs


def _first(model: Model, x: Inputs, name: str, dtype: torch.dtype | None) -> Tensor:
    """Outputs of the first row; what a network raises there as an error in one line.

    Raises:
        ConfigurationError, UnsupportedLayerError: as `Model.first`, or if the network fails.
    """
    try:
        with refusing_type(dtype):
            return model.first(x, name)
    except (NtkflowError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        what = "the network" if model.operator is None else "the network, or what is made of it,"
        raise UnsupportedLayerError(
            f"{name}: {what} fails on its first row: {first_words(error)}"
        ) from error


def _layout(outputs: str | int | list[int], count: int) -> tuple[list[int], Layout]:
    """Outputs that are needed, counted from 0, and which of their pairs."""
    if isinstance(outputs, str):
        return list(range(count)), Layout("trace" if outputs == "mean" else outputs, count)
    selected = [o % count for o in ([outputs] if isinstance(outputs, int) else outputs)]
    return selected, Layout("block", len(selected))


def _as_kernel(
    task: Task, outputs: str | int | list[int], method: str, parts: dict[str, Tensor]
) -> Kernel:
    """Parts summed and in the convention that was asked for."""
    if isinstance(outputs, str):
        convention = CONVENTIONS[outputs]
    elif isinstance(outputs, int):
        convention = f"Theta[n, n'] of output o = {outputs} alone"
    else:
        convention = f"{CONVENTIONS['block']} of {outputs}"
    if outputs == "mean":
        parts = {name: part.div_(len(task.selected)) for name, part in parts.items()}
    if isinstance(outputs, int):
        parts = {name: part[0, 0] for name, part in parts.items()}
    values = sum(list(parts.values())[1:], next(iter(parts.values()))).to(task.dtype)
    check_overflow(task, values)
    parts = {name: part.to(task.dtype) for name, part in parts.items()}
    return Kernel(values, outputs, convention, method, parts if task.by_layer else None)
