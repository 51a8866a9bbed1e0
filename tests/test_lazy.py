import math

import pytest
import torch
from descents import descent
from torch.func import functional_call, hessian, jacrev

import ntkflow
from ntkflow.dynamics import LinearizedTraining
from ntkflow.empirical import empirical_ntk
from ntkflow.errors import ConfigurationError
from ntkflow.lazy import (
    Linearized,
    ScaledOutput,
    jacobian_norm,
    kappa,
    second_derivative_norm,
)
from ntkflow.lazy.vectors import as_vectors
from ntkflow.networks import cnn, draw_parameters, member, mlp
from ntkflow.training import Objective, train_ensemble

X = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
Y = torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def network(outputs=2, **options):
    torch.manual_seed(2)
    options = {"activation": "tanh", "sigma_b": 0.3, "dtype": torch.float64} | options
    return mlp(3, [5, 4], outputs, **options)


def moved(model, step=0.1):
    """The model with other weights, and these weights."""
    generator = torch.Generator().manual_seed(3)
    weights = {
        name: p.detach() + step * torch.randn(p.shape, generator=generator, dtype=p.dtype)
        for name, p in model.named_parameters()
    }
    return weights


def test_linearization_is_the_jacobian_times_the_movement():
    model = network()
    linear, now = Linearized(model), moved(model)
    start = dict(model.named_parameters())
    jacobian = jacrev(lambda p: functional_call(model, p, (X,)))(start)
    expected = model(X) + sum(
        torch.einsum("no...,...->no", jacobian[name], now[name] - p) for name, p in start.items()
    )
    there = {f"network.{name}": p for name, p in now.items()}
    torch.testing.assert_close(
        functional_call(linear, there, (X,)), expected, rtol=1e-12, atol=1e-12
    )


def test_linearization_agrees_to_first_order_only():
    model = network()
    errors = []
    for step in (1e-2, 1e-3):
        now = moved(model, step)
        there = {f"network.{name}": p for name, p in now.items()}
        difference = functional_call(model, now, (X,)) - functional_call(
            Linearized(model), there, (X,)
        )
        errors.append(difference.norm().item())
    assert math.log10(errors[0] / errors[1]) == pytest.approx(2, abs=0.1)


def test_the_kernel_of_a_linearization_does_not_change():
    model = network()
    there = {f"network.{name}": p for name, p in moved(model).items()}
    before = empirical_ntk(model, X).values
    after = empirical_ntk(Linearized(model), X, parameters=there, method="jacobian").values
    torch.testing.assert_close(after, before, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("make", [network, lambda: cnn(1, [3], 2, image_size=4, sigma_b=0.1)])
def test_derived_networks_run_on_the_meta_device(make):
    model = make().to("meta")
    x = torch.empty(3, 1, 4, 4, device="meta") if model[0].weight.ndim == 4 else X.to("meta")
    for derived in (Linearized(model), ScaledOutput(model, 2.0)):
        assert derived(x).shape == (len(x), 2)


def test_scaled_output_is_its_formula_and_its_kernel_grows_like_the_square():
    model = network()
    scaled = ScaledOutput(model, 3.0)
    assert (scaled(X) == 0).all()
    torch.testing.assert_close(ScaledOutput(model, 3.0, centred=False)(X), 3 * model(X))
    now = moved(model)
    there = {f"network.{name}": p for name, p in now.items()}
    torch.testing.assert_close(
        functional_call(scaled, there, (X,)), 3 * (functional_call(model, now, (X,)) - model(X))
    )
    torch.testing.assert_close(empirical_ntk(scaled, X).values, 9 * empirical_ntk(model, X).values)
    with pytest.raises(ConfigurationError, match=r"^scale: 0 is not allowed; use a number > 0"):
        ScaledOutput(model, 0)


@pytest.mark.parametrize(("alpha", "centred"), [(1.0, False), (3.0, True), (0.5, False)])
def test_closed_form_is_gradient_descent_on_the_linearized_network(alpha, centred):
    model, steps = network(), 30
    linear = Linearized(model)
    start = {name: p.detach()[None] for name, p in linear.named_parameters()}
    found = train_ensemble(
        linear, start, X, Y, **descent(0.2, steps), engine="general",
        objective=Objective(output_scale=alpha, centred=centred),
    ).parameters  # fmt: skip
    training = LinearizedTraining(
        model, X, Y, learning_rate=0.2, output_scale=alpha, centred=centred
    )
    weights = training.weights(steps)
    for name, p in weights.items():
        torch.testing.assert_close(p, found[f"network.{name}"][0], rtol=1e-10, atol=1e-12)
    distance = sum((weights[n] - p).square().sum() for n, p in model.named_parameters()).sqrt()
    torch.testing.assert_close(training.distance(steps), distance.detach())
    other = torch.cat([X, X[:2] + 1])
    there = {f"network.{name}": p for name, p in weights.items()}
    outputs = alpha * (functional_call(linear, there, (other,)) - (model(other) if centred else 0))
    torch.testing.assert_close(
        training.outputs(other, steps), outputs.detach(), rtol=1e-9, atol=1e-11
    )
    torch.testing.assert_close(
        training.train_outputs(steps), outputs[:4].detach(), rtol=1e-9, atol=1e-11
    )
    assert training.outputs(other, [0, 3]).shape == (2, 6, 2)


def test_the_end_of_training_is_the_least_norm_solution():
    model = network()
    outputs, theta = as_vectors(model, X)
    jacobian = jacrev(outputs)(theta)
    least = torch.linalg.pinv(jacobian) @ (Y.reshape(-1) - outputs(theta))
    weights = LinearizedTraining(model, X, Y, learning_rate=0.01).weights(math.inf)
    moved_to = torch.cat([p.reshape(-1) for p in weights.values()]) - theta
    torch.testing.assert_close(moved_to, least.detach(), rtol=1e-8, atol=1e-10)


def test_jacobian_norm_is_the_largest_singular_value():
    outputs, theta = as_vectors(network(), X)
    expected = torch.linalg.matrix_norm(jacrev(outputs)(theta), 2).item()
    found = jacobian_norm(network(), X, tolerance=1e-14, max_iterations=10_000)
    assert found == pytest.approx(expected, rel=1e-10)


def test_second_derivative_norm_of_one_output_is_the_largest_curvature():
    model = network(1)
    outputs, theta = as_vectors(model, X[:1])
    curvature = hessian(lambda p: outputs(p)[0])(theta)
    expected = torch.linalg.eigvalsh(curvature).abs().max().item()
    found = second_derivative_norm(model, X[:1], tolerance=1e-14, max_iterations=10_000)
    assert found == pytest.approx(expected, rel=1e-10)


def test_second_derivative_norm_of_two_outputs_is_the_worst_combination():
    model = network(1)
    outputs, theta = as_vectors(model, X[:2])
    curvatures = hessian(outputs)(theta)
    angles = torch.linspace(0, math.pi, 2001, dtype=torch.float64)
    combined = [a.cos() * curvatures[0] + a.sin() * curvatures[1] for a in angles]
    expected = max(torch.linalg.matrix_norm(one, 2).item() for one in combined)
    found = second_derivative_norm(model, X[:2], tolerance=1e-14, max_iterations=10_000)
    assert found == pytest.approx(expected, rel=1e-6)


def test_kappa_falls_like_one_over_the_output_scale_where_the_start_is_zero():
    model = network()
    one = kappa(model, X, Y, centred=True)
    assert one.distance == pytest.approx(Y.norm().item())
    assert one.kappa == pytest.approx(one.distance * one.second_derivative / one.jacobian**2)
    scaled = kappa(ScaledOutput(model, 50.0), X, Y)
    assert scaled.kappa == pytest.approx(one.kappa / 50, rel=1e-6)
    both = kappa(model, X, Y, centred=True, output_scale=50.0)
    assert both.kappa == pytest.approx(one.kappa / 50, rel=1e-12)


def test_kappa_takes_weights_of_an_ensemble():
    model = network()
    drawn = draw_parameters(model, [0, 1], dtype=torch.float64)
    first, second = (kappa(model, X, Y, parameters=member(drawn, i)).kappa for i in (0, 1))
    assert first != second
    assert ntkflow.kappa is kappa


def test_kappa_of_networks_without_gradient():
    silent = mlp(1, [3], parameterization="standard")
    with torch.no_grad():
        silent[0].weight.fill_(-1.0)
    x = y = torch.ones(1, 1)
    found = kappa(silent, x, y, centred=True)
    assert (found.jacobian, found.second_derivative) == (0, 0)
    assert math.isnan(found.kappa)
    saddle = kappa(lambda p, x: p["a"] * p["a"] * x, x, y, parameters={"a": torch.tensor(0.0)})
    assert (saddle.jacobian, saddle.kappa) == (0, math.inf)


def test_a_function_linear_in_its_weights_has_no_second_derivative():
    layer = torch.nn.Linear(3, 2, dtype=torch.float64)
    assert second_derivative_norm(layer, X) == 0
