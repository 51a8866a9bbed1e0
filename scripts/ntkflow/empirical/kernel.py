"""Empirical neural tangent kernel of any network, by three methods and in five conventions."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from jaxtyping import Shaped
from torch import Tensor, nn

from ..checks import check_tensors
from ..errors import ConfigurationError
from .factors import Layout
from .jacobian import jacobian_kernel
from .layerwise import layerwise_kernel, plan_layerwise
from .model import as_model
from .task import Task
from .vector_product import vector_product_kernel

METHODS = {
    "jacobian": jacobian_kernel,
    "vector_product": vector_product_kernel,
    "layerwise": layerwise_kernel,
}
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
        outputs: the convention as it was asked for.
        convention: the same as a formula; never divided by the number of inputs.
        method: how it was computed.
        by_parameter: with `by_layer=True`, one kernel per parameter; they sum to `values`.
    """

    values: Tensor
    outputs: str | int
    convention: str
    method: str
    by_parameter: dict[str, Tensor] | None = None


def empirical_ntk(
    network: nn.Module | Callable,
    x1: Shaped[Tensor, "n1 *shape"],
    x2: Shaped[Tensor, "n2 *shape"] | None = None,
    *,
    parameters: Any = None,
    outputs: str | int = "block",
    method: str = "auto",
    by_layer: bool = False,
    memory_budget: int = 2**30,
) -> Kernel:
    """Empirical neural tangent kernel Theta = J(x1) J(x2)^T of a network at its parameters.

    Theta[o, o', n, n'] = <df_o(x1_n)/dtheta, df_o'(x2_n')/dtheta>, neither averaged nor summed
    over outputs, not divided by the number of inputs. Source: Jacot, Gabriel, Hongler 2018
    (arXiv:1806.07572), section 4.

    Rows must not interact and the first axis of the output must be that of the rows; further axes
    of the output are flattened into O. The network stays as it is, buffers included.

    Args:
        network: module in evaluation mode, or function of (parameters, x).
        x1: inputs, rows first.
        x2: other inputs; default: x1, of which only half the kernel is computed.
        parameters: of a module: name to tensor, by default those that require a gradient (the
            others are held fixed); of a function: any pytree of tensors.
        outputs: "block" (O, O, N1, N2); "diagonal" (O, N1, N2), equal outputs; "trace" (N1, N2),
            their sum; "mean" (N1, N2), their mean; an int (N1, N2), that output alone.
        method: "jacobian" forms the rows of the Jacobian; "vector_product" never does, and is
            meant for few rows x1 (a profile against one anchor) or few x2; "layerwise" goes
            through the activations of dense and convolutional layers, and the Jacobian of other
            parameters; "auto" is "layerwise" for a module with most of its parameters in such
            layers, else "vector_product" if one side has one row, else "jacobian".
        by_layer: also return one kernel per parameter.
        memory_budget: bytes to use beside the result and the network, as nearly as can be
            foreseen; sets how many rows are handled at once. At least one row always is.

    Returns:
        `Kernel` with the values on the device and in the type of the network's outputs.

    Raises:
        ConfigurationError: if an option or the parameters are not allowed.
        UnsupportedLayerError: if batch or spectral normalisation or dropout is in training mode, an
            embedding has a max_norm, or the network draws random numbers.

    Example:
        >>> network, x = ntkflow.mlp(3, [64], 2), torch.randn(5, 3)
        >>> ntkflow.empirical_ntk(network, x).values.shape
        torch.Size([2, 2, 5, 5])
        >>> ntkflow.empirical_ntk(network, x[:1], x, outputs="mean").values.shape
        torch.Size([1, 5])
    """
    check_tensors(x1=x1, x2=x2)
    model = as_model(network, parameters)
    if len(x1) == 0 or (x2 is not None and len(x2) == 0):
        raise ConfigurationError("x1, x2: no rows; give at least one input")
    like = model.first(x1)
    selected, layout = _read_outputs(outputs, like.shape[1])
    other = None if x2 is None else x2.detach()
    task = Task(model, x1.detach(), other, selected, layout, by_layer, like, memory_budget)
    method, compute = _choose_method(method, task)
    parts = compute(task)
    if outputs == "mean":
        parts = {name: part.div_(len(selected)) for name, part in parts.items()}
    if isinstance(outputs, int):
        parts = {name: part[0, 0] for name, part in parts.items()}
    values = sum(list(parts.values())[1:], next(iter(parts.values())))
    convention = CONVENTIONS.get(outputs, f"Theta[n, n'] of output o = {outputs} alone")
    return Kernel(values, outputs, convention, method, parts if by_layer else None)


def _read_outputs(outputs: str | int, count: int) -> tuple[list[int], Layout]:
    """Outputs that are needed, and which of their pairs."""
    if isinstance(outputs, int) and -count <= outputs < count:
        return [outputs % count], Layout("block", 1)
    if outputs not in CONVENTIONS:
        allowed = ", ".join(map(repr, CONVENTIONS))
        raise ConfigurationError(
            f"outputs: {outputs!r} is not allowed; use {allowed} or an output below {count}"
        )
    return list(range(count)), Layout("trace" if outputs == "mean" else outputs, count)


def _choose_method(method: str, task: Task) -> tuple[str, Callable[[Task], dict[str, Tensor]]]:
    """Name of the method and the function that computes with it."""
    if method not in ("auto", *METHODS):
        allowed = ", ".join(map(repr, ("auto", *METHODS)))
        raise ConfigurationError(f"method: {method!r} is not allowed; use {allowed}")
    if method == "auto" and task.model.module is not None:
        plan = plan_layerwise(task)
        if 2 * sum(task.model.parameters[name].numel() for name in plan.rest) < task.model.size:
            return "layerwise", partial(layerwise_kernel, plan=plan)
    if method == "auto":
        method = "vector_product" if 1 in (len(task.x1), len(task.other)) else "jacobian"
    return method, METHODS[method]
