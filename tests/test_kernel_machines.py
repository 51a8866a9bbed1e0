import pytest
import torch
from torch import nn

from ntkflow.errors import ConfigurationError
from ntkflow.regression.kernel_machines import (
    accuracy,
    choose_ridge,
    evaluate,
    fit_cross_entropy,
    flatten_targets,
    folded_ridge,
    ridge_classifier,
)

SAMPLES, OUTPUTS = 6, 3


def positive(size: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(size, size, generator=generator, dtype=torch.float64)
    return root @ root.T + torch.eye(size, dtype=torch.float64)


def one_hot() -> torch.Tensor:
    return torch.eye(OUTPUTS, dtype=torch.float64)[torch.arange(SAMPLES) % OUTPUTS]


def test_block_and_shared_kernels_agree_where_the_blocks_are_equal():
    shared = positive(SAMPLES)
    block = torch.kron(torch.eye(OUTPUTS, dtype=torch.float64), shared)
    c = torch.randn(2, OUTPUTS, SAMPLES, dtype=torch.float64)
    torch.testing.assert_close(evaluate(block, c), evaluate(shared, c), rtol=1e-12, atol=0)
    by_hand = torch.stack([c[1, o] @ shared.T for o in range(OUTPUTS)])
    torch.testing.assert_close(evaluate(shared, c)[1], by_hand)
    y = one_hot()
    found = [ridge_classifier(k, k, y, ridge=0.1) for k in (shared, block)]
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-12)
    weights = torch.linalg.solve(
        shared + 0.1 * shared.diagonal().mean() * torch.eye(SAMPLES, dtype=torch.float64), y
    )
    torch.testing.assert_close(found[0], (shared @ weights).T, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("size", [SAMPLES, SAMPLES * OUTPUTS])
def test_cross_entropy_is_fitted_as_torch_does(size):
    gram, y = positive(size), one_hot()
    start = torch.randn(2, OUTPUTS, SAMPLES, dtype=torch.float64)
    fit = fit_cross_entropy(gram, y, start, learning_rate=0.05, steps=20)
    c = start[1].clone().requires_grad_()
    optimizer = torch.optim.Adam([c], lr=0.05)
    for _ in range(20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(evaluate(gram, c).T, y.argmax(1)).backward()
        optimizer.step()
    torch.testing.assert_close(fit.coefficients[1], c.detach(), rtol=1e-10, atol=1e-12)
    assert fit.updates == 20


def test_fitting_stops_at_the_tolerance():
    options = {"learning_rate": 0.1, "steps": 5000}
    start = torch.zeros(1, OUTPUTS, SAMPLES)
    fit = fit_cross_entropy(positive(SAMPLES), one_hot(), start, tolerance=1e-3, **options)
    assert 10 < fit.updates < 5000
    outputs = evaluate(positive(SAMPLES), fit.coefficients[0])
    assert nn.functional.cross_entropy(outputs.T, one_hot().argmax(1)) < 1e-3


@pytest.mark.parametrize("block", [False, True])
def test_the_ridge_is_the_one_that_held_out_points_prefer(block):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(60, 2, generator=generator, dtype=torch.float64)
    labels = (x[:, 0] > 0).long()
    flipped = torch.rand(60, generator=generator) < 0.25
    flipped[40:] = False  # the points that judge are clean
    y = torch.eye(2, dtype=torch.float64)[torch.where(flipped, 1 - labels, labels)]
    gram = torch.exp(-torch.cdist(x, x).square()) + 1e-6 * torch.eye(60, dtype=torch.float64)
    kernel = torch.kron(torch.eye(2, dtype=torch.float64), gram) if block else gram
    ridges = [1e-6, 1e-2, 1.0]
    chosen = choose_ridge(kernel, y, ridges, held_out=1 / 3)
    inner, cross = gram[:40, :40], gram[40:, :40]
    scores = [
        accuracy(ridge_classifier(inner, cross, y[:40], ridge=r), labels[40:]) for r in ridges
    ]
    assert scores[ridges.index(chosen)] == max(scores) > scores[0]


def test_a_share_that_holds_nothing_out():
    with pytest.raises(ConfigurationError, match=r"held_out: 0.01 is not allowed for 6 samples"):
        choose_ridge(positive(SAMPLES), one_hot(), [0.1], held_out=0.01)


def test_targets_follow_the_layout_of_the_kernel():
    y = one_hot()
    assert flatten_targets(positive(SAMPLES), y) is y
    assert flatten_targets(positive(SAMPLES * OUTPUTS), y)[SAMPLES].item() == y[0, 1].item()


def test_shapes_on_the_meta_device():
    c = torch.empty(2, OUTPUTS, SAMPLES, device="meta")
    block = torch.empty(4 * OUTPUTS, SAMPLES * OUTPUTS, device="meta")
    assert evaluate(block, c).shape == (2, OUTPUTS, 4)


def test_folds_choose_the_ridge_that_reads_most_points_right():
    g = torch.Generator().manual_seed(4)
    x = torch.randn(14, 3, generator=g, dtype=torch.float64)
    y = torch.eye(2, dtype=torch.float64)[(x[:, 0] + 0.7 * torch.randn(14, generator=g) > 0).long()]
    gram, ridges = torch.exp(-torch.cdist(x, x)), [1e-6, 0.1, 3.0, 100.0]
    scores = {}
    for ridge in ridges:
        right = 0
        for point in range(14):
            part = [i for i in range(14) if i % 4 != point % 4]
            matrix = gram[part][:, part] + ridge * torch.eye(len(part), dtype=torch.float64)
            f = gram[point, part] @ torch.linalg.solve(matrix, y[part])
            right += int(f.argmax() == y[point].argmax())
        scores[ridge] = right
    assert len(set(scores.values())) > 1
    best = max(ridge for ridge in ridges if scores[ridge] == max(scores.values()))
    assert folded_ridge(gram, y, ridges, folds=4) == best
