import pytest
import torch
from torch.func import functional_call

from ntkflow.networks import draw_parameters, member, mlp
from ntkflow.training import train_ensemble

ACTIVATIONS = ["relu", "erf", "tanh", "sin", "gelu", "abs", "linear"]


def problem(n0=2, m=7, outputs=1, dtype=torch.float64):
    g = torch.Generator().manual_seed(3)
    x = torch.randn(m, n0, generator=g, dtype=dtype)
    return x, torch.randn(m, outputs, generator=g, dtype=dtype)


def naive(network, parameters, x, y, *, eta, steps, alpha=1.0, centred=False):
    """Autograd gradient descent of one seed; parameters and losses of every step."""
    parameters = {k: v.clone().requires_grad_() for k, v in parameters.items()}
    h0 = functional_call(network, parameters, (x,)).detach() if centred else 0
    losses = []
    for _ in range(steps + 1):
        f = alpha * (functional_call(network, parameters, (x,)) - h0)
        loss = (f - y).square().sum(-1).mean() / alpha**2
        losses.append(loss.item())
        final = {k: v.detach().clone() for k, v in parameters.items()}
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        with torch.no_grad():
            for p, g in zip(parameters.values(), gradients, strict=True):
                p -= eta * g
    return final, losses


def assert_follows_naive(
    network, parameters, x, y, *, eta=0.1, steps=30, engine="dense", **scaling
):
    result = train_ensemble(
        network, parameters, x, y, learning_rate=eta, steps=steps, engine=engine,
        record_steps=range(steps + 1),
        output_scale=scaling.get("alpha", 1.0), centred=scaling.get("centred", False),
    )  # fmt: skip
    for s in range(len(result.losses)):
        final, losses = naive(network, member(parameters, s), x, y, eta=eta, steps=steps, **scaling)
        torch.testing.assert_close(result.losses[s].tolist(), losses, rtol=1e-10, atol=1e-13)
        torch.testing.assert_close(member(result.parameters, s), final, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("engine", ["dense", "general"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("widths", [(9,), (5, 8), (6, 4, 7)])
def test_every_activation_and_depth(activation, widths, engine):
    network = mlp(2, widths, activation=activation, sigma_b=0.3, dtype=torch.float64)
    assert_follows_naive(network, draw_parameters(network, [0, 1]), *problem(), engine=engine)


@pytest.mark.parametrize("widths", [(10,), (100,), (1000,), (5, 8, 33)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_seed_alone_is_bitwise_the_same(widths, dtype):
    network = mlp(2, widths, sigma_b=0.1, dtype=dtype)
    parameters = draw_parameters(network, range(10))
    x, y = problem(m=64, dtype=dtype)
    run = lambda p: train_ensemble(network, p, x, y, learning_rate=0.1, steps=20)  # noqa: E731
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    together = run(parameters).parameters
    for s in (0, 4, 9):
        alone = run({k: v[s : s + 1] for k, v in parameters.items()}).parameters
        assert all(torch.equal(alone[k][0], together[k][s]) for k in alone)
    torch.set_num_threads(threads)
