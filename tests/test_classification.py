"""Outputs, cross-entropies and gradients of ensembles, network by network."""

import math

import pytest
import torch
from torch import nn
from torch.func import functional_call

from ntkflow import cross_entropies, cross_entropy_descent, ensemble_outputs
from ntkflow.errors import ConfigurationError, KernelError
from ntkflow.networks import draw_parameters, member, mlp
from ntkflow.training.classification import accuracies

SAMPLES, TESTS, OUTPUTS = 9, 4, 3
LABELS = torch.arange(SAMPLES) % OUTPUTS


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def ensemble(**changes):
    network = mlp(5, (6,), OUTPUTS, **changes)
    now, start = (draw_parameters(network, s, dtype=torch.float64) for s in ([0, 1], [2, 3]))
    return network, now, start


@pytest.mark.parametrize("centred", [False, True])
def test_descent_of_every_network(centred):
    network, now, start = ensemble()
    x = draw(SAMPLES, 5)
    options = dict(output_scale=3.0, start=start if centred else None)
    with torch.no_grad():
        found = cross_entropy_descent(network, now, x, LABELS, **options)
    for s in range(2):
        p = {name: each.clone().requires_grad_() for name, each in member(now, s).items()}
        f = 3 * functional_call(network, p, (x,))
        if centred:
            f = f - 3 * functional_call(network, member(start, s), (x,))
        loss = nn.functional.cross_entropy(f, LABELS)
        rate = sum(g.square().sum() for g in torch.autograd.grad(loss, list(p.values())))
        torch.testing.assert_close(found.outputs[s], f.detach(), rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(found.losses[s], loss.detach(), rtol=1e-10, atol=0)
        torch.testing.assert_close(found.rates[s], rate, rtol=1e-10, atol=0)
    assert not any(part.requires_grad for part in found)


def normalised(p, x, train_x, *, detach=True):
    """Batch normalisation with the statistics of the training set, by hand."""
    h, train = (inputs @ p["0.weight"].T / 5**0.5 for inputs in (x, train_x))
    train = train.detach() if detach else train
    h = (h - train.mean(0)) / (train.var(0, correction=0) + 1e-5).sqrt()
    return torch.relu(h) @ p["4.weight"].T / 6**0.5


def test_statistics_are_those_of_the_training_set_and_frozen():
    network, now, _ = ensemble(normalization="batch", dropout=0.3)
    x, test_x = draw(SAMPLES, 5), draw(TESTS, 5, seed=1)
    found = cross_entropy_descent(network, now, x, LABELS)
    on_test = ensemble_outputs(network, now, test_x, train_x=x)
    for s in range(2):
        p = {name: each.clone().requires_grad_() for name, each in member(now, s).items()}
        f = normalised(p, test_x, x).detach()
        torch.testing.assert_close(on_test[s], f, rtol=1e-10, atol=1e-12)
        rates = []
        for detach in (True, False):
            loss = nn.functional.cross_entropy(normalised(p, x, x, detach=detach), LABELS)
            gradients = torch.autograd.grad(loss, list(p.values()))
            rates.append(sum(float(g.square().sum()) for g in gradients))
        assert found.rates[s].item() == pytest.approx(rates[0], rel=1e-10)
        assert abs(rates[1] / rates[0] - 1) > 0.01


@pytest.mark.usefixtures("one_thread")
def test_outputs_do_not_depend_on_the_neighbours():
    network, now, start = ensemble()
    x = draw(SAMPLES, 5)
    both = ensemble_outputs(network, now, x, start=start)
    assert both.shape == (2, SAMPLES, OUTPUTS)
    twice = {name: torch.cat([p, p]) for name, p in now.items()}
    again = {name: torch.cat([p, p]) for name, p in start.items()}
    assert (ensemble_outputs(network, twice, x, start=again)[2:] == both).all()


def test_cross_entropies_and_accuracies_sample_by_sample():
    f = 5 * draw(2, SAMPLES, OUTPUTS)
    for s in range(2):
        rows = [
            -math.log(math.exp(f[s, n, LABELS[n]]) / math.fsum(map(math.exp, f[s, n].tolist())))
            for n in range(SAMPLES)
        ]
        right = [int(f[s, n].argmax() == LABELS[n]) for n in range(SAMPLES)]
        assert cross_entropies(f, LABELS)[s].item() == pytest.approx(sum(rows) / SAMPLES, rel=1e-10)
        assert accuracies(f, LABELS)[s].item() == pytest.approx(sum(right) / SAMPLES, rel=1e-12)
    sure = torch.tensor([[[1000.0, 0.0]]])  # softmax underflows
    assert cross_entropies(sure, torch.tensor([1])).tolist() == [1000.0]


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("function", [cross_entropies, accuracies])
def test_labels_of_another_number_are_named(function):
    with pytest.raises(KernelError, match=r"^labels: shape \(1,\) .* use \(9,\)$"):
        function(draw(2, SAMPLES, OUTPUTS), LABELS[:1])  # would be broadcast


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        ([0, -1], "labels: -1 is not allowed; use 0 ... 1"),
        ([0, 2], "labels: 2 is not allowed; use 0 ... 1"),
        ([0.0, 1.0], "labels: type torch.float32 is not allowed; use whole numbers"),
    ],
)
def test_labels_are_classes(labels, problem, unchecked_types):
    with pytest.raises(ConfigurationError, match=problem):
        cross_entropies(torch.zeros(1, 2, 2), torch.tensor(labels))
