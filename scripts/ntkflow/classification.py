"""How well networks classify, and how fast their weights move."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from .ensembles import Ensemble
from .inputs import load_probe, load_targets, load_training_set
from .measurements import Member
from .storage import Array, StageFile

UNITS = {
    "train_loss": "cross-entropy",
    "test_loss": "cross-entropy",
    "train_accuracy": "share of the samples",
    "test_accuracy": "share of the samples",
    "rate": "|dL/dtheta|^2 of the cross-entropy: squared speed of the weights in gradient flow",
}


class _Samples(NamedTuple):
    x: Tensor
    labels: Tensor


def classification(entry, ensemble: Ensemble, data: StageFile) -> dict[str, Array]:
    """Cross-entropy and accuracy on training and test set, and |dL/dtheta|^2 of the former."""
    train, test = ensemble.once("samples", lambda: _load(ensemble, data))
    rows = np.array([_numbers(one, train, test) for one in ensemble.members()])
    return {
        f"classification/{name}": Array(column, ["seed"], unit)
        for (name, unit), column in zip(UNITS.items(), rows.T, strict=True)
    }


def _load(ensemble: Ensemble, data: StageFile) -> tuple[_Samples, _Samples]:
    x, y = load_training_set(data, **ensemble.where)
    probe, targets = (load(data, **ensemble.where) for load in (load_probe, load_targets))
    return _Samples(x, y.argmax(-1)), _Samples(probe, targets.argmax(-1))


def _numbers(member: Member, train: _Samples, test: _Samples) -> list[float]:
    """What `UNITS` names; NaN for a diverged network."""
    if member.diverged:
        return [np.nan] * len(UNITS)
    f, loss, rate = _descend(member, train)
    on_test = member.outputs(test.x)
    numbers = [loss, cross_entropy(on_test, test.labels)]
    numbers += [_accuracy(f, train.labels), _accuracy(on_test, test.labels), rate]
    return [float(number) for number in numbers]


@torch.enable_grad()
def _descend(member: Member, samples: _Samples) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs, loss, and the squared norm of the loss's gradient."""
    leaves = {name: p.detach().requires_grad_() for name, p in member.parameters.items()}
    f = member.with_parameters(leaves).outputs(samples.x)
    loss = cross_entropy(f, samples.labels)
    gradients = torch.autograd.grad(loss, list(leaves.values()))
    return f.detach(), loss.detach(), sum(each.double().square().sum() for each in gradients)


def _accuracy(f: Float[Tensor, "n o"], labels: Int[Tensor, " n"]) -> Tensor:
    return (f.argmax(-1) == labels).double().mean()
