"""Kernels of few features in types of few digits, against the same in float64."""

import math

import pytest
import torch

from ntkflow import TrainingDynamics


def features():
    """Of 40 training and 6 test points, three each, and targets."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((40, 3), (6, 3), (40,))
    return (torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in shapes)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("t", [3, 10**10, 10**14, math.inf])
@pytest.mark.parametrize("method", ["gradient_descent", "gradient_flow"])
def test_rounding_of_a_kernel_is_never_learned(dtype, t, method):
    """A kernel of rank 3 with 40 rows: 37 eigenvalues are rounding, half of them positive."""
    phi, phi_test, y = features()
    exact = [phi @ phi.T, phi_test @ phi.T]
    rounded = [each.to(dtype) for each in exact]
    assert (torch.linalg.eigvalsh(rounded[0].double()) > 40 * 2.3e-16 * exact[0].norm()).sum() > 9
    truth, found = (
        TrainingDynamics(gram, learning_rate=0.02, method=method) for gram in (exact[0], rounded[0])
    )
    assert (found.rates > 0).sum() == (truth.rates > 0).sum() == 3
    assert found.time_to_residual(0.1)[3:].isinf().all()
    size = 5 * torch.finfo(dtype).eps
    test, sigma = phi_test.square().sum(1), torch.eye(40, dtype=torch.float64)
    for name, arguments in {
        "mean": lambda gram, cross: (cross, y),
        "train_mean": lambda gram, cross: (y,),
        "lazy_distance": lambda gram, cross: (y,),
        "train_covariance": lambda gram, cross: (sigma,),
        "variance": lambda gram, cross: (cross, sigma, 0 * exact[1], test),
    }.items():
        # All that can be learned is learned long before 10^10 steps.
        expected = getattr(truth, name)(*arguments(*exact), t if t == 3 else math.inf)
        error = getattr(found, name)(*arguments(*rounded), t) - expected
        assert error.norm() <= size * expected.norm(), name


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_rounding_is_hardly_seen_at_any_time(dtype):
    """Worst where 2 c eta t is one over the rounding; later on it would grow without end."""
    phi, phi_test, y = features()
    gram, cross = phi @ phi.T, phi_test @ phi.T
    t = 10 ** torch.linspace(0, 20, 61, dtype=torch.float64)
    options = dict(learning_rate=0.02, method="gradient_flow")
    found = TrainingDynamics(gram.to(dtype), **options).mean(cross.to(dtype), y, t)
    expected = TrainingDynamics(gram, **options).mean(cross, y, t.clamp(max=1e6))
    assert ((found - expected).norm(dim=1) <= 0.1 * expected.norm(dim=1)).all()
