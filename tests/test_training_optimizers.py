"""Optimizers, losses and penalties against torch.optim and autograd."""

import pytest
import torch
from descents import descent
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from ntkflow.errors import ConfigurationError
from ntkflow.networks import draw_parameters, member, mlp
from ntkflow.training import (
    Adam,
    GradientDescent,
    Objective,
    Penalty,
    Schedule,
    train_ensemble,
)
from ntkflow.training.arcs import ArcEngine
from ntkflow.training.engines import choose_engine

RATE, STEPS = 0.05, 12
OPTIMIZERS = {"sgd": GradientDescent, "adam": Adam}


pytestmark = pytest.mark.usefixtures("one_thread")


def problem(outputs=3, m=7, n0=4, dtype=torch.float64):
    g = torch.Generator().manual_seed(1)
    x = torch.randn(m, n0, generator=g, dtype=dtype)
    labels = torch.randint(outputs, (m,), generator=g)
    return x, torch.nn.functional.one_hot(labels, outputs).to(dtype)


def data_loss(loss, f, y):
    return cross_entropy(f, y) if loss == "cross_entropy" else (f - y).square().sum(-1).mean()


def twin(network, start, x, y, *, loss, optimizer, l1=0.0, l2=0.0, decay="coupled"):
    """One seed with torch.optim; the penalty by autograd, what is outside the step by hand."""
    parameters = {name: p.clone().requires_grad_() for name, p in start.items()}
    every = list(parameters.values())
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer]
    steps, losses = kind(every, lr=RATE), []
    for _ in range(STEPS):
        value = data_loss(loss, functional_call(network, parameters, (x,)), y)
        losses.append(value.item())
        penalty = sum(l2 * p.square().sum() + l1 * p.abs().sum() for p in every)
        steps.zero_grad()
        (value + (penalty if decay != "decoupled" else 0)).backward()
        with torch.no_grad():
            beside = {
                "coupled": lambda p: 0 * p,
                "decoupled": lambda p: RATE * (2 * l2 * p + l1 * p.sign()),
                "seed": lambda p: l2 * p,
            }[decay]
            subtracted = [beside(p) for p in every]
            steps.step()
            for p, part in zip(every, subtracted, strict=True):
                p -= part
    return {name: p.detach() for name, p in parameters.items()}, losses


@pytest.mark.parametrize("engine", ["dense", "general"])
@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize(
    "penalty",
    [
        {},
        dict(l2=0.02),
        dict(l1=0.01),
        dict(l1=0.01, l2=0.02, decay="decoupled"),
        dict(l2=0.02, decay="seed"),
    ],
)
def test_follows_torch(engine, loss, optimizer, penalty):
    network = mlp(4, (6, 5), 3, sigma_b=0.3, dtype=torch.float64)
    start = draw_parameters(network, [0, 1])
    x, y = problem()
    result = train_ensemble(
        network, start, x, y, optimizer=OPTIMIZERS[optimizer](RATE, Penalty(**penalty)),
        schedule=Schedule(STEPS, record=range(STEPS)), objective=Objective(loss), engine=engine,
    )  # fmt: skip
    for seed in range(2):
        final, losses = twin(
            network, member(start, seed), x, y, loss=loss, optimizer=optimizer, **penalty
        )
        torch.testing.assert_close(result.losses[seed].tolist(), losses, rtol=1e-10, atol=1e-13)
        torch.testing.assert_close(member(result.parameters, seed), final, rtol=1e-10, atol=1e-12)


def test_decoupled_decay_is_that_of_adamw():
    network, (x, y) = mlp(4, (6,), 3, dtype=torch.float64), problem()
    start = draw_parameters(network, [0])
    result = train_ensemble(
        network, start, x, y, optimizer=Adam(RATE, Penalty(l2=0.05, decay="decoupled")),
        schedule=Schedule(STEPS), objective=Objective("cross_entropy"),
    )  # fmt: skip
    parameters = {name: p.clone().requires_grad_() for name, p in member(start, 0).items()}
    steps = torch.optim.AdamW(parameters.values(), lr=RATE, weight_decay=0.1)
    for _ in range(STEPS):
        steps.zero_grad()
        cross_entropy(functional_call(network, parameters, (x,)), y).backward()
        steps.step()
    final = {name: p.detach() for name, p in parameters.items()}
    torch.testing.assert_close(member(result.parameters, 0), final, rtol=1e-10, atol=1e-12)


def test_double_decay_of_a_network_without_gradient():
    network = mlp(4, (3,), 3, dtype=torch.float64)
    start = draw_parameters(network, [0])
    x, y = problem()
    result = train_ensemble(
        network, start, 0 * x, y, optimizer=GradientDescent(0.01, Penalty(l2=0.1, decay="seed")),
        schedule=Schedule(5), objective=Objective("cross_entropy"),
    )  # fmt: skip
    torch.testing.assert_close(result.parameters["0.weight"], start["0.weight"] * (1 - 0.102) ** 5)


@pytest.mark.parametrize("scaling", [dict(output_scale=4.0), dict(output_scale=0.5, centred=True)])
def test_cross_entropy_of_scaled_models(scaling):
    network, (x, y) = mlp(4, (6,), 3, dtype=torch.float64), problem()
    start = draw_parameters(network, [0])
    result = train_ensemble(
        network, start, x, y, **descent(RATE, 3, record=range(4)),
        objective=Objective("cross_entropy", **scaling),
    )  # fmt: skip
    alpha, parameters = scaling["output_scale"], member(start, 0)
    h0 = functional_call(network, parameters, (x,)) if "centred" in scaling else 0
    for found in result.losses[0]:
        p = {name: each.clone().requires_grad_() for name, each in parameters.items()}
        value = cross_entropy(alpha * (functional_call(network, p, (x,)) - h0), y) / alpha**2
        torch.testing.assert_close(found, value.detach(), rtol=1e-10, atol=0)
        gradients = torch.autograd.grad(value, list(p.values()))
        parameters = {n: p[n].detach() - RATE * g for n, g in zip(p, gradients, strict=True)}


@pytest.mark.parametrize("engine", ["dense", "general"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("width", [1, 4, 130])
def test_seed_alone_is_bitwise_the_same(width, optimizer, engine):
    network = mlp(50, (width,), 10, dtype=torch.float32)
    start = draw_parameters(network, range(7))
    x, y = problem(outputs=10, m=33, n0=50, dtype=torch.float32)
    options = dict(
        optimizer=OPTIMIZERS[optimizer](RATE, Penalty(l1=1e-3, l2=1e-3)), schedule=Schedule(4),
        objective=Objective("cross_entropy"), engine=engine,
    )  # fmt: skip
    together = train_ensemble(network, start, x, y, **options)
    for seed in (0, 3, 6):
        one = {name: p[seed : seed + 1] for name, p in start.items()}
        alone = train_ensemble(network, one, x, y, **options)
        for name, p in alone.parameters.items():
            assert torch.equal(p[0], together.parameters[name][seed])


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_meta_device(optimizer):
    network = mlp(4, (5,), 3)
    start = draw_parameters(network, [0, 1], device="meta")
    result = train_ensemble(
        network, start, *problem(), optimizer=OPTIMIZERS[optimizer](0.1, Penalty(l1=0.1, l2=0.1)),
        schedule=Schedule(2, record=[1]), objective=Objective("cross_entropy"),
    )  # fmt: skip
    assert result.losses.is_meta
    assert result.losses.shape == (2, 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Penalty(decay="both"),
            "decay: 'both' is unknown; allowed: coupled, decoupled, seed",
        ),
        (lambda: Penalty(l1=-1.0), "l1: -1.0 is not allowed; use a number >= 0"),
        (lambda: Penalty(l2=-0.5), "l2: -0.5 is not allowed; use a number >= 0"),
        (lambda: GradientDescent(-1), "learning_rate: -1 is not allowed; use a number > 0"),
        (lambda: Adam(0.0), "learning_rate: 0.0 is not allowed; use a number > 0"),
    ],
)
def test_mistakes_in_optimizers(make, message):
    with pytest.raises(ConfigurationError) as error:
        make()
    assert str(error.value) == message


def test_cross_entropy_takes_rows_of_probabilities():
    network, (x, y) = mlp(4, (3,), 3), problem()
    y[2] *= 2
    with pytest.raises(ConfigurationError, match=r"y: row 2 sums to 2; the loss 'cross_entropy'"):
        train_ensemble(
            network, draw_parameters(network, [0]), x, y, **descent(0.1, 1),
            objective=Objective("cross_entropy"),
        )  # fmt: skip


@pytest.mark.parametrize(
    "optimizer", [GradientDescent(0.1, Penalty(l2=0.1)), Adam(0.1)], ids=["penalty", "adam"]
)
def test_arcs_are_for_plain_descent(optimizer):
    network, x = mlp(2, (5,), dtype=torch.float64), torch.eye(2, dtype=torch.float64)
    task, start = (x, x[:, :1]), draw_parameters(network, [0])
    options = dict(optimizer=optimizer, schedule=Schedule(1))
    with pytest.raises(ConfigurationError, match="plain gradient descent only"):
        train_ensemble(network, start, *task, **options, engine="arcs")
    train_ensemble(network, start, *task, **options)


def test_a_penalty_of_zero_is_plain_descent():
    network, x = mlp(2, (5,), dtype=torch.float64), torch.eye(2, dtype=torch.float64)
    optimizer, start = GradientDescent(0.1, Penalty(decay="seed")), draw_parameters(network, [0])
    assert choose_engine("auto", network, start, x, optimizer) is ArcEngine
