"""How well a network classifies, and how fast its weights move."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from .inputs import load_targets, load_training_set
from .measurements import Member
from .storage import Array, StageFile


def classification(entry, member: Member, data: StageFile) -> dict[str, Array]:
    """Cross-entropy and accuracy on training and test set, and |dL/dtheta|^2 of the former."""
    x, y = load_training_set(data, **member.where)
    test = load_targets(data, **member.where).argmax(-1)
    with torch.no_grad():
        on_test = member.on_probe(data)
    loss, accuracy, rate = _descend(member, x, y.argmax(-1))
    numbers = {
        "train_loss": (loss, "cross-entropy"),
        "test_loss": (cross_entropy(on_test, test), "cross-entropy"),
        "train_accuracy": (accuracy, "share of the samples"),
        "test_accuracy": (_accuracy(on_test, test), "share of the samples"),
        "rate": (rate, "|dL/dtheta|^2, the squared speed of the weights in gradient flow"),
    }
    broken = member.diverged
    return {
        f"classification/{name}": Array(np.asarray(np.nan if broken else float(value)), [], unit)
        for name, (value, unit) in numbers.items()
    }


@torch.enable_grad()
def _descend(
    member: Member, x: Float[Tensor, "n *d"], labels: Int[Tensor, " n"]
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss, accuracy and squared norm of the loss's gradient on the training set."""
    leaves = {name: p.detach().requires_grad_() for name, p in member.parameters.items()}
    f = member.with_parameters(leaves).outputs(x)
    loss = cross_entropy(f, labels)
    gradients = torch.autograd.grad(loss, list(leaves.values()))
    rate = sum(gradient.double().square().sum() for gradient in gradients)
    return loss.detach(), _accuracy(f, labels), rate


def _accuracy(f: Float[Tensor, "n o"], labels: Int[Tensor, " n"]) -> Tensor:
    return (f.argmax(-1) == labels).double().mean()
