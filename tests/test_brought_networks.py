"""Kernels of networks as people write them by hand are those of plain autograd, or refused."""

import copy

import numpy as np
import pytest
import torch
from brought_networks import NETWORKS, hooked_weight, masked, two_layers, vectors
from torch import nn

from ntkflow import empirical_ntk, gradient_norms, ntk_operator
from ntkflow.errors import UnsupportedLayerError

# torch says so where vmap falls back on a loop, and that complex modules are new.
pytestmark = [
    pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning"),
    pytest.mark.filterwarnings("ignore:Complex modules are a new feature:UserWarning"),
]
QUICK = ["state from none", "tensor in place", "masked gradient", "complex matrix"]
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS if name not in QUICK]


def in_double(tensor):
    return tensor.to(torch.complex128 if tensor.is_complex() else torch.float64)


def build(name):
    torch.manual_seed(0)
    make, inputs = NETWORKS[name]
    network, x = make()._apply(in_double).eval(), inputs(5)
    if isinstance(getattr(network, "state", None), torch.Tensor):
        network.state = network.state.double()
    return network, x


def plain_rows(network, x):
    """Gradients (N, O, P) as real numbers, each row by a network that was never called."""
    rows = []
    for row in x.split(1):
        fresh = with_hooks(copy.deepcopy(network), network)
        found = []
        for output in fresh(row).flatten():
            fresh.zero_grad()
            output.backward(retain_graph=True)
            found.append(torch.cat([_numbers(p) for p in fresh.parameters()]))
        rows.append(torch.stack(found))
    return torch.stack(rows)


def with_hooks(copied, network):
    """A copy of a network lacks the hooks of its parameters."""
    for p, other in zip(network.parameters(), copied.parameters(), strict=True):
        for hook in (p._backward_hooks or {}).values():
            other.register_hook(hook)
    return copied


def _numbers(p):
    gradient = torch.zeros_like(p) if p.grad is None else p.grad
    return (torch.view_as_real(gradient) if p.is_complex() else gradient).flatten()


def right(found, expected):
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-10 * expected.abs().max()


@pytest.mark.parametrize("name", [*QUICK, *SLOW])
def test_kernels_are_those_of_plain_autograd(name):
    network, x = build(name)
    rows = plain_rows(network, x)
    block = torch.einsum("nop,mqp->oqnm", rows, rows)
    before = vars(network).copy()
    for _ in range(2):
        right(empirical_ntk(network, x).values, block)
    right(empirical_ntk(network, x[:3], x[3:], memory_budget=1).values, block[..., :3, 3:])
    right(empirical_ntk(network, x[:1], x, outputs="trace").values, block.diagonal().sum(-1)[:1])
    squares = block.diagonal().diagonal()
    right(gradient_norms(network, x).square(), squares)
    parts = empirical_ntk(network, x, by_layer=True).by_parameter
    right(sum(parts.values()), block)
    vector = torch.randn(rows.shape[0] * rows.shape[1], dtype=torch.float64)
    matrix = block.permute(2, 0, 3, 1).flatten(2).flatten(0, 1)
    right(ntk_operator(network, x) @ vector, matrix @ vector)
    assert vars(network).keys() == before.keys()
    assert all(vars(network)[name] is value for name, value in before.items())


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_methods_are_right_or_refuse(name):
    network, x = build(name)
    rows = plain_rows(network, x)
    for method in ("layerwise", "jacobian", "vector_product", "autograd"):
        refusal = ""
        try:
            found = empirical_ntk(network, x, method=method).values
        except UnsupportedLayerError as error:
            refusal = str(error)
        else:
            right(found, torch.einsum("nop,mqp->oqnm", rows, rows))
        assert not refusal or (method != "autograd" and refusal.startswith(f"method: '{method}' "))
        assert "\n" not in refusal


def test_a_hook_that_comes_later_is_seen():
    network, x = two_layers(lambda net, x: net.b(net.a(x).tanh())).double().eval(), vectors(4)
    assert empirical_ntk(network, x).method == "layerwise"
    network.a.weight.register_hook(masked)
    rows = plain_rows(network, x)
    found = empirical_ntk(network, x)
    assert found.method == "autograd"
    right(found.values, torch.einsum("nop,mqp->oqnm", rows, rows))


def test_copies_in_another_type_keep_hooks_and_complex_numbers():
    for network in (hooked_weight(masked), NETWORKS["complex filter"][0]()):
        torch.manual_seed(0)
        x = vectors(3)
        found = ntk_operator(network, x.float(), dtype=torch.float64) @ torch.ones(6).double()
        expected = empirical_ntk(network, x.float(), dtype=torch.float64).values.sum((1, 3)).mT
        right(found, expected.flatten())


@pytest.mark.parametrize("rows", [1, 4])
def test_chance_that_torch_does_not_count_is_refused(rows):
    generator = np.random.default_rng(0)
    network = two_layers(lambda net, x: net.b(net.a(x).tanh() * generator.random()))
    with pytest.raises(UnsupportedLayerError, match="other outputs for the same row"):
        empirical_ntk(network.double().eval(), vectors(rows))


@pytest.mark.parametrize("layer", [nn.Embedding, nn.EmbeddingBag])
def test_gradients_divided_by_counts_are_refused(layer):
    network = nn.Sequential(layer(7, 3, scale_grad_by_freq=True), nn.Flatten())
    with pytest.raises(UnsupportedLayerError, match="scale_grad_by_freq to False"):
        empirical_ntk(network.eval(), torch.randint(0, 7, (3, 4)))
