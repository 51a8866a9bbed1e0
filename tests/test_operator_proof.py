"""Products of an operator are those of plain autograd, or refused: on every kind of network."""

import copy

import pytest
import torch
from architecture_odd import Cube
from never_wrong_cases import CASES, INTERACTING
from never_wrong_networks import Broken, Net, build, plain_kernels, tanh_mlp, two
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import spectral_norm

from ntkflow import empirical_ntk, ntk_operator, top_eigenpairs
from ntkflow.errors import ConfigurationError, UnsupportedLayerError

torch.set_num_threads(1)

X = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
PLAIN = {"cdist", "gradient clipped", "bag", "alias"}
# Without dual numbers: a backward of its own, or torch.autograd.grad in the forward pass.
REVERSE = {"burgers", "force", "energy and force", "hamiltonian", "hamiltonian, dense"}
REVERSE |= {"gradient penalty", "force on an image", "function", "gradient reversed"}
REVERSE |= {"gradient doubled", "packed", "normalised weights"}


def matrix(network, x1, x2):
    """The dense operator, row by row and output by output."""
    block = sum(plain_kernels(network, x1, x2).values())
    return block.permute(2, 0, 3, 1).flatten(0, 1).flatten(1)


def right(operator, expected, rtol=1e-10):
    found = operator @ torch.eye(expected.shape[1], dtype=operator.dtype)
    torch.testing.assert_close(
        found.to(expected), expected, rtol=0, atol=rtol * expected.abs().max()
    )


@pytest.mark.parametrize("budget", [1, None])
@pytest.mark.parametrize("name", CASES)
def test_operator_is_that_of_plain_autograd(name, budget):
    network, x = build(CASES[name])
    symmetric = ntk_operator(network, x, memory_budget=budget)
    right(symmetric, matrix(network, x, x))
    cross = ntk_operator(network, x[:1], x[1:], memory_budget=budget)
    right(cross, matrix(network, x[:1], x[1:]))
    right(cross.T, matrix(network, x[1:], x[:1]))
    methods = {symmetric.method, cross.method, cross.T.method}
    kept = "double_backward" if budget is None or name in REVERSE else "forward_mode"
    assert methods == {"autograd" if name in PLAIN else kept}


@pytest.mark.parametrize("name", CASES)
def test_network_and_inputs_stay_as_they_were(name):
    network, x = build(CASES[name])
    given, before = x.clone(), copy.deepcopy(network.state_dict())
    operator = ntk_operator(network, x)
    product = operator @ torch.ones(operator.shape[0], dtype=torch.float64)
    assert torch.equal(x, given)
    assert not product.requires_grad
    assert all(torch.equal(before[name], p) for name, p in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())


@pytest.mark.parametrize("name", INTERACTING)
def test_rows_that_interact_are_refused(name):
    network, x = build(INTERACTING[name], n=5)
    for sides in [(x,), (x[:1], x[1:]), (x[1:], x[:1])]:
        with pytest.raises(UnsupportedLayerError, match=r"^network: .*rows interact"):
            ntk_operator(network, *sides)


def hooked(change):
    """A network with the gradient of its hidden layer changed."""

    def forward(net, x):
        h = net.a(x)
        if h.requires_grad:
            h.register_hook(change)
        return net.b(h.tanh())

    torch.manual_seed(0)
    return two(forward).double()


@pytest.mark.parametrize(
    "change",
    [
        lambda gradient: gradient.clamp(-100, 100),
        lambda gradient: gradient + 1e-3,
        lambda gradient: gradient.abs(),
        lambda gradient: gradient / (1 + gradient.norm()),
        lambda gradient: gradient.detach(),
        lambda gradient: gradient.float().double(),
    ],
)
def test_a_gradient_that_is_not_linear_or_has_no_derivative(change):
    network = hooked(change)
    operator, expected = ntk_operator(network, X), matrix(network, X, X)
    right(operator, expected)
    vector = 1e9 * torch.ones(10, dtype=torch.float64)
    product = expected @ vector
    torch.testing.assert_close(operator @ vector, product, rtol=1e-9, atol=0)


def test_a_cut_far_off_stays_out_of_reach_of_vectors_of_any_size():
    network = hooked(lambda gradient: gradient.clamp(-1e6, 1e6))
    operator, vector = ntk_operator(network, X), 1e12 * torch.ones(10, dtype=torch.float64)
    assert operator.method == "double_backward"
    torch.testing.assert_close(operator @ vector, matrix(network, X, X) @ vector)


def test_middle_rows_without_a_second_derivative():
    """First and last row do not meet the distance, which torch differentiates once."""

    def forward(net, x):
        h = net.a(x)
        distances = torch.cdist(h, net.a.weight.T[:1].expand(2, -1))
        return (
            net.b(h.tanh()) + torch.where(x[:, :1] > 0, distances, 0) if far(x) else net.b(h.tanh())
        )

    def far(x):
        return (x[:, 0] > 0).any()

    torch.manual_seed(0)
    network, x = two(forward).double(), X.clone()
    x[:, 0] = -1
    x[1, 0] = 1
    operator = ntk_operator(network, x, memory_budget=1)
    right(operator, matrix(network, x, x))
    right(ntk_operator(network, x), matrix(network, x, x))
    assert operator.method == "autograd"


def test_what_torch_cannot_differentiate_is_refused_in_one_line():
    network = two(lambda net, x: net.b(Broken.apply(net.a(x)))).double()
    with pytest.raises(UnsupportedLayerError, match=r"^network: torch cannot diff.*: no deriv\w+$"):
        ntk_operator(network, X)


def test_kinks_that_rounding_crosses_are_no_deviation():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 2))
    x = torch.randn(6, 64)
    with torch.no_grad():
        network[0].bias.copy_(-F.linear(x[:1], network[0].weight)[0])
    assert ntk_operator(network, x).method == "double_backward"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_coarse_types(dtype):
    network = tanh_mlp(4, 2)
    expected = matrix(copy.deepcopy(network).double(), X, X)
    operator = ntk_operator(network.to(dtype), X.to(dtype))
    assert operator.method == "double_backward"
    right(operator, expected, rtol=1e-5 if dtype == torch.float32 else 0.05)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_once_differentiable_in_every_type(dtype):
    network = two(lambda net, x: net.b(Cube.apply(net.a(x)))).double()
    expected = matrix(network, X, X)
    operator = ntk_operator(network, X, dtype=dtype)
    assert (operator.method, operator.dtype) == ("autograd", dtype)
    right(operator, expected, rtol=1e-10 if dtype == torch.float64 else 1e-5)


def test_alias_in_another_type_and_replaced():
    network, x = build(CASES["alias"])
    expected = matrix(network, x, x)
    right(ntk_operator(network.float(), x.float(), dtype=torch.float64), expected, rtol=1e-5)
    other = {name: torch.randn_like(p) for name, p in network.named_parameters()}
    with pytest.raises(UnsupportedLayerError, match="'middle' cannot be replaced"):
        ntk_operator(network, x.float(), parameters=other)


def test_network_that_cannot_be_copied_into_another_type():
    network = nn.Sequential(spectral_norm(nn.Linear(4, 3)), nn.Tanh(), nn.Linear(3, 2))
    network(X.float())
    with pytest.raises(UnsupportedLayerError, match=r"^network: cannot be copied .*dtype=$"):
        ntk_operator(network.eval(), X.float(), dtype=torch.float64)


@pytest.mark.parametrize("budget", [1, None])
def test_network_that_was_trained_since(budget):
    network = tanh_mlp(4, 2).double()
    operator, ones = ntk_operator(network, X, memory_budget=budget), torch.ones(10).double()
    cross = ntk_operator(network, X, X[:2], memory_budget=budget)
    copied = ntk_operator(network, X, dtype=torch.float64, memory_budget=budget)
    before = copied @ ones
    with torch.no_grad():
        network[0].bias += 1
    for each, vector in [(operator, ones), (cross, ones[:4]), (cross.T, ones)]:
        with pytest.raises(ConfigurationError, match=r"^network: .*changed in place"):
            each @ vector
    assert torch.equal(copied @ ones, before)


def test_inputs_written_into_since():
    network, x = tanh_mlp(4, 2).double(), X.clone()
    operators = [ntk_operator(network, x), ntk_operator(network, X, (x,), memory_budget=1)]
    x[0] = 0
    for operator in operators:
        with pytest.raises(ConfigurationError, match="x was changed in place"):
            operator @ torch.ones(10).double()


def test_inside_inference_mode():
    network = tanh_mlp(4, 2).double()
    expected = matrix(network, X, X)
    with torch.inference_mode():
        right(ntk_operator(network, X * 1, X * 1), expected)
        right(ntk_operator(network, X * 1, memory_budget=1), expected)


def test_outputs_that_do_not_depend_on_the_parameters():
    network = Net(lambda net, x: net.a(x).detach(), a=nn.Linear(4, 2)).double()
    operator = ntk_operator(network, X)
    assert not (operator @ torch.ones(10).double()).any()


def test_eigenpairs_by_plain_autograd():
    network, x = build(CASES["gradient clipped"])
    top = top_eigenpairs(ntk_operator(network, x), 2)
    exact = torch.linalg.eigvalsh(matrix(network, x, x)).flip(0)
    torch.testing.assert_close(top.values, exact[:2], rtol=1e-10, atol=0)
    kernel = empirical_ntk(network, x, outputs="trace").values
    estimate = ntk_operator(network, x).trace(samples=200)
    assert (estimate.value - kernel.trace()).abs() < 4 * estimate.standard_error
