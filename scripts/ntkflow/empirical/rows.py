"""Gradients of single rows by plain reverse-mode autograd."""

from collections.abc import Callable, Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import UnsupportedLayerError
from .complexes import as_real
from .inputs import Inputs
from .model import Model


def row_gradients(
    model: Model, row: Inputs, signals: Iterable[Float[Tensor, " o"]]
) -> tuple[Float[Tensor, " o"], list[dict[str, Tensor]]]:
    """Outputs of one row, and for each signal v the gradient of <v, f> by name.

    Args:
        model: network and parameters.
        row: the row, first axis 1.
        signals: one vector over the outputs per gradient.

    Raises:
        UnsupportedLayerError: if a parameter that was replaced also acts as the module's own.
    """
    leaves = {name: p.detach().requires_grad_() for name, p in model.parameters.items()}
    for name, hooks in model.hooks.items():
        for hook in hooks:
            leaves[name].register_hook(hook)

    def work(function: Callable[[Inputs], Tensor]) -> tuple:
        with torch.enable_grad():
            outputs = function(row)[0]
            gradients = [_gradient(model, leaves, outputs, signal) for signal in signals]
        return outputs.detach(), gradients

    return model.at(leaves, work)


def _gradient(
    model: Model, leaves: dict[str, Tensor], outputs: Tensor, signal: Tensor
) -> dict[str, Tensor]:
    """Of <signal, outputs>, also where the module holds a parameter in a place of its own."""
    if outputs.shape != signal.shape:
        raise UnsupportedLayerError(
            f"network: has {len(signal)} output(s) for a row of x1 and {len(outputs)} for one of "
            "x2; give output= (an index or a function that leaves as many of both)"
        )
    if not outputs.requires_grad:
        return {name: torch.zeros_like(p) for name, p in leaves.items()}
    sources = [*leaves.values(), *model.own.values()]
    found = torch.autograd.grad(outputs, sources, signal, retain_graph=True, allow_unused=True)
    gradient = dict(zip(leaves, _dense(leaves.values(), found[: len(leaves)]), strict=True))
    for (name, own), part in zip(model.own.items(), found[len(leaves) :], strict=True):
        if part is None:
            continue
        own, part = as_real(own), as_real(part)
        if not torch.equal(own, leaves[name].to(own.dtype)):
            raise UnsupportedLayerError(
                f"parameters: {name!r} cannot be replaced, the network also holds it in a plain "
                "attribute; load the value into the network"
            )
        gradient[name] = gradient[name] + _dense([own], [part])[0].to(gradient[name].dtype)
    return gradient


def _dense(tensors: Iterable[Tensor], gradients: Sequence[Tensor | None]) -> list[Tensor]:
    return [
        torch.zeros_like(p) if g is None else g.detach().to_dense()
        for p, g in zip(tensors, gradients, strict=True)
    ]
