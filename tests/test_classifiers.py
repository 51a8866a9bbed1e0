"""Kernel machines as classifiers against twins written out."""

import math

import pytest
import torch
from torch import nn

from ntkflow import (
    ClassifierFit,
    KernelPair,
    classifier_scores,
    cross_entropy_classifiers,
    held_out_ridge_classifier,
)
from ntkflow.errors import ConfigurationError, KernelError

SAMPLES, TESTS, OUTPUTS = 9, 4, 3
LABELS = torch.arange(SAMPLES) % OUTPUTS
Y = torch.eye(OUTPUTS, dtype=torch.float64)[LABELS]


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def kernel_pair(block):
    """Positive definite kernels on training and test points; blocks (O, O) are coupled."""
    rows = OUTPUTS if block else 1
    features = draw(rows, SAMPLES + TESTS, 40)
    train, test = features[:, :SAMPLES].flatten(0, 1), features[:, SAMPLES:].flatten(0, 1)
    return KernelPair(train @ train.T, test @ train.T)


def outputs_of(kernel, c):
    """K c written out, for a shared kernel and for a block kernel."""
    if kernel.shape[1] == SAMPLES:
        return torch.stack([kernel @ row for row in c])
    return (kernel @ torch.cat(list(c))).reshape(OUTPUTS, -1)


@pytest.mark.parametrize("block", [False, True])
def test_every_start_is_trained_as_torch_trains_it(block):
    kernels = kernel_pair(block)
    starts = {
        "random": 0.1 * draw(2, OUTPUTS, SAMPLES),
        "zero": torch.zeros(1, OUTPUTS, SAMPLES, dtype=torch.float64),
    }
    fits = cross_entropy_classifiers(kernels, Y, starts, learning_rate=0.05, steps=15)
    assert list(fits) == ["random", "zero"]
    for name, start in starts.items():
        assert fits[name].updates == 15
        assert math.isnan(fits[name].ridge)
        for index, one in enumerate(start):
            c = one.clone().requires_grad_()
            optimizer = torch.optim.Adam([c], lr=0.05)
            for _ in range(15):
                optimizer.zero_grad()
                nn.functional.cross_entropy(outputs_of(kernels.gram, c).T, LABELS).backward()
                optimizer.step()
            for found, kernel in zip(fits[name][:2], kernels, strict=True):
                expected = outputs_of(kernel, c.detach())
                torch.testing.assert_close(found[index], expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("block", [False, True])
def test_ridge_machines_are_linear_systems(block):
    kernels = kernel_pair(block)
    fit = held_out_ridge_classifier(kernels, Y, [0.1, 1e3], held_out=1 / 3)
    assert fit.ridge in (0.1, 1e3)
    assert math.isnan(fit.updates)
    absolute = fit.ridge * kernels.gram.diagonal().mean()
    system = kernels.gram + absolute * torch.eye(len(kernels.gram), dtype=torch.float64)
    targets = Y.T.reshape(-1, 1) if block else Y
    weights = torch.linalg.solve(system, targets)
    for found, kernel in zip(fit[:2], kernels, strict=True):
        expected = (kernel @ weights).T.reshape(OUTPUTS, -1)
        torch.testing.assert_close(found[0], expected, rtol=1e-9, atol=1e-11)


def test_a_share_that_holds_nothing_out():
    with pytest.raises(ConfigurationError, match=r"held_out: 0.01 is not allowed for 9 samples"):
        held_out_ridge_classifier(kernel_pair(False), Y, [0.1], held_out=0.01)


def test_scores_are_means_over_fits():
    train, test = draw(2, OUTPUTS, SAMPLES), draw(2, OUTPUTS, TESTS, seed=1)
    reference, test_labels = draw(OUTPUTS, TESTS, seed=2), torch.tensor([0, 1, 2, 0])
    found = classifier_scores(ClassifierFit(train, test), LABELS, test_labels, reference)
    right = wrong = differs = 0
    for s in range(2):
        right += sum(int(train[s, :, n].argmax() == LABELS[n]) for n in range(SAMPLES))
        for n in range(TESTS):
            wrong += int(test[s, :, n].argmax() != test_labels[n])
            differs += int(test[s, :, n].argmax() != reference[:, n].argmax())
    assert 0 < differs < 2 * TESTS
    expected = (right / (2 * SAMPLES), 1 - wrong / (2 * TESTS), differs / (2 * TESTS))
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("name", ["labels", "test_labels", "reference"])
def test_what_does_not_fit_the_outputs_is_named(name):
    fit = ClassifierFit(draw(1, OUTPUTS, SAMPLES), draw(1, OUTPUTS, TESTS))
    arguments = {"labels": LABELS, "test_labels": LABELS[:TESTS], "reference": fit.test[0]}
    arguments[name] = arguments[name][..., :1]  # would be broadcast
    with pytest.raises(KernelError, match=rf"^{name}: shape .* is not allowed"):
        classifier_scores(fit, **arguments)
