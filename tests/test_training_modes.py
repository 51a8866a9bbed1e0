"""Training of networks with dropout and batch normalisation."""

import pytest
import torch
from descents import descent
from torch import nn
from torch.func import functional_call

from ntkflow.errors import ConfigurationError, UnsupportedLayerError
from ntkflow.limits import limit_kernels
from ntkflow.networks import draw_parameters, member, mlp
from ntkflow.randomness import torch_seed
from ntkflow.training import Objective, train_ensemble

MODES = [dict(dropout=0.4), dict(normalization="batch"), dict(normalization="batch", dropout=0.4)]


pytestmark = pytest.mark.usefixtures("one_thread")


def problem(dtype=torch.float64):
    g = torch.Generator().manual_seed(3)
    return (torch.randn(7, 3, generator=g, dtype=dtype) for _ in range(2))


def naive(network, parameters, x, y, *, seed, steps):
    """Autograd gradient descent of one network of torch's own layers, one torch seed a step."""
    parameters = {name: p.clone().requires_grad_() for name, p in parameters.items()}
    losses = []
    for step in range(steps + 1):
        torch.manual_seed(torch_seed(seed, "dropout", step))
        loss = (functional_call(network, parameters, (x,)) - y).square().sum(-1).mean()
        losses.append(loss.item())
        final = {name: p.detach().clone() for name, p in parameters.items()}
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        with torch.no_grad():
            for p, gradient in zip(parameters.values(), gradients, strict=True):
                p -= 0.1 * gradient
    return final, losses


@pytest.mark.parametrize("options", MODES)
def test_training_is_that_of_torch(options):
    network = mlp(3, (6, 5), 3, sigma_b=0.2, dtype=torch.float64, **options)
    x, y = problem()
    start = draw_parameters(network, [0, 1])
    state = torch.get_rng_state()
    found = train_ensemble(
        network, start, x, y, **descent(0.1, 5, record=range(6)), noise_seeds=[4, 9]
    )
    assert torch.equal(torch.get_rng_state(), state)
    for index, seed in enumerate([4, 9]):
        final, losses = naive(network, member(start, index), x, y, seed=seed, steps=5)
        torch.testing.assert_close(found.losses[index].tolist(), losses, rtol=1e-10, atol=1e-13)
        torch.testing.assert_close(member(found.parameters, index), final, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("options", MODES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_neighbours_and_snapshots_change_nothing(options, dtype):
    network = mlp(3, (20,), 3, dtype=dtype, **options)
    x, y = problem(dtype)
    parameters = draw_parameters(network, range(5))
    together = train_ensemble(network, parameters, x, y, **descent(0.1, 6), noise_seeds=range(5))
    for seeds in ([0], [3], [1, 2, 4]):
        some = {name: p[seeds] for name, p in parameters.items()}
        looks = dict(snapshots=[0, 2, 3], on_snapshot=lambda step, p: None)
        alone = train_ensemble(network, some, x, y, **descent(0.1, 6, **looks), noise_seeds=seeds)
        for name, p in alone.parameters.items():
            assert torch.equal(p, together.parameters[name][seeds])


def test_masks_differ_between_seeds_and_steps():
    network = mlp(3, (50,), dropout=0.5, dtype=torch.float64)
    one = draw_parameters(network, [0])
    twice = {name: torch.cat([p, p]) for name, p in one.items()}
    x, y = problem()
    # A step too small to move anything: what changes is the masks.
    found = train_ensemble(
        network, twice, x, y[:, 0], **descent(1e-30, 3, record=range(4)), noise_seeds=[0, 1]
    )
    assert len(found.losses.flatten().unique()) == 8


def test_layers_in_evaluation_mode_train_as_such():
    network = mlp(3, (6,), 3, dropout=0.5, dtype=torch.float64).eval()
    start = draw_parameters(network, [0])
    found = train_ensemble(network, start, *problem(), **descent(0.1, 3), engine="general")
    network[2].p = 0.0
    plain = train_ensemble(network.train(), start, *problem(), **descent(0.1, 3))
    for name, p in plain.parameters.items():
        torch.testing.assert_close(found.parameters[name], p, rtol=1e-12, atol=1e-12)


def test_meta_device():
    network = mlp(3, (6,), 3, dropout=0.5, normalization="batch")
    start = draw_parameters(network, [0, 1], device="meta")
    found = train_ensemble(network, start, *problem(), **descent(0.1, 2), noise_seeds=[0, 1])
    assert found.parameters["0.weight"].is_meta


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "noise_seeds: None is not allowed with dropout; use 1, one per member"),
        ({"noise_seeds": [0, 1]}, r"noise_seeds: \[0, 1\] is not allowed with dropout; use 1, one"),
        (
            {"objective": Objective(centred=True)},
            "centred: True is not allowed with dropout; use False",
        ),
        ({"engine": "dense"}, r"engine: 'dense' does not fit.*Dropout.*no written-out gradient"),
    ],
)
def test_mistakes_with_dropout(change, message):
    network = mlp(3, (4,), 3, dropout=0.5)
    options = descent(0.1, 1) | change
    with pytest.raises(ConfigurationError, match=message):
        train_ensemble(network, draw_parameters(network, [0]), *problem(), **options)


def test_running_averages_are_refused():
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    start = draw_parameters(network, [0])
    with pytest.raises(ConfigurationError, match=r"layer '1': BatchNorm1d .* track_running_stats"):
        train_ensemble(network, start, *problem(), **descent(0.1, 1))


def test_batch_statistics_have_no_limit_kernel():
    with pytest.raises(UnsupportedLayerError, match="BatchNorm1d"):
        limit_kernels(mlp(3, (4,), normalization="batch"), torch.ones(2, 3))


def test_dropout_in_training_mode_adds_to_the_kernel_of_an_input_with_itself():
    x = torch.eye(3)[:2]
    kept, plain = limit_kernels(mlp(3, (4,), dropout=0.5), x), limit_kernels(mlp(3, (4,)), x)
    torch.testing.assert_close(kept.nngp.diagonal(), 2 * plain.nngp.diagonal())
    torch.testing.assert_close(kept.nngp[0, 1], plain.nngp[0, 1])


def test_dropout_in_evaluation_mode_is_the_identity():
    x = torch.eye(3)[:2]
    kernels = limit_kernels(mlp(3, (4,), dropout=0.5).eval(), x)
    expected = limit_kernels(mlp(3, (4,)), x)
    assert torch.equal(kernels.ntk, expected.ntk)
    assert torch.equal(kernels.nngp, expected.nngp)
