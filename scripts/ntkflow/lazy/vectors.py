"""The outputs of a network on a data set as one vector, a function of its weights as one vector."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..checks import check_tensors
from ..empirical.model import as_model


def as_vectors(
    network: nn.Module | Callable, x: Tensor, parameters: Any = None
) -> tuple[Callable[[Tensor], Tensor], Float[Tensor, " p"]]:
    """The function theta (P,) -> outputs (N O,), row by row, and the weights theta.

    Args:
        network: a module in evaluation mode, or a function of (parameters, x).
        x: N inputs.
        parameters: as in `ntkflow.empirical_ntk`.

    Raises:
        ConfigurationError: if x is no tensor.
    """
    check_tensors(x=x)
    model = as_model(network, parameters)
    shapes = {name: p.shape for name, p in model.parameters.items()}

    def outputs(theta: Tensor) -> Tensor:
        parts = theta.split([shape.numel() for shape in shapes.values()])
        named = {
            name: part.view(shape)
            for (name, shape), part in zip(shapes.items(), parts, strict=True)
        }
        return model(named, x).reshape(-1)

    return outputs, torch.cat([p.reshape(-1) for p in model.parameters.values()])


def pull_back(
    outputs: Callable[[Tensor], Tensor], theta: Tensor
) -> Callable[[Float[Tensor, " no"]], Float[Tensor, " p"]]:
    """The map c -> J' c at the weights theta.

    As `torch.func.vjp`, which loads torch's compiler at its first call, for seconds; so does `jvp`.
    """
    with torch.enable_grad():
        leaf = theta.detach().requires_grad_()
        values = outputs(leaf)
    return lambda c: torch.autograd.grad(values, leaf, c, retain_graph=True)[0]


def push_forward(
    outputs: Callable[[Tensor], Tensor], theta: Tensor
) -> Callable[[Float[Tensor, " p"]], Float[Tensor, " no"]]:
    """The map v -> J v at the weights theta: the derivative of c -> J' c along v."""
    _, c, pulled = _pulled(outputs, theta)
    return lambda v: torch.autograd.grad(pulled, c, v, retain_graph=True)[0]


def second_derivative(
    outputs: Callable[[Tensor], Tensor],
    theta: Tensor,
    u: Float[Tensor, " p"],
    v: Float[Tensor, " p"],
) -> Float[Tensor, " no"]:
    """D^2 f(u, v) at the weights theta, one number an output."""
    leaf, c, pulled = _pulled(outputs, theta)
    (bent,) = torch.autograd.grad(pulled, leaf, u, create_graph=True, materialize_grads=True)
    if not bent.requires_grad:  # outputs linear in the weights
        return torch.zeros_like(c)
    return torch.autograd.grad(bent, c, v, materialize_grads=True)[0]


def _pulled(outputs: Callable[[Tensor], Tensor], theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, c (zero) and J' c as a differentiable function of both, linear in c."""
    with torch.enable_grad():
        leaf = theta.detach().requires_grad_()
        values = outputs(leaf)
        c = torch.zeros_like(values, requires_grad=True)
        (pulled,) = torch.autograd.grad(values, leaf, c, create_graph=True)
    return leaf, c, pulled
