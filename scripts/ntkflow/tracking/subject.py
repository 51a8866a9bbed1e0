"""What a tracker looks at: network, inputs, targets, and the loss's Hessian in the outputs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from ..checks import check_labels
from ..empirical.model import as_model, call_unchanged
from ..empirical.outputs import as_rows
from ..errors import ConfigurationError

LOSSES = ("mse", "cross_entropy")
Loss = str | Callable[[Tensor, Any], Tensor]


@dataclass(frozen=True)
class Subject:
    """A network on a data set, under a loss; see `Tracker` for what the fields mean."""

    network: nn.Module
    x: Shaped[Tensor, "n *shape"]
    y: Any
    loss: Loss
    parameters: Any
    memory_budget: int | float | None

    @cached_property
    def outputs(self) -> int:
        """O, the number of outputs of one row."""
        with evaluating(self.network):
            return as_model(self.network, self.parameters).first(self.x).shape[1]

    @cached_property
    def targets(self) -> Float[Tensor, "n o"] | None:
        """The targets as numbers, labels as one-hot rows; None where there are none."""
        if self.y is None:
            return None
        y = self.y.to(self.x.device)
        if not y.is_floating_point() and y.ndim == 1 and self.outputs > 1:
            check_labels("y", y, len(self.x), self.outputs)
            return torch.nn.functional.one_hot(y.long(), self.outputs).double()
        if len(y) != len(self.x) or y.numel() != len(self.x) * self.outputs:
            raise ConfigurationError(
                f"y: shape {tuple(y.shape)} is not allowed; use ({len(self.x)}, {self.outputs}), "
                "or that many labels"
            )
        return y.reshape(len(y), -1).double()

    def curvature(self) -> Float[Tensor, "n o o"]:
        """Hessian H of the loss in the outputs of each sample, in float64."""
        with torch.no_grad():
            returned = call_unchanged(self.network, {}, self.x.clone())
        f = as_rows(returned, len(self.x)).double()
        if self.loss == "mse":
            return torch.eye(f.shape[1]).to(f).mul(2 / len(f)).expand(len(f), -1, -1)
        if self.loss == "cross_entropy":
            p = f.softmax(1)
            return (torch.diag_embed(p) - p[:, :, None] * p[:, None, :]) / len(f)
        return _hessian_of(self.loss, returned, self.y)


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """The network in evaluation mode; each of its modules is put back into its own mode."""
    modes = [(layer, layer.training) for layer in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for layer, mode in modes:
            layer.training = mode


@torch.enable_grad()
def _hessian_of(loss: Callable, returned: Tensor, y: Any) -> Float[Tensor, "n o o"]:
    """Blocks of the Hessian of a loss of one's own, one backward pass an output.

    Raises:
        ConfigurationError: if the loss is no number, or samples act together.
    """
    leaf = returned.detach().requires_grad_()
    value = loss(leaf, y)
    if not isinstance(value, Tensor) or value.numel() != 1:
        what = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ConfigurationError(f"loss: returns {what}; use a function that returns one number")
    (slope,) = torch.autograd.grad(value.sum(), leaf, create_graph=True)
    if not slope.requires_grad:  # linear in the outputs
        rows = leaf.reshape(len(leaf), -1)
        return rows.new_zeros(*rows.shape, rows.shape[1], dtype=torch.float64)

    def bend(direction: Tensor) -> Tensor:
        """H v for v (N, O)."""
        along = direction.reshape(slope.shape)
        (found,) = torch.autograd.grad(
            slope, leaf, along, retain_graph=True, materialize_grads=True
        )
        return found.reshape(len(leaf), -1)

    flat = slope.detach().reshape(len(leaf), -1)
    units = torch.eye(flat.shape[1], dtype=flat.dtype, device=flat.device)
    blocks = torch.stack([bend(unit.expand_as(flat)) for unit in units], dim=1)
    signs = _signs(flat)
    apart = torch.einsum("no,nop->np", signs, blocks)
    if (bend(signs) - apart).norm() > 1e-3 * apart.norm():
        raise ConfigurationError(
            "loss: its samples act together; use a sum or a mean over samples, as "
            "torch.nn.functional.cross_entropy is"
        )
    return blocks.double()


def _signs(like: Float[Tensor, "n o"]) -> Float[Tensor, "n o"]:
    """Random signs, the same in every call."""
    generator = torch.Generator().manual_seed(0)
    return (2.0 * torch.randint(0, 2, like.shape, generator=generator) - 1).to(like)
