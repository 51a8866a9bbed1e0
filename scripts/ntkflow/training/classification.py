"""How well an ensemble classifies, and how fast its weights move under the cross-entropy."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from ..checks import check_labels
from ..networks import ensemble_outputs


class CrossEntropyDescent(NamedTuple):
    """Where S networks stand on their way down the cross-entropy.

    Attributes:
        outputs: f on the training set, (S, N, O).
        losses: mean cross-entropy L of every network, (S,).
        rates: |dL/dtheta|^2, (S,), float64: squared speed of the weights in gradient flow, and the
            speed at which L falls.

    Examples:
        >>> network, x = torch.nn.Linear(1, 2, bias=False), torch.ones(1, 1)
        >>> start = ntkflow.draw_parameters(network, seeds=range(3))
        >>> found = ntkflow.cross_entropy_descent(network, start, x, torch.tensor([0]))
        >>> found.outputs.shape, found.losses.shape, found.rates.dtype
        (torch.Size([3, 1, 2]), torch.Size([3]), torch.float64)
    """

    outputs: Tensor
    losses: Tensor
    rates: Tensor


@torch.enable_grad()
def cross_entropy_descent(
    network: nn.Module,
    parameters: dict[str, Tensor],
    x: Shaped[Tensor, "n *d"],
    labels: Int[Tensor, " n"],
    *,
    output_scale: float = 1.0,
    start: dict[str, Tensor] | None = None,
) -> CrossEntropyDescent:
    """Outputs, cross-entropies and squared gradients of every network of an ensemble.

    L = (1/N) sum_i -log softmax(f(x_i))_(label i), not divided by alpha^2, of networks as they are
    evaluated (`ntkflow.evaluated`): without dropout, and with batch statistics frozen at their
    values on x, in the derivative too.

    Args:
        network: maps (N, *d) to (N, O).
        parameters: name to tensor (S, *shape).
        x: the training set.
        labels: classes, 0 to O - 1.
        output_scale: alpha of f = alpha h.
        start: parameters of h_0, of the centred f = alpha (h - h_0).

    Raises:
        KernelError: if there is not one label for each input.
        ConfigurationError: if a label is no class.

    Examples:
        >>> network, x = torch.nn.Linear(1, 2, bias=False), torch.ones(1, 1)
        >>> zero = {"weight": torch.zeros(1, 2, 1)}
        >>> found = ntkflow.cross_entropy_descent(network, zero, x, torch.tensor([0]))
        >>> round(found.losses.item(), 4), found.rates.item()  # log 2, 2 (1/2)^2
        (0.6931, 0.5)
    """
    leaves = {name: p.detach().clone().requires_grad_() for name, p in parameters.items()}
    f = ensemble_outputs(network, leaves, x, output_scale=output_scale, start=start)
    losses = cross_entropies(f, labels)
    gradients = torch.autograd.grad(losses.sum(), list(leaves.values()))
    squares = [part.double().square().reshape(len(part), -1).sum(1) for part in gradients]
    return CrossEntropyDescent(f.detach(), losses.detach(), torch.stack(squares).sum(0))


def cross_entropies(f: Float[Tensor, "s n o"], labels: Int[Tensor, " n"]) -> Float[Tensor, " s"]:
    """Mean over samples of -log softmax(f) at the label, for every network.

    Natural logarithm, without forming the softmax.

    Args:
        f: outputs.
        labels: classes, 0 to O - 1.

    Raises:
        KernelError: if there is not one label for each sample.
        ConfigurationError: if a label is no class.

    Examples:
        >>> round(ntkflow.cross_entropies(torch.zeros(1, 5, 2), torch.ones(5).long()).item(), 4)
        0.6931
    """
    check_labels("labels", labels, *f.shape[1:])
    right = f[:, torch.arange(len(labels), device=f.device), labels]
    return (f.logsumexp(-1) - right).mean(-1)


def accuracies(f: Float[Tensor, "s n o"], labels: Int[Tensor, " n"]) -> Float[Tensor, " s"]:
    """Share of the samples whose largest output is that of their label, for every network."""
    check_labels("labels", labels, *f.shape[1:])
    return (f.argmax(-1) == labels).double().mean(-1)
