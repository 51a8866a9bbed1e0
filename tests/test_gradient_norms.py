"""Norms of single rows' gradients are those of plain autograd, by every method, in float64."""

from dataclasses import replace

import pytest
import torch
from never_wrong_cases import CASES
from never_wrong_networks import Net, build, plain_jacobian, tanh_mlp
from torch import nn
from torch.nn import functional as F

from ntkflow import empirical_ntk, gradient_norms, laplacian
from ntkflow.empirical.kernel import pose
from ntkflow.empirical.methods import compute
from ntkflow.errors import ConfigurationError, UnsupportedLayerError

torch.set_num_threads(1)


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def plain_norms(network, x):
    return torch.cat(list(plain_jacobian(network, x).values()), dim=2).norm(dim=2).mT


def equal(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9 * expected.abs().max().item())


@pytest.mark.parametrize("name", CASES)
def test_norms_are_those_of_plain_autograd(name):
    network, x = build(CASES[name])
    equal(gradient_norms(network, x), plain_norms(network, x))


def at_two_places():
    layers = [nn.Linear(4, 20), nn.Tanh(), nn.Linear(20, 20), nn.Tanh()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(40, 3)).double()


def convolutional():
    layers = [nn.Conv2d(2, 9, 3, padding=1), nn.Tanh(), nn.Conv2d(9, 9, 2), nn.Tanh()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(9, 3)).double()


NETWORKS = {
    "dense": lambda: (tanh_mlp(4, 3).double(), draw(5, 4)),
    "two places": lambda: (at_two_places(), draw(5, 2, 4)),
    "convolutions": lambda: (convolutional(), draw(5, 2, 3, 3)),
    "tokens": lambda: (
        nn.Sequential(nn.Embedding(30, 9), nn.Tanh(), nn.Flatten(), nn.Linear(27, 2)).double(),
        torch.randint(0, 4, (5, 3)),
    ),
    "readout alone": lambda: (nn.Linear(4, 3).double(), draw(5, 4)),
}


@pytest.mark.parametrize("budget", [None, 1, 3000])
@pytest.mark.parametrize("method", ["layerwise", "jacobian", "autograd"])
@pytest.mark.parametrize("name", NETWORKS)
def test_methods_and_budgets(name, method, budget):
    torch.manual_seed(0)
    network, x = NETWORKS[name]()
    options = dict(parameters=None, output=None, operator=None, dtype=None, by_layer=False)
    task, _ = pose(network, x, None, "diagonal", memory_budget=budget, **options)
    found, parts = compute(replace(task, own_rows=True), method)
    assert found == method
    equal(parts[""].sqrt(), plain_norms(network, x))


def test_they_are_the_diagonal_of_the_kernel():
    network, x = convolutional(), draw(6, 2, 3, 3)
    kernel = empirical_ntk(network, x, outputs="diagonal", parameters="*bias").values
    equal(gradient_norms(network, x, parameters="*bias") ** 2, kernel.diagonal(0, 1, 2))


def test_of_an_operator():
    network, x = tanh_mlp(3, 2).double(), draw(4, 3)
    kernel = empirical_ntk(network, x, operator=laplacian, outputs="diagonal").values
    equal(gradient_norms(network, x, operator=laplacian) ** 2, kernel.diagonal(0, 1, 2))


def test_one_row_and_parameters_that_do_not_act():
    network, x = tanh_mlp(3, 2).double(), draw(1, 3)
    equal(gradient_norms(network, x), plain_norms(network, x))
    network.unused = nn.Linear(2, 2).double()
    idle = Net(lambda net, x: net.body[:3](x), body=network)
    assert not gradient_norms(idle, x, parameters="body.unused.*").any()
    equal(gradient_norms(idle, x), plain_norms(network[:3], x))


def losses(network, x, y):
    """Gradient norms of cross-entropies, row by row."""
    rows = []
    for n in range(len(y)):
        network.zero_grad()
        F.cross_entropy(network(*(each[n : n + 1] for each in x)), y[n : n + 1]).backward()
        rows.append(torch.cat([p.grad.flatten() for p in network.parameters()]).norm())
    network.zero_grad()
    return torch.stack(rows)[None]


@pytest.mark.parametrize("form", ["tensor", "tuple", "dict"])
def test_of_a_loss(form):
    torch.manual_seed(0)
    network = tanh_mlp(4, 3).double()
    x, y = draw(5, 4), torch.tensor([0, 2, 1, 1, 0])
    each = {"tensor": x, "tuple": (x,), "dict": {"input": x}}[form]
    found = gradient_norms(network, each, loss=nn.CrossEntropyLoss(reduction="none"), targets=y)
    equal(found, losses(network, (x,), y))


def test_type():
    network, x = tanh_mlp(4, 3), torch.randn(5, 4)
    double = gradient_norms(network, x, dtype=torch.float64)
    equal(double, plain_norms(tanh_copy(network), x.double()))
    short = gradient_norms(network, x, dtype=torch.bfloat16)
    assert short.dtype == torch.float32
    torch.testing.assert_close(short.double(), double, rtol=0.1, atol=0.02)


def tanh_copy(network):
    copy = tanh_mlp(4, 3)
    copy.load_state_dict(network.state_dict())
    return copy.double()


X, Y = torch.randn(4, 3), torch.randn(4, 2)
ENTROPIES = nn.CrossEntropyLoss(reduction="none")


def squares(f, y):
    return (f - y).square().sum(1)


MISTAKES = {
    "no targets": (dict(loss=F.mse_loss), ConfigurationError, "loss: needs targets and no oper"),
    "no loss": (dict(targets=Y), ConfigurationError, "loss: needs targets and no operator"),
    "both": (
        dict(loss=F.mse_loss, targets=Y, operator=laplacian),
        ConfigurationError,
        "loss: needs targets and no operator",
    ),
    "mean": (
        dict(loss=F.mse_loss, targets=Y),
        UnsupportedLayerError,
        r'loss: returns shape \(\) for 1 row\(s\); .*reduction="none"',
    ),
    "rows": (
        dict(loss=squares, targets=Y[:3]),
        ConfigurationError,
        r"targets: shape \(3, 2\) .* 4 r",
    ),
    "one target": (dict(loss=squares, targets=Y[0, 0]), ConfigurationError, r"targets: shape \(\)"),
    "a word": (
        dict(loss="mse", targets=Y),
        ConfigurationError,
        "loss: 'mse' is not allowed; use a function of outputs and targets",
    ),
    "nothing": (
        dict(loss=lambda f, y: None, targets=Y),
        UnsupportedLayerError,
        "loss: returns a NoneType for 1 row",
    ),
    "no class": (
        dict(loss=ENTROPIES, targets=torch.tensor([5, 0, 0, 0])),
        ConfigurationError,
        "loss: fails for these outputs and targets: Target 5 is out of bounds",
    ),
    "no class later": (
        dict(loss=ENTROPIES, targets=torch.tensor([0, 0, 7, 0])),
        ConfigurationError,
        "loss: fails for these outputs and targets: Target 7 is out of bounds",
    ),
    "no class in another type": (
        dict(loss=ENTROPIES, targets=torch.tensor([5, 0, 0, 0]), dtype=torch.float64),
        ConfigurationError,
        "loss: fails for these outputs and targets: Target 5 is out of bounds",
    ),
    "type": (
        dict(loss=ENTROPIES, targets=torch.zeros(4)),
        ConfigurationError,
        "loss: fails for these outputs and targets: expected target dtype",
    ),
    "type in another type": (
        dict(loss=ENTROPIES, targets=torch.zeros(4), dtype=torch.float64),
        ConfigurationError,
        "loss: fails for these outputs and targets: expected target dtype",
    ),
    "one argument": (
        dict(loss=lambda f: f.sum(1), targets=Y),
        ConfigurationError,
        "loss: fails for these outputs and targets: .* takes 1 positional argument",
    ),
    "its own": (
        dict(loss=lambda f, y: 1 / 0, targets=Y),
        ConfigurationError,
        "loss: fails for these outputs and targets: division by zero",
    ),
}


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_an_error_in_one_line(name):
    options, kind, words = MISTAKES[name]
    with pytest.raises(kind, match=f"^{words}") as caught:
        gradient_norms(tanh_mlp(3, 2), X, **options)
    assert "\n" not in str(caught.value)


def test_a_loss_that_no_transform_takes_goes_by_plain_autograd():
    network = tanh_mlp(3, 2).double()
    x, y = X.double(), torch.tensor([0, 1, 1, 0])

    def loss(f, y):
        assert all(each.item() < 2 for each in y)
        return F.cross_entropy(f, y, reduction="none")

    equal(gradient_norms(network, x, loss=loss, targets=y), losses(network, (x,), y))
