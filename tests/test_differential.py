"""Kernels of differential operators are those of plain autograd, row by row in float64."""

import importlib.util
from pathlib import Path

import pytest
import torch
from never_wrong_networks import Net, slope, tanh_mlp
from never_wrong_networks import plain_kernels as kernels_of
from torch import nn
from torch.func import grad, hessian, jvp, vmap
from torch.utils.checkpoint import checkpoint

from ntkflow import empirical_ntk, explain, gradient, laplacian
from ntkflow.errors import ConfigurationError, UnsupportedLayerError

torch.set_num_threads(1)

EXAMPLE = Path(__file__).parents[1] / "examples" / "physics_informed.py"
METHODS = ["auto", "layerwise", "jacobian", "vector_product", "autograd"]


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def equal(found, expected):
    size = expected.abs().max()
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10 * size)


def burgers(f, x):
    u = f(x)
    g = slope(u, x)
    return slope(g[:, 0], x)[:, :1] + u * g[:, 1:]


def burgers_by_torch_func(f, x):
    def at(row):
        return f(row[None])[0, 0]

    def of_row(row):
        return hessian(at)(row)[0, 0] + at(row) * grad(at)(row)[1]

    return vmap(of_row)(x)[:, None]


def burgers_by_products(f, x):
    directions = torch.eye(2, dtype=x.dtype)

    def along(function, i):
        return lambda x: jvp(function, (x,), (directions[i].expand_as(x),))[1]

    return along(along(f, 0), 0)(x) + f(x) * along(f, 1)(x)


def written_out(f, x):
    """Laplacians of two outputs, by plain autograd."""
    u = f(x)
    each = [
        sum(slope(slope(u[:, o], x)[:, i], x)[:, i] for i in range(x.shape[1])) for o in range(2)
    ]
    return torch.stack(each, dim=1)


def gradients(f, x):
    u = f(x)
    return torch.stack([slope(u[:, o], x) for o in range(u.shape[1])], dim=1)


def convolutional():
    layers = [nn.Conv2d(1, 2, 2), nn.Tanh(), nn.Flatten(), nn.Linear(8, 2)]
    return nn.Sequential(*layers)


# Network, the operator, the same by plain autograd, and the shape of a row.
CASES = {
    "burgers": (lambda: tanh_mlp(2, 1), burgers, burgers, (2,)),
    "torch.func": (lambda: tanh_mlp(2, 1), burgers_by_torch_func, burgers, (2,)),
    "products": (lambda: tanh_mlp(2, 1), burgers_by_products, burgers, (2,)),
    "laplacian": (lambda: tanh_mlp(3, 2), laplacian, written_out, (3,)),
    "gradient": (lambda: tanh_mlp(3, 2), gradient, gradients, (3,)),
    "gradient by image": (convolutional, gradient, gradients, (1, 3, 3)),
    "gradient of a linear network": (lambda: nn.Linear(3, 2), gradient, gradients, (3,)),
    "f and more": (
        lambda: tanh_mlp(3, 2),
        lambda f, x: torch.cat([f(x), laplacian(f, x)], 1),
        lambda f, x: torch.cat([f(x), written_out(f, x)], 1),
        (3,),
    ),
    "biharmonic": (
        lambda: tanh_mlp(3, 2),
        lambda f, x: laplacian(lambda x: laplacian(f, x), x),
        lambda f, x: written_out(lambda x: written_out(f, x), x),
        (3,),
    ),
}


def make(name, rows=4):
    torch.manual_seed(0)
    network, operator, plain, shape = CASES[name]
    return network().double(), operator, plain, draw(rows, *shape)


def plain_kernels(network, plain, x1, x2=None):
    """Kernels by parameter of a network that applies the operator to single rows."""

    def forward(net, x):
        return plain(net.body, x.detach().clone().requires_grad_()).flatten(1)

    found = kernels_of(Net(forward, body=network), x1, x1 if x2 is None else x2)
    return {name.removeprefix("body."): part for name, part in found.items()}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", CASES)
def test_kernel_is_that_of_plain_autograd(name, method):
    network, operator, plain, x = make(name)
    given = x.clone()
    expected = sum(plain_kernels(network, plain, x).values())
    kernel = empirical_ntk(network, x, operator=operator, method=method)
    assert method in ("auto", kernel.method)
    equal(kernel.values, expected)
    assert torch.equal(x, given)
    assert not x.requires_grad


@pytest.mark.parametrize("method", METHODS)
def test_forms_of_a_kernel(method):
    network, operator, plain, x = make("laplacian", rows=5)
    parts = plain_kernels(network, plain, x[:3], x[3:])
    block = sum(parts.values())
    options = dict(operator=operator, method=method)
    found = empirical_ntk(network, x[:3], x[3:], memory_budget=1, by_layer=True, **options)
    equal(found.values, block)
    for name, part in parts.items():
        torch.testing.assert_close(found.by_parameter[name], part, rtol=1e-10, atol=1e-12)
    equal(found.by_layer["0"], parts["0.weight"] + parts["0.bias"])
    mean = empirical_ntk(network, x[:1], x[3:], outputs="mean", **options).values
    equal(mean, (block[0, 0] + block[1, 1])[:1] / 2)
    chosen = empirical_ntk(network, x[:3], x[3:], parameters="2.*", outputs=1, **options).values
    equal(chosen, (parts["2.weight"] + parts["2.bias"])[1, 1])


@pytest.mark.parametrize("method", METHODS)
def test_function_of_a_pytree(method):
    network, operator, plain, x = make("burgers")
    parameters = dict(network.named_parameters())

    def function(parameters, x):
        return torch.func.functional_call(network, parameters, (x,))

    found = empirical_ntk(function, x, parameters=parameters, operator=operator, method=method)
    equal(found.values, sum(plain_kernels(network, plain, x).values()))


class Operand(nn.Module):
    """A network of functions and places, as an operator network is."""

    def __init__(self):
        super().__init__()
        self.branch, self.trunk = tanh_mlp(3, 4), tanh_mlp(2, 4)

    def forward(self, values, place, scale=1):
        return {"u": scale * (self.branch(values) * self.trunk(place)).sum(1, keepdim=True)}


def by_place(f, x):
    place = x["place"] if isinstance(x, dict) else x[1]
    return slope(f(x), place)


@pytest.mark.parametrize("form", ["tuple", "list", "dict"])
@pytest.mark.parametrize("method", METHODS)
def test_several_inputs(form, method):
    """The operator gets them as they were given, and may call f with others."""
    torch.manual_seed(0)
    network, (values, place) = Operand().double(), (draw(4, 3), draw(4, 2))
    members = {"values": values, "place": place, "scale": 2}
    x = members if form == "dict" else {"tuple": tuple, "list": list}[form](members.values())
    kernel = empirical_ntk(network, x, operator=by_place, output="u", method=method)
    joined = Net(lambda net, x: net.body(x[:, :3], x[:, 3:], 2)["u"], body=network)
    both = torch.cat([values, place], 1)
    expected = plain_kernels(joined, lambda f, x: slope(f(x), x)[:, 3:], both)
    equal(kernel.values, sum(expected.values()))
    assert not place.requires_grad


def test_numbers_beside_the_network_s_inputs():
    """A loss of every row: targets are rows of x that the network does not get."""
    network, _, _, x = make("laplacian")
    y = draw(4, 2)
    found = empirical_ntk(
        network, (x, y), operator=lambda f, x: (f(x[0]) - x[1]).square().sum(1) / 2
    ).values
    residual = network(x).detach() - y
    expected = torch.einsum("no,opnm,mp->nm", residual, empirical_ntk(network, x).values, residual)
    equal(found[0, 0], expected)


def test_whole_numbers_take_no_gradients():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(8, 2)).double()
    ids = torch.randint(0, 9, (4, 2))
    for method in METHODS:
        found = empirical_ntk(network, ids, operator=lambda f, x: f(x) ** 2, method=method).values
        plain = Net(lambda net, x: net.body(x) ** 2, body=network)
        equal(found, sum(kernels_of(plain, ids, ids).values()))


def test_networks_that_torch_func_does_not_take():
    """Checkpoints and x that is written to."""
    torch.manual_seed(0)
    body = tanh_mlp(3, 2).double()
    network = Net(lambda net, x: checkpoint(net.body, x.mul_(2), use_reentrant=False), body=body)
    x = draw(4, 3)
    twice = Net(lambda net, x: net.body(2 * x), body=body)
    expected = plain_kernels(twice, written_out, x)
    equal(empirical_ntk(network, x, operator=laplacian).values, sum(expected.values()))


def test_values():
    def f(x):
        return torch.stack([x[:, 0] ** 2 * x[:, 1], x[:, 1] ** 3], dim=1)

    x = draw(4, 2)
    a, b = x.unbind(1)
    zero = torch.zeros_like(a)
    equal(laplacian(f, x), torch.stack([2 * b, 6 * b], 1))
    equal(gradient(f, x)[:, 0], torch.stack([2 * a * b, a**2], 1))
    equal(gradient(f, x)[:, 1], torch.stack([zero, 3 * b**2], 1))
    assert not laplacian(lambda x: x @ torch.ones_like(x).T, x).any()
    with torch.no_grad():
        assert laplacian(f, x).requires_grad
    equal(gradient(lambda x: x.square(), x[:, 0])[:, 0], 2 * a)


def test_the_example_trains_and_draws(tmp_path, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    spec = importlib.util.spec_from_file_location("physics_informed", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    monkeypatch.setattr(example, "STEPS", 200)
    plain, balanced = example.train(False), example.train(True)
    assert plain["steps"][-1] == 200
    assert balanced["ends"][-1] < plain["ends"][-1] / 4
    assert balanced["inside"][-1] < balanced["inside"][0] / 2
    example.draw(plain, balanced, str(tmp_path / "figure.png"))
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_explain_of_an_operator():
    network, operator, _, x = make("burgers")
    found = explain(network, x, operator=operator)
    assert found.method == empirical_ntk(network, x, operator=operator).method
    assert found.shape == (4, 4, 1)
    assert explain(network, x, operator=gradient).shape == (4, 4, 2)


def test_no_values_are_needed():
    network, x = tanh_mlp(3, 2).to("meta"), torch.empty(4, 3, device="meta")
    for method in METHODS:
        values = empirical_ntk(network, x, operator=gradient, method=method).values
        assert (values.shape, values.is_meta) == ((6, 6, 4, 4), True)


WRONG = {
    "no function": (3, ConfigurationError, "operator: int is not allowed; use a function of"),
    "a sum": (lambda f, x: f(x).sum(), UnsupportedLayerError, r"operator: returns shape \(\) for"),
    "a tuple": (lambda f, x: (f(x),), UnsupportedLayerError, "operator: returns a tuple of 1"),
    "no graph": (
        lambda f, x: torch.autograd.grad(f(x).sum(), x)[0],
        ConfigurationError,
        "operator: torch.autograd.grad without create_graph=True leaves out how",
    ),
    "half a graph": (
        lambda f, x: f(x) * torch.autograd.grad(f(x).sum(), x, create_graph=False)[0][:, :1],
        ConfigurationError,
        "operator: torch.autograd.grad without create_graph=True",
    ),
    "no graph of what is in x.grad": (
        lambda f, x: (f(x).sum().backward(), x.grad)[1],
        ConfigurationError,
        "operator: backward without create_graph=True leaves out how",
    ),
    "rows interact": (
        lambda f, x: f(x) - f(x).mean(0),
        UnsupportedLayerError,
        "network: the outputs of a row change with the rows beside it",
    ),
    "array": (
        lambda f, x: f(x.detach().numpy()),
        ConfigurationError,
        r"operator: x of f\(x\): ndarray is not allowed",
    ),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.usefixtures("unchecked_types")
def test_wrong_operators_are_an_error_in_one_line(name):
    operator, kind, words = WRONG[name]
    network, _, _, x = make("laplacian")
    with pytest.raises(kind, match=f"^{words}") as caught:
        empirical_ntk(network, x, operator=operator)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("unchecked_types")
def test_other_inputs_of_ready_operators_are_an_error():
    for operator in (gradient, laplacian):
        with pytest.raises(ConfigurationError, match=r"^x: tuple is not allowed; use a torch"):
            operator(lambda x: x, (draw(3, 2),))
        with pytest.raises(ConfigurationError, match=r"^x: int64 has no derivatives; use floating"):
            operator(lambda x: x, torch.ones(3, 2, dtype=torch.int64))
