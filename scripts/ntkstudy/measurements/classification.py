"""How well networks classify, and how fast their weights move."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call, vmap

from ntkflow.networks import evaluated, has_modes, member
from ntkflow.networks.output_scale import scale_output

from ..data.inputs import load_probe, load_targets, load_training_set
from ..data.storage import Array, StageFile
from .members import Ensemble

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
    """Cross-entropy and accuracy on training and test set, and |dL/dtheta|^2 of the former.

    Of networks as they are evaluated (`evaluated`): without dropout, and with the statistics of
    batch normalisation frozen at their values on the training set, in the derivative too.
    """
    train, test = ensemble.once("samples", lambda: _load(ensemble, data))
    on_train, loss, rate = _descend(ensemble, train)
    on_test = _outputs(ensemble, ensemble.parameters, test.x, train.x)
    numbers = [loss, cross_entropies(on_test, test.labels)]
    numbers += [_accuracies(on_train, train.labels), _accuracies(on_test, test.labels), rate]
    sound = on_train.isfinite().all(-1).all(-1)
    return {
        f"classification/{name}": Array(
            values.double().where(sound, torch.nan).cpu().numpy(), ["seed"], unit
        )
        for (name, unit), values in zip(UNITS.items(), numbers, strict=True)
    }


def cross_entropies(f: Float[Tensor, "s n o"], labels: Int[Tensor, " n"]) -> Float[Tensor, " s"]:
    """Mean over samples of -log softmax(f) at the label, for every network."""
    right = f[:, torch.arange(len(labels), device=f.device), labels]
    return (f.logsumexp(-1) - right).mean(-1)


def _load(ensemble: Ensemble, data: StageFile) -> tuple[_Samples, _Samples]:
    x, y = load_training_set(data, **ensemble.where)
    probe, targets = (load(data, **ensemble.where) for load in (load_probe, load_targets))
    return _Samples(x, y.argmax(-1)), _Samples(probe, targets.argmax(-1))


def _outputs(
    ensemble: Ensemble, parameters: dict[str, Tensor], x: Tensor, train_x: Tensor
) -> Tensor:
    """Outputs (S, N, O) of f = alpha h, or alpha (h - h0) if training is centred."""
    h, initial = _run(ensemble.network, parameters, x, train_x), None
    if ensemble.training.get("centred"):
        initial = _run(ensemble.network, ensemble.start, x, train_x)
    return scale_output(h, ensemble.training.get("output_scale", 1.0), initial)


def _run(network: nn.Module, parameters: dict[str, Tensor], x: Tensor, train_x: Tensor) -> Tensor:
    """Outputs (S, N, O) of h."""
    count = len(next(iter(parameters.values())))
    if has_modes(network):
        each = [member(parameters, index) for index in range(count)]
        return torch.stack(
            [functional_call(evaluated(network, one, train_x), one, (x,)) for one in each]
        )
    # An input for each seed: products over all seeds would round differently with their number.
    x = x.expand(count, *x.shape)
    return vmap(lambda p, x: functional_call(network, p, (x,)))(parameters, x)


@torch.enable_grad()
def _descend(ensemble: Ensemble, samples: _Samples) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs, losses, and the squared norms of the losses' gradients."""
    leaves = {name: p.detach().clone().requires_grad_() for name, p in ensemble.parameters.items()}
    f = _outputs(ensemble, leaves, samples.x, samples.x)
    losses = cross_entropies(f, samples.labels)
    gradients = torch.autograd.grad(losses.sum(), list(leaves.values()))
    squares = [gradient.double().square().flatten(1).sum(1) for gradient in gradients]
    return f.detach(), losses.detach(), torch.stack(squares).sum(0)


def _accuracies(f: Float[Tensor, "s n o"], labels: Int[Tensor, " n"]) -> Float[Tensor, " s"]:
    return (f.argmax(-1) == labels).double().mean(-1)
