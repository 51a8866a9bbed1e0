import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ntkflow import TrainingDynamics, gaussian_process, ridge_regression
from ntkflow.errors import ConfigurationError, KernelError

ORACLE = Path(__file__).parent / "data" / "oracle"


def linear_model(m=5, n=3, rank=8, outputs=(), seed=0):
    """Features (training, test) and targets; with rank < m the kernel is singular."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    return draw(m, rank), draw(n, rank), draw(m, *outputs)


def train(phi, targets, *, eta, steps, scale, momentum=0.0):
    """Weights after each step of gradient descent on scale * sum (phi w - y)^2 from w = 0."""
    w = torch.zeros(phi.shape[1], *targets.shape[1:], dtype=torch.float64)
    velocity, path = torch.zeros_like(w), [w]
    for _ in range(steps):
        velocity = momentum * velocity + 2 * scale * phi.T @ (phi @ w - targets)
        w = w - eta * velocity
        path.append(w)
    return torch.stack(path)


def close(actual, expected, rtol=1e-10, atol=1e-12):
    torch.testing.assert_close(actual, expected, rtol=rtol, atol=atol)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("rank", [8, 3])
@pytest.mark.parametrize("outputs", [(), (2,)])
def test_descent_is_training_a_linear_model(momentum, rank, outputs):
    phi, phi_test, y = linear_model(rank=rank, outputs=outputs)
    w = train(phi, y, eta=0.1, steps=200, scale=1 / 5, momentum=momentum)
    dynamics = TrainingDynamics(phi @ phi.T, learning_rate=0.1, momentum=momentum)
    t = torch.arange(201)
    outputs_of = lambda features: torch.einsum("mp,tp...->tm...", features, w)  # noqa: E731
    close(dynamics.train_mean(y, t), outputs_of(phi))
    close(dynamics.mean(phi_test @ phi.T, y, t), outputs_of(phi_test))
    norms = w.reshape(201, -1).norm(dim=1)
    close(dynamics.lazy_distance(y, t), norms)


@pytest.mark.parametrize(
    ("loss", "divisor", "scale"),
    [("mse", None, 1 / 5), ("half_mse", None, 1 / 10), ("mse", 15, 1 / 15), ("half_mse", 1, 1 / 2)],
)
def test_loss_conventions(loss, divisor, scale):
    phi, phi_test, y = linear_model(outputs=(3,))
    w = train(phi, y, eta=0.02, steps=50, scale=scale)
    dynamics = TrainingDynamics(phi @ phi.T, learning_rate=0.02, loss=loss, divisor=divisor)
    close(dynamics.mean(phi_test @ phi.T, y, 50), phi_test @ w[-1])
    close(dynamics.eigenvalues.sum(), torch.trace(phi @ phi.T) / (divisor or 5))


def test_descent_is_the_kernel_recursion_over_long_times():
    phi, _, y = linear_model()
    gram, f = phi @ phi.T, torch.zeros(5, dtype=torch.float64)
    for _ in range(3000):
        f = f - (2 * 0.05 / 5) * gram @ (f - y)
    close(TrainingDynamics(gram, learning_rate=0.05).train_mean(y, 3000), f)


def test_flow_is_the_limit_of_small_steps_with_and_without_momentum():
    phi, phi_test, y = linear_model()
    gram, cross = phi @ phi.T, phi_test @ phi.T
    for momentum in (0.0, 0.5):
        flow = TrainingDynamics(gram, learning_rate=0.1, method="gradient_flow", momentum=momentum)
        errors = []
        for cut in (10**4, 10**5):
            fine = TrainingDynamics(gram, learning_rate=0.1 / cut, momentum=momentum)
            gap = fine.mean(cross, y, 7 * cut) - flow.mean(cross, y, 7)
            errors.append(gap.abs().max().item())
        assert errors[1] < 1e-4
        assert errors[0] / errors[1] == pytest.approx(10, rel=0.05)


def test_flow_solves_its_differential_equation():
    phi, _, y = linear_model()
    gram = phi @ phi.T
    flow = TrainingDynamics(gram, learning_rate=0.3, method="gradient_flow")
    expected = y - torch.linalg.matrix_exp(-2 * 0.3 / 5 * gram * 2.5) @ y
    close(flow.train_mean(y, 2.5), expected)


@pytest.mark.parametrize("method", ["gradient_descent", "gradient_flow"])
def test_infinite_time_is_ridgeless_regression(method):
    phi, phi_test, y = linear_model(outputs=(2,))
    gram, cross = phi @ phi.T, phi_test @ phi.T
    dynamics = TrainingDynamics(gram, learning_rate=0.05, method=method)
    expected = ridge_regression(gram, cross, y)
    close(dynamics.mean(cross, y, math.inf), expected, rtol=1e-9)
    close(dynamics.mean(cross, y, [1e5, math.inf])[0], expected, rtol=1e-9)


def test_infinite_time_on_a_singular_kernel_is_the_pseudo_inverse():
    phi, phi_test, y = linear_model(rank=3)
    dynamics = TrainingDynamics(phi @ phi.T, learning_rate=0.05)
    expected = phi_test @ torch.linalg.pinv(phi) @ y
    close(dynamics.mean(phi_test @ phi.T, y, math.inf), expected, rtol=1e-9)
    assert (dynamics.rates == 0).sum() == 2


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("method", ["gradient_descent", "gradient_flow"])
def test_zero_directions_follow_the_limit_of_small_eigenvalues(method, momentum):
    cross = torch.tensor([[0.3, 0.7]], dtype=torch.float64)
    y = torch.tensor([1.0, 2.0], dtype=torch.float64)
    options = dict(learning_rate=0.1, method=method, momentum=momentum)
    zero = TrainingDynamics(torch.diag(torch.tensor([1.0, 0.0])).double(), **options)
    small = TrainingDynamics(torch.diag(torch.tensor([1.0, 1e-13])).double(), **options)
    assert zero.rates[1] == 0 < small.rates[1]
    t = [0, 1, 10, 1000]
    close(zero.mean(cross, y, t), small.mean(cross, y, t), rtol=1e-9)


def test_repeated_eigenvalues_on_a_circle():
    angles = 2 * torch.pi * torch.arange(12, dtype=torch.float64) / 12
    gram = 1 + torch.cos(angles[:, None] - angles) + 0.1 * torch.cos(3 * (angles[:, None] - angles))
    dynamics = TrainingDynamics(gram, learning_rate=0.2)
    close(dynamics.eigenvalues[:5], torch.tensor([1, 0.5, 0.5, 0.05, 0.05], dtype=torch.float64))
    kept = (1 - 2 * 0.2 * 0.05) ** 40
    close(dynamics.train_mean(torch.sin(3 * angles), 40), (1 - kept) * torch.sin(3 * angles))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rounding_negatives_are_zero_and_negative_kernels_an_error(dtype):
    phi = torch.randn(40, 3, generator=torch.Generator().manual_seed(0), dtype=dtype)
    gram = phi @ phi.T
    assert torch.linalg.eigvalsh(gram.double())[0] < 0
    assert (TrainingDynamics(gram, learning_rate=0.01).eigenvalues >= 0).all()
    with pytest.raises(KernelError, match=r"smallest eigenvalue -0\.25 is negative"):
        TrainingDynamics(gram - 0.25 * torch.eye(40, dtype=dtype), learning_rate=0.01)


def ensemble_problem(rank=8):
    phi, phi_test, y = linear_model(rank=rank)
    psi, psi_test, _ = linear_model(seed=1, rank=9)
    gram, cross = phi @ phi.T, phi_test @ phi.T
    return gram, cross, psi @ psi.T, psi_test @ psi.T, psi_test @ psi_test.T, y


@pytest.mark.parametrize("rank", [8, 3])
@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_covariance_is_linear_algebra_of_the_kernel_recursion(rank, momentum):
    gram, cross, train_cov, cross_cov, test_cov, _ = ensemble_problem(rank)
    dynamics = TrainingDynamics(gram, learning_rate=0.1, momentum=momentum)
    # Step [f(train); f(test)] from every unit initial function: outputs are linear in f0.
    joint_kernel = torch.cat([gram, cross])
    f = previous = torch.eye(8, dtype=torch.float64)
    steps = [f]
    for _ in range(30):
        f, previous = (
            f - (2 * 0.1 / 5) * joint_kernel @ f[:5] + momentum * (f - previous),
            f,
        )
        steps.append(f)
    joint_cov = torch.cat(
        [torch.cat([train_cov, cross_cov.T], 1), torch.cat([cross_cov, test_cov], 1)]
    )
    joint = torch.stack([s @ joint_cov @ s.T for s in steps])
    t = range(31)
    close(dynamics.train_covariance(train_cov, list(t)), joint[:, :5, :5])
    args = (cross, train_cov, cross_cov)
    close(dynamics.covariance(*args, test_cov, list(t)), joint[:, 5:, 5:])
    close(dynamics.covariance(*args, test_cov, 30), joint[30, 5:, 5:])
    variance = dynamics.variance(*args, test_cov.diagonal(), list(t))
    close(variance, joint[:, 5:, 5:].diagonal(dim1=1, dim2=2))


def test_covariance_against_trained_draws_of_the_initial_function():
    gram, cross, train_cov, cross_cov, test_cov, y = ensemble_problem()
    dynamics = TrainingDynamics(gram, learning_rate=0.1)
    joint = torch.cat([torch.cat([train_cov, cross_cov.T], 1), torch.cat([cross_cov, test_cov], 1)])
    draws = 4000
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(8, draws, generator=generator, dtype=torch.float64)
    f = torch.linalg.cholesky(joint) @ noise
    joint_kernel = torch.cat([gram, cross])
    for _ in range(20):
        f = f - (2 * 0.1 / 5) * joint_kernel @ (f[:5] - y[:, None])
    expected = dynamics.covariance(cross, train_cov, cross_cov, test_cov, 20)
    diagonal = expected.diagonal()
    error = ((diagonal[:, None] * diagonal + expected**2) / draws).sqrt()
    assert ((torch.cov(f[5:]) - expected).abs() < 4 * error).all()
    mean_error = (diagonal / draws).sqrt()
    assert ((f[5:].mean(1) - dynamics.mean(cross, y, 20)).abs() < 4 * mean_error).all()


def test_centred_ensembles_have_no_covariance():
    gram, cross, train_cov, cross_cov, test_cov, _ = ensemble_problem()
    dynamics = TrainingDynamics(gram, learning_rate=0.1)
    covariance = dynamics.covariance(cross, train_cov, cross_cov, test_cov, [1, 2], centred=True)
    close(covariance, torch.zeros(2, 3, 3, dtype=torch.float64))


def relu_kernels(x1, x2, *, hidden_layers, W_std, b_std):
    """NNGP and NTK of a ReLU net by the arc-cosine recursion."""
    norms = lambda x: W_std**2 * x.square().sum(1) / x.shape[1] + b_std**2  # noqa: E731
    q1, q2 = norms(x1)[:, None], norms(x2)
    nngp = W_std**2 * x1 @ x2.T / x1.shape[1] + b_std**2
    ntk = nngp
    for _ in range(hidden_layers):
        scale = (q1 * q2).sqrt()
        cosine = (nngp / scale).clamp(-1, 1)
        phi = cosine.arccos()
        if x1 is x2:  # arccos is off by 1e-8 where rounding leaves a cosine just below 1
            phi.fill_diagonal_(0)
        slope = W_std**2 * (torch.pi - phi) / (2 * torch.pi)
        nngp = scale * (phi.sin() + (torch.pi - phi) * cosine) / (2 * torch.pi)
        nngp = W_std**2 * nngp + b_std**2
        ntk = ntk * slope + nngp
        q1, q2 = W_std**2 * q1 / 2 + b_std**2, W_std**2 * q2 / 2 + b_std**2
    return nngp, ntk


@pytest.mark.parametrize("name", ["predict_relu_1_1", "predict_relu_4_3"])
def test_reference_predictions(name):
    with np.load(ORACLE / f"{name}.npz") as file:
        spec = json.loads(str(file["spec"]))
        data = {key: torch.from_numpy(file[key]) for key in file.files if key != "spec"}
    net = {key: spec[key] for key in ("hidden_layers", "W_std", "b_std")}
    x, x_test, y = data["x_train"], data["x_test"], data["y_train"]
    nngp, ntk = relu_kernels(x, x, **net)
    nngp_cross, ntk_cross = relu_kernels(x_test, x, **net)
    nngp_test, _ = relu_kernels(x_test, x_test, **net)
    dynamics = TrainingDynamics(
        ntk, learning_rate=1.0, loss="half_mse", divisor=y.numel(), method="gradient_flow"
    )
    close(dynamics.mean(ntk_cross, y, data["t"]), data["mean_ntk_t"])
    close(ridge_regression(ntk, ntk_cross, y), data["mean_ntk_inf"])
    covariance = dynamics.covariance(ntk_cross, nngp, nngp_cross, nngp_test, math.inf)
    close(covariance, data["cov_ntk_inf"])
    mean, covariance = gaussian_process(nngp, nngp_cross, nngp_test, y)
    close(mean, data["mean_nngp_inf"])
    close(covariance, data["cov_nngp_inf"])


@pytest.mark.parametrize("loss", ["mse", "half_mse"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_training_is_stable_just_below_the_largest_step_and_grows_above(loss, momentum):
    phi, _, y = linear_model()
    gram = phi @ phi.T
    scale = 1 / 5 if loss == "mse" else 1 / 10
    limit = TrainingDynamics(
        gram, learning_rate=1.0, loss=loss, momentum=momentum
    ).largest_stable_step()
    final = []
    for factor in (0.98, 1.02):
        eta = factor * limit
        w = train(phi, y, eta=eta, steps=400, scale=scale, momentum=momentum)
        dynamics = TrainingDynamics(gram, learning_rate=eta, loss=loss, momentum=momentum)
        close(dynamics.train_mean(y, 400), phi @ w[-1], rtol=1e-9)
        final.append((phi @ w[-1] - y).abs().max())
    assert final[0] < 10 < 1e3 < final[1]


def test_largest_stable_step_of_a_flow_or_of_nothing_is_infinite():
    phi, _, _ = linear_model()
    flow = TrainingDynamics(phi @ phi.T, learning_rate=1.0, method="gradient_flow")
    assert flow.largest_stable_step() == math.inf
    assert TrainingDynamics(torch.zeros(2, 2), learning_rate=1.0).largest_stable_step() == math.inf


def test_divergence_reads_large_and_never_nan():
    phi, phi_test, y = linear_model(outputs=(2,))
    gram, cross = phi @ phi.T, phi_test @ phi.T
    dynamics = TrainingDynamics(gram, learning_rate=10.0)
    assert (dynamics.rates > 2).sum() > 1
    assert dynamics.mode_residual(10**5).abs().max() == math.inf
    for values in (
        dynamics.mean(cross, y, 10**5),
        dynamics.covariance(cross, gram, cross, phi_test @ phi_test.T, 10**5),
        dynamics.lazy_distance(y, 10**5),
    ):
        assert not values.isnan().any()
        assert values.abs().max() > 1e100
    with pytest.raises(ConfigurationError, match=r"infinity has no limit, as learning_rate 10.0"):
        dynamics.mean(cross, y, math.inf)


@settings(max_examples=40)
@given(
    m=st.integers(1, 5),
    n=st.integers(1, 4),
    outputs=st.sampled_from([(), (1,), (3,)]),
    times=st.sampled_from([0, 3, 2.0, [0], [1, 5], torch.tensor([1.0, 2.0, 9.0]), np.arange(4)]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    device=st.sampled_from(["cpu", "meta"]),
)
def test_shapes(m, n, outputs, times, dtype, device):
    phi, phi_test, y = (each.to(device, dtype) for each in linear_model(m, n, outputs=outputs))
    lead = tuple(np.shape(times))
    gram, cross, test = phi @ phi.T, phi_test @ phi.T, phi_test @ phi_test.T
    dynamics = TrainingDynamics(gram, learning_rate=0.01)
    results = {
        (m,): dynamics.learned_fraction(times),
        (m, "p"): dynamics.mode_residual(times)[..., None],
        (m, *outputs): dynamics.train_mean(y, times),
        (n, *outputs): dynamics.mean(cross, y, times),
        (): dynamics.lazy_distance(y, times),
    }
    for shape, value in results.items():
        assert value.shape == lead + tuple(1 if axis == "p" else axis for axis in shape)
        assert value.dtype == torch.float64
        assert value.device.type == device
    assert dynamics.learned_per_eigenvalue(times).shape == (*lead, m)
    assert dynamics.train_covariance(gram, times).shape == (*lead, m, m)
    assert dynamics.covariance(cross, gram, cross, test, times).shape == (*lead, n, n)
    assert dynamics.variance(cross, gram, cross, test.diagonal(), times).shape == (*lead, n)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(learning_rate=0.0), "learning_rate: 0.0"),
        (dict(learning_rate=1.0, loss="l2"), "loss: 'l2' is unknown; allowed: mse, half_mse"),
        (dict(learning_rate=1.0, method="adam"), "method: 'adam' is unknown"),
        (dict(learning_rate=1.0, momentum=1.0), "momentum: 1.0"),
        (dict(learning_rate=1.0, divisor=0), "divisor: 0"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ConfigurationError, match=message):
        TrainingDynamics(torch.eye(2), **options)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("name", "method", "arguments", "allowed"),
    [
        ("targets", "train_mean", ["2"], "5, ..."),
        ("targets", "mean", ["3x5", "3"], "5, ..."),
        ("cross_gram", "mean", ["5x3", "5"], "any, 5"),
        ("residual", "lazy_distance", ["3"], "5, ..."),
        ("nngp_train", "train_covariance", ["5"], "5, 5"),
        ("nngp_train", "covariance", ["3x5", "3x5", "3x5", "3x3"], "5, 5"),
        ("nngp_cross", "covariance", ["3x5", "5x5", "5x3", "3x3"], "3, 5"),
        ("nngp_test", "covariance", ["3x5", "5x5", "3x5", "3"], "3, 3"),
        ("nngp_train", "variance", ["3x5", "5", "3x5", "3"], "5, 5"),
        ("nngp_cross", "variance", ["3x5", "5x5", "5x3", "3"], "3, 5"),
        ("cross_gram", "variance", ["5x3", "5x5", "3x5", "3"], "any, 5"),
        ("nngp_test_diagonal", "variance", ["3x5", "5x5", "3x5", "3x3"], "3,"),
    ],
)
def test_arrays_that_do_not_fit_the_kernel_are_named(name, method, arguments, allowed):
    dynamics = TrainingDynamics(torch.eye(5), learning_rate=0.1)
    arrays = [torch.ones(*map(int, each.split("x"))) for each in arguments]
    with pytest.raises(KernelError, match=rf"^{name}: shape .* use {re.escape(f'({allowed})')}"):
        getattr(dynamics, method)(*arrays, 2)


def test_bad_times():
    dynamics = TrainingDynamics(torch.eye(2), learning_rate=0.1)
    with pytest.raises(ConfigurationError, match=r"t: -1.0 is not allowed"):
        dynamics.learned_fraction([0, -1])
    with pytest.raises(ConfigurationError, match=r"t: 0.5 is not a whole number"):
        dynamics.learned_fraction([1, 0.5])
    with pytest.raises(ConfigurationError, match=r"t: 2.5 is not a whole number"):
        dynamics.learned_fraction(2.5)


def test_time_to_residual_in_flow_and_in_steps():
    gram = torch.diag(torch.tensor([3.0, 1.0, 0.1, 0.0], dtype=torch.float64))
    flow = TrainingDynamics(gram, learning_rate=0.5, method="gradient_flow")
    times = flow.time_to_residual(0.05)
    close(flow.mode_residual(times).diagonal()[:3], torch.full((3,), 0.05, dtype=torch.float64))
    assert times[3] == math.inf
    steps = TrainingDynamics(gram, learning_rate=0.5).time_to_residual(0.05)
    brute_force = [
        next(t for t in range(1000) if (1 - a) ** t <= 0.05) for a in (0.75, 0.25, 0.025)
    ]
    assert steps.tolist() == [*brute_force, math.inf]
    with pytest.raises(ConfigurationError, match=r"fraction: 1.0 is not allowed"):
        flow.time_to_residual(1.0)
    assert TrainingDynamics(gram.to("meta"), learning_rate=0.5).time_to_residual(0.05).is_meta
    slow = TrainingDynamics(gram, learning_rate=1e-9).time_to_residual(0.05)
    close(slow[:3], math.log(20) / (2e-9 * gram.diagonal()[:3] / 4), rtol=1e-6)
