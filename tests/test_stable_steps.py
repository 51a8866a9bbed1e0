import numpy as np
import pytest
import torch
from torch.func import functional_call, hessian

from ntkflow import block_matrix, empirical_ntk, gauss_newton_sharpness, loss_growth
from ntkflow.dynamics.stable_steps import LARGEST_GROWTH, softmax_weighted
from ntkflow.errors import KernelError
from ntkflow.networks import draw_parameters, member, mlp
from ntkflow.training.losses import LOSSES

SAMPLES, OUTPUTS = 6, 3


@pytest.fixture
def task():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(SAMPLES, 4, generator=generator, dtype=torch.float64)
    return x, torch.eye(OUTPUTS, dtype=torch.float64)[torch.arange(SAMPLES) % OUTPUTS]


def linear(x):
    """Outputs that are linear in the weights, so that the Gauss-Newton part is the Hessian."""
    return lambda theta: x @ theta.reshape(x.shape[1], OUTPUTS)


def block_of(x):
    return torch.einsum("nm,op->opnm", x @ x.T, torch.eye(OUTPUTS, dtype=x.dtype))


def naive_loss(f, y, loss):
    if loss == "mse":
        return (f - y).square().sum() / len(y)
    return -(y * f.log_softmax(1)).sum() / len(y)


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_sharpness_is_the_hessians_largest_eigenvalue(task, loss):
    x, y = task
    theta = torch.linspace(-1, 1, 12, dtype=torch.float64)
    matrix = hessian(lambda theta: naive_loss(linear(x)(theta), y, loss))(theta)
    p = linear(x)(theta).softmax(1) if loss == "cross_entropy" else None
    expected = torch.linalg.eigvalsh(matrix)[-1].item()
    assert gauss_newton_sharpness(block_of(x), p) == pytest.approx(expected, rel=1e-12)


def test_softmax_weighted_kernel_has_the_eigenvalues_of_the_gauss_newton_matrix(task):
    x, _ = task
    network = mlp(4, (5,), OUTPUTS, dtype=torch.float64)
    p = member(draw_parameters(network, [0]), 0)
    jacobians = torch.func.jacrev(lambda p: functional_call(network, p, (x,)))(p)
    jacobian = torch.cat([each.flatten(2) for each in jacobians.values()], dim=2)
    softmax = functional_call(network, p, (x,)).softmax(-1)
    gauss_newton = sum(
        j.T @ (one.diag() - one[:, None] * one) @ j
        for one, j in zip(softmax, jacobian, strict=True)
    )
    found = softmax_weighted(empirical_ntk(network, x, parameters=p).values, softmax)
    found, expected = torch.linalg.eigvalsh(found), torch.linalg.eigvalsh(gauss_newton)
    torch.testing.assert_close(found[-5:], expected[-5:], rtol=1e-10, atol=1e-12)
    # Rows n O + o: the first O of them are the first sample's.
    one = softmax_weighted(empirical_ntk(network, x[:1], parameters=p).values, softmax[:1])
    every = softmax_weighted(empirical_ntk(network, x, parameters=p).values, softmax)
    torch.testing.assert_close(every[:OUTPUTS, :OUTPUTS], one)


def test_kernels_and_probabilities_that_do_not_fit(task, unchecked_types):
    block = block_of(task[0])
    with pytest.raises(KernelError, match=r"^kernel: \(6, 6\) is not allowed"):
        gauss_newton_sharpness(block[0, 0])
    with pytest.raises(KernelError, match=r"^kernel: shape \(18, 15\) is not allowed"):
        gauss_newton_sharpness(block[..., :5])
    with pytest.raises(KernelError, match=r"^probabilities: shape .* use \(6, 3\)$"):
        gauss_newton_sharpness(block, block[0, :1, :, 0].T)


def naive_growth(network, p, x, y, *, learning_rate, steps, loss, output_scale, centred):
    """Descent written out, one network; the least loss by looking at the targets."""
    initial = functional_call(network, p, (x,)).detach()
    least = 0.0
    if loss == "cross_entropy":
        least = sum(-v * np.log(v) for row in y.tolist() for v in row if v > 0) / len(y)
    losses = []
    for _ in range(steps + 1):
        p = {name: each.detach().requires_grad_() for name, each in p.items()}
        h = functional_call(network, p, (x,))
        f = output_scale * (h - initial if centred else h)
        value = naive_loss(f, y, loss) / output_scale**2
        losses.append(value.item() - least / output_scale**2)
        gradients = torch.autograd.grad(value, list(p.values()))
        p = {n: q - learning_rate * g for (n, q), g in zip(p.items(), gradients, strict=True)}
    return max(losses) / losses[0]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("lazy", [(1.0, False), (30.0, True)])
@pytest.mark.parametrize("soft", [False, True])
def test_growth_is_that_of_descent_written_out(task, loss, lazy, soft):
    x, y = task
    y = 0.9 / OUTPUTS + 0.1 * y if soft else y
    network = mlp(4, (5,), OUTPUTS, dtype=torch.float64)
    start = draw_parameters(network, [0, 1])
    block = empirical_ntk(network, x, parameters=member(start, 0)).values
    p = torch.full_like(y, 1 / OUTPUTS) if loss == "cross_entropy" else None
    step = 2.6 / gauss_newton_sharpness(block, p)
    options = dict(learning_rate=step, steps=8, loss=loss, output_scale=lazy[0], centred=lazy[1])
    found = loss_growth(network, start, x, y, **options)
    for seed in range(2):
        expected = naive_growth(network, member(start, seed), x, y, **options)
        assert found[seed].item() == pytest.approx(expected, rel=1e-8)
    assert (found >= 1).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_grows_above_the_largest_stable_step_only(task, loss):
    x, y = task
    y = 0.99 / OUTPUTS + 0.01 * y  # the loss is least near f = 0, where its Hessian is taken
    network = mlp(4, (50,), OUTPUTS, dtype=torch.float64)
    start = draw_parameters(network, [0])
    block = empirical_ntk(network, x, parameters=member(start, 0)).values
    p = torch.full_like(y, 1 / OUTPUTS) if loss == "cross_entropy" else None
    step = 2 / gauss_newton_sharpness(block, p)
    below, above = (
        loss_growth(
            network, start, x, y, learning_rate=factor * step, steps=100, loss=loss,
            output_scale=1e4, centred=True,
        ).item()
        for factor in (0.98, 1.1)
    )  # fmt: skip
    assert below == 1
    assert above > 1


def test_divergence_counts_as_the_largest_growth(task):
    x, y = task
    network = mlp(4, (5,), OUTPUTS, dtype=torch.float64)
    start = draw_parameters(network, [0])
    growth = loss_growth(network, start, x, y, learning_rate=1e9, steps=20)
    assert growth.tolist() == [LARGEST_GROWTH]


def test_squared_loss_is_the_block_matrix(task):
    block = block_of(task[0])
    top = np.linalg.eigvalsh(block_matrix(block).numpy())[-1]
    assert gauss_newton_sharpness(block) == pytest.approx(2 * top / SAMPLES, rel=1e-13)
