"""What networks write into themselves, and hooks on their parameters, against plain autograd."""

from collections import Counter, OrderedDict, defaultdict, deque
from copy import deepcopy

import pytest
import torch
from torch import nn

from ntkflow import empirical_ntk, gradient_norms, ntk_operator
from ntkflow.empirical.keeping import kept_attributes
from ntkflow.errors import UnsupportedLayerError


class Written(nn.Module):
    """A layer between two dense ones that runs code of the test."""

    def __init__(self, write):
        super().__init__()
        self.first, self.last = nn.Linear(4, 3), nn.Linear(3, 2)
        self.write = write

    def forward(self, x):
        return self.last(self.write(self, self.first(x).tanh()))


def rows_alone(network, x):
    """Kernel of plain gradients, each of one row and one output of a fresh copy of the network."""
    gradients = []
    for row in x:
        for output in range(deepcopy(network)(row[None]).shape[1]):
            copied = deepcopy(network)
            for p, q in zip(network.parameters(), copied.parameters(), strict=True):
                for hook in (p._backward_hooks or {}).values():
                    q.register_hook(hook)
            grads = torch.autograd.grad(copied(row[None])[0, output], [*copied.parameters()])
            gradients.append(torch.cat([g.flatten() for g in grads]))
    rows = torch.stack(gradients)
    return rows @ rows.T


def assert_right(network, x):
    expected = rows_alone(network, x)
    found = empirical_ntk(network, x).values.permute(2, 0, 3, 1).reshape(expected.shape)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    product = ntk_operator(network, x) @ torch.eye(len(expected), dtype=expected.dtype)
    torch.testing.assert_close(product, expected, rtol=1e-9, atol=1e-11)


def counted(self, x):
    self.seen["calls"].add_(1)
    return x * self.seen["calls"]


def registered(self, x):
    if hasattr(self, "scale"):
        self.scale.add_(1)
    else:
        self.register_buffer("scale", torch.full((1,), 2.0, dtype=x.dtype))
    return x * self.scale


def twice(self, x):
    self.state.add_(1)
    return x * self.same + len(self.seen)


WRITES = {"tensor in a dictionary": counted, "buffer": registered, "tensor of two names": twice}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_what_a_network_writes_into_itself_is_put_back(write):
    torch.manual_seed(0)
    network = Written(write).double()
    network.seen = {"calls": torch.zeros((), dtype=torch.float64)}
    network.state = network.same = torch.ones(3, dtype=torch.float64)
    assert_right(network, torch.randn(5, 4, dtype=torch.float64))
    assert network.seen["calls"].item() == 0
    assert network.state.tolist() == [1.0, 1.0, 1.0]
    assert not hasattr(network, "scale")


CONTAINERS = [[1, 2], {"a": 1}, {1, 2}, deque([1]), OrderedDict(a=1, b=2), Counter(a=2)]


@pytest.mark.parametrize("value", [*CONTAINERS, defaultdict(int, a=1)], ids=repr)
def test_containers_hold_what_they_held(value):
    network, before = nn.Linear(2, 1), deepcopy(value)
    network.value = value
    with kept_attributes([network]):
        if isinstance(value, dict):
            value["new"], value["a"] = 3, 4
        elif isinstance(value, set):
            value.add(9)
            value.remove(1)
        else:
            value.append(3)
            value[0] = 7
    assert network.value is value
    assert value == before


def test_what_is_too_large_to_be_put_back_is_refused():
    network = nn.Linear(2, 1)
    network.large, network.long = torch.zeros(2**16 + 1), list(range(2000))

    def refused(name):
        return pytest.raises(
            UnsupportedLayerError, match=rf"writes into Linear\.{name}, so the next"
        )

    with refused("large"), kept_attributes([network]):
        network.large[0] = 1
    with refused("long"), kept_attributes([network]):
        network.long.append(1)


def test_a_network_is_whole_wherever_its_call_is_interrupted():
    network = nn.Linear(2, 1)
    network.state = torch.zeros(2)
    before = set(vars(network))

    def interrupted():
        with kept_attributes([network]):
            network.state, network.other = None, 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert set(vars(network)) == before
    assert network.state.tolist() == [0.0, 0.0]


def embedding():
    """A padding row whose gradient is masked; only the second and third row of x look it up."""
    network = nn.Sequential(nn.Embedding(7, 3), nn.Flatten(), nn.Linear(6, 2)).double()
    kept = torch.ones(7, 1, dtype=torch.float64)
    kept[0] = 0
    network[0].weight.register_hook(lambda g: g * kept)
    return network, torch.tensor([[1, 2], [0, 3], [0, 0], [4, 5]])


def test_hooks_act_on_rows_that_no_proof_has_seen():
    torch.manual_seed(0)
    network, x = embedding()
    assert_right(network, x)
    expected = rows_alone(network, x).diagonal().reshape(4, 2).T.sqrt()
    torch.testing.assert_close(gradient_norms(network, x), expected)
    for method in ("layerwise", "jacobian", "vector_product"):
        with pytest.raises(UnsupportedLayerError, match="passes over hooks of parameters; use"):
            empirical_ntk(network, x, method=method)


def test_a_hook_that_changes_is_followed():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)).double()
    mask = torch.ones(3, 4, dtype=torch.float64)
    network[0].weight.register_hook(lambda g: g * mask)
    x = torch.randn(5, 4, dtype=torch.float64)
    assert_right(network, x)
    mask[:2] = 0
    assert_right(network, x)


def test_hooks_that_are_never_called_are_refused():
    network = nn.Linear(2, 1)
    network.weight.register_post_accumulate_grad_hook(lambda p: None)
    with pytest.raises(UnsupportedLayerError, match=r"^parameter 'weight': a hook after"):
        empirical_ntk(network, torch.randn(3, 2))


def test_hooks_of_the_parameters_of_a_function_act():
    w = torch.randn(3, dtype=torch.float64, requires_grad=True)
    w.register_hook(lambda g: g * 0.5)
    x = torch.randn(4, 3, dtype=torch.float64)
    found = empirical_ntk(lambda p, x: x @ p["w"][:, None], x, parameters={"w": w}).values[0, 0]
    torch.testing.assert_close(found, 0.25 * x @ x.T)


def test_frequencies_matter_where_the_weight_is_differentiated():
    x = torch.tensor([[1, 1, 2], [3, 4, 5]])
    layers = nn.Embedding(7, 3, scale_grad_by_freq=True), nn.Flatten(), nn.Linear(9, 2)
    network = nn.Sequential(*layers)
    with pytest.raises(UnsupportedLayerError, match="divides gradients by how often"):
        empirical_ntk(network, x)
    assert empirical_ntk(network, x, parameters="2.*").values.isfinite().all()
    network.requires_grad_(False)
    with pytest.raises(UnsupportedLayerError, match="divides gradients by how often"):
        empirical_ntk(network, x, parameters={"0.weight": torch.randn(7, 3)})
