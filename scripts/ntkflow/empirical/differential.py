"""Differential operators of a network by its input, and what an operator is given."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree

from ..checks import check_tensors
from ..errors import ConfigurationError
from .inputs import Inputs, apply, gathered
from .model import Applied

# Makes the outputs of a function f of inputs, and inputs x in the form in which they were given.
Operator = Callable[[Callable[..., Any], Any], Any]


def as_operator(operator: Operator | None) -> Applied | None:
    """The operator as a model applies it: x takes gradients, and f is the network in that form.

    Raises:
        ConfigurationError: if it is not a function.
    """
    if operator is None:
        return None
    if not callable(operator):
        raise ConfigurationError(
            f"operator: {type(operator).__name__} is not allowed; use a function of (f, x)"
        )

    def applied(network: Callable[[Inputs], Any], x: Inputs) -> Any:
        def f(x: Any) -> Any:
            return network(gathered("operator: x of f(x)", x))

        return with_gradients(lambda x: operator(f, _as_given(x)), x)

    return applied


def _as_given(x: Inputs) -> Any:
    return x if isinstance(x, Tensor) else x.as_given()


def with_gradients(work: Callable[[Inputs], Any], x: Inputs) -> Any:
    """What `work` returns for an x whose floating-point numbers take gradients.

    They are copies, unless they take gradients already.
    """
    try:
        tracked = apply(_tracked, x)
    except RuntimeError:  # inside a transform of torch.func, which has to be at a level of its own
        return _at_own_level(work, x)
    return work(tracked)


def _tracked(tensor: Tensor) -> Tensor:
    if tensor.requires_grad or not tensor.is_floating_point():
        return tensor
    return tensor.detach().clone().requires_grad_()


def _at_own_level(work: Callable[[Inputs], Any], x: Inputs) -> Any:
    tensors, form = _pytree.tree_flatten(x)
    moving = [tensor for tensor in tensors if tensor.is_floating_point()]

    def of_moving(moving: Sequence[Tensor]) -> Any:
        following = iter(moving)
        mixed = [next(following) if t.is_floating_point() else t for t in tensors]
        return work(_pytree.tree_unflatten(mixed, form))

    return torch.func.vjp(of_moving, moving)[0]


# Functions that take derivatives, and where their argument create_graph stands.
DERIVATIVES = {torch.autograd.grad: 4, Tensor.backward: 3}


class KeptGraphs(TorchFunctionMode):
    """Refuses derivatives that an operator cannot be differentiated through."""

    def __torch_function__(
        self, func: Callable, types: Iterable[type], args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Look at every call of torch.autograd.grad and of backward."""
        named, place = kwargs or {}, DERIVATIVES.get(func)
        given = place is not None and len(args) > place and args[place]
        if place is not None and not named.get("create_graph", given):
            name = "torch.autograd.grad" if func is torch.autograd.grad else "backward"
            raise ConfigurationError(
                f"operator: {name} without create_graph=True leaves out how its result "
                "depends on the parameters; give create_graph=True"
            )
        return func(*args, **named)


@torch.enable_grad()
def gradient(f: Callable[[Tensor], Tensor], x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n ..."]:
    """Gradient of every output by the input: result[n, o] = df_o/dx at x_n.

    The result has a graph, and can be differentiated by x and by what f is made of. As the
    `operator` of `empirical_ntk` its axes after the first are flattened: output o size(x_n) + i is
    df_o/dx_i.

    Args:
        f: network; the rows of x must not interact.
        x: N inputs, rows first.

    Returns:
        (N, O, *shape), O the outputs of a row.

    Raises:
        ConfigurationError: if x is not one tensor of floating-point numbers.

    Examples:
        >>> x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> ntkflow.gradient(lambda x: x.prod(1, keepdim=True), x).tolist()
        [[[2.0, 1.0]], [[4.0, 3.0]]]
        >>> network = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh())
        >>> ntkflow.empirical_ntk(network, x, operator=ntkflow.gradient).values.shape
        torch.Size([16, 16, 2, 2])
    """
    _check_floating(x)
    return with_gradients(partial(_gradient, f), x)


def _gradient(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    return torch.stack([_slope(output, x) for output in _outputs(f, x)], dim=1)


@torch.enable_grad()
def laplacian(f: Callable[[Tensor], Tensor], x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n o"]:
    """Laplacian of every output by the input: result[n, o] = sum over i of d^2 f_o/dx_i^2 at x_n.

    Takes a backward pass for each output and each number of a row. The result has a graph, and can
    be differentiated by x and by what f is made of.

    Args:
        f: network; the rows of x must not interact.
        x: N inputs, rows first.

    Returns:
        (N, O), O the outputs of a row.

    Raises:
        ConfigurationError: if x is not one tensor of floating-point numbers.

    Examples:
        >>> x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> ntkflow.laplacian(lambda x: (x**3).sum(1, keepdim=True), x).tolist()
        [[18.0], [42.0]]
        >>> network = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh())
        >>> ntkflow.empirical_ntk(network, x, operator=ntkflow.laplacian).values.shape
        torch.Size([8, 8, 2, 2])
    """
    _check_floating(x)
    return with_gradients(partial(_laplacian, f), x)


def _laplacian(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    return torch.stack([_divergence(_slope(output, x), x) for output in _outputs(f, x)], dim=1)


def _divergence(field: Tensor, x: Tensor) -> Float[Tensor, " n"]:
    components = field.reshape(len(x), -1).unbind(1)
    slopes = [_slope(each, x).reshape(len(x), -1)[:, i] for i, each in enumerate(components)]
    return torch.stack(slopes).sum(0)


def _outputs(f: Callable[[Tensor], Tensor], x: Tensor) -> Sequence[Float[Tensor, " n"]]:
    return f(x).reshape(len(x), -1).unbind(1)


def _slope(values: Float[Tensor, " n"], x: Tensor) -> Tensor:
    """Derivative of every row's value by that row; zero if it does not depend on x."""
    if not values.requires_grad:
        return torch.zeros_like(x)
    return torch.autograd.grad(values.sum(), x, create_graph=True, materialize_grads=True)[0]


def _check_floating(x: object) -> None:
    check_tensors(x=x)
    if not x.is_floating_point():
        kind = str(x.dtype).removeprefix("torch.")
        raise ConfigurationError(f"x: {kind} has no derivatives; use floating-point numbers")
