import math

import pytest
import torch
from scipy.stats import spearmanr

from ntkflow import linear_losses, residual_modes
from ntkflow.errors import KernelError

SAMPLES, OUTPUTS, RATE = 8, 2, 0.1


@pytest.fixture
def kernel():
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    root = draw(SAMPLES, SAMPLES)
    gram = root @ root.T
    values, vectors = (part.flip(-1) for part in torch.linalg.eigh(gram))
    return gram, values, vectors, draw(SAMPLES, OUTPUTS)


def descend(gram, residual, steps, rate=RATE):
    """Gradient descent on (1/n) sum |f - y|^2 with a constant kernel, step by step."""
    for _ in range(steps):
        residual = residual - 2 * rate / len(gram) * gram @ residual
    return residual


@pytest.mark.parametrize("steps", [1, 7])
def test_lazy_training_leaves_what_is_expected(kernel, steps):
    gram, values, vectors, before = kernel
    after = descend(gram, before, steps)
    leading = values[:4], vectors[:, :4]
    found = residual_modes(*leading, before, after, learning_rate=RATE, steps=steps)
    torch.testing.assert_close(found.left, found.expected, rtol=1e-9, atol=0)
    by_hand = [
        sum(float(vectors[:, i] @ r[:, o]) ** 2 for o in range(OUTPUTS))
        for i in range(4)
        for r in (after, before)
    ]
    expected = [up / down for up, down in zip(by_hand[::2], by_hand[1::2], strict=True)]
    torch.testing.assert_close(found.left.tolist(), expected, rtol=1e-10, atol=0)


def test_order_is_spearmans_of_eigenvalues_and_shares_learned(kernel):
    _, values, vectors, before = kernel
    after = before.flip(0) * 0.7
    found = residual_modes(values, vectors, before, after, learning_rate=RATE, steps=3)
    expected = spearmanr(values.numpy(), -found.left.numpy()).statistic
    assert -1 < expected < 1
    assert found.order.item() == pytest.approx(expected, rel=1e-12)


def test_order_is_unknown_at_the_start_and_after_divergence(kernel):
    _, values, vectors, before = kernel
    found = residual_modes(values, vectors, before, before, learning_rate=RATE, steps=0)
    torch.testing.assert_close(found.left, torch.ones_like(found.left))
    torch.testing.assert_close(found.expected, torch.ones_like(found.left))
    assert math.isnan(found.order)
    lost = residual_modes(values, vectors, before, before * math.nan, learning_rate=RATE, steps=3)
    assert math.isnan(lost.order)
    assert not lost.expected.isnan().any()


def test_linear_losses_are_those_of_descent_step_by_step(kernel):
    gram, values, vectors, residual = kernel
    rate = 1.02 * SAMPLES / values[0].item()  # beyond stability: some factors are below -1
    found = linear_losses(values, vectors, residual, [0, 1, 5, 40], learning_rate=rate)
    for loss, steps in zip(found, [0, 1, 5, 40], strict=True):
        expected = descend(gram, residual, steps, rate).square().sum() / SAMPLES
        torch.testing.assert_close(loss, expected, rtol=1e-9, atol=0)
    one = linear_losses(values, vectors, residual, 5, learning_rate=rate)
    torch.testing.assert_close(one, found[2])


def test_permuted_eigenvectors_are_another_kernel_with_the_same_spectrum(kernel):
    _, values, vectors, residual = kernel
    order = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(1))
    other = vectors[:, order] @ values.diag() @ vectors[:, order].T
    found = linear_losses(values, vectors[:, order], residual, [0, 9], learning_rate=RATE)
    expected = [descend(other, residual, t).square().sum() / SAMPLES for t in (0, 9)]
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-9, atol=0)
    plain = linear_losses(values, vectors, residual, [0, 9], learning_rate=RATE)
    torch.testing.assert_close(found[0], plain[0])
    assert abs(found[1] / plain[1] - 1) > 1e-3


def test_arrays_that_do_not_fit_are_named(kernel, unchecked_types):
    _, values, vectors, residual = kernel
    with pytest.raises(KernelError, match=r"^after: shape \(8, 1\) .* use \(8, 2\)$"):
        residual_modes(values, vectors, residual, residual[:, :1], learning_rate=RATE, steps=1)
    with pytest.raises(KernelError, match=r"^eigenvalues: shape \(7,\) .* use \(8,\)$"):
        residual_modes(values[1:], vectors, residual, residual, learning_rate=RATE, steps=1)
    with pytest.raises(KernelError, match=r"^eigenvectors: shape \(8, 3\) .* use \(8, 8\)$"):
        linear_losses(values[:3], vectors[:, :3], residual, 1, learning_rate=RATE)
    with pytest.raises(KernelError, match=r"^residual: shape \(7, 2\) .* use \(8, any\)$"):
        linear_losses(values, vectors, residual[1:], 1, learning_rate=RATE)
