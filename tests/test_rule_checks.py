"""Rules of parameters whose gradient shows nothing, and rows whose place it does not show."""

from copy import deepcopy

import pytest
import torch
from never_wrong_networks import Net
from proved_networks import dense, is_right, rows
from torch import nn

from ntkflow import empirical_ntk
from ntkflow.empirical import layerwise
from ntkflow.empirical.factors import mapped


def adapted(net, x):
    return net.read(torch.tanh(net.base(x) + net.up(net.down(x))))


def time_first(net, x):
    s = torch.stack([x, x.square()])
    return net.read(torch.tanh(net.base(s) + net.up(net.down(s))).mean(0))


def turned(net, x):
    return net.read(torch.tanh(net.base(x) + net.up(net.down(x.flip(0)).flip(0))))


@pytest.mark.parametrize("forward", [adapted, time_first, turned])
def test_gradients_that_were_zero_prove_nothing(proofs, forward):
    layers = dict(base=nn.Linear(3, 6), down=nn.Linear(3, 2, bias=False))
    layers |= dict(up=nn.Linear(2, 6, bias=False), read=nn.Linear(6, 2))
    network = Net(forward, **layers).double().eval()
    nn.init.zeros_(network.up.weight)
    empirical_ntk(network, rows())
    nn.init.normal_(network.up.weight)
    empirical_ntk(network, rows())
    assert len(proofs) == 2
    assert is_right(network, rows())


# Rows that are turned are no matter of layers, and Jacobians have no rule.
@pytest.mark.parametrize(("forward", "looks"), [(adapted, 1), (time_first, 1), (turned, 2)])
def test_gradients_that_were_small_say_where_rows_are(proofs, forward, looks):
    layers = dict(base=nn.Linear(3, 6), down=nn.Linear(3, 2, bias=False))
    layers |= dict(up=nn.Linear(2, 6, bias=False), read=nn.Linear(6, 2))
    network = Net(forward, **layers).eval()
    nn.init.normal_(network.up.weight, std=1e-5)
    x = rows().float()
    empirical_ntk(network, x)
    nn.init.normal_(network.up.weight)
    found = empirical_ntk(network, x)
    assert (found.method, len(proofs)) == ("layerwise", looks)
    expected = empirical_ntk(network, x, dtype=torch.float64, method="autograd").values
    torch.testing.assert_close(found.values.double(), expected, rtol=0, atol=1e-5 * expected.max())


FIRST = nn.Unflatten(1, (1, 3)), nn.Conv1d(1, 4, 1)
RULES = {
    "dense": (nn.Linear(3, 4),),
    "filters": (*FIRST[:1], nn.Conv1d(1, 4, 2, padding=1), nn.Flatten()),
    "transposed": (*FIRST[:1], nn.ConvTranspose1d(1, 4, 2), nn.Flatten()),
    "layer norm": (nn.Linear(3, 4), nn.LayerNorm(4)),
    "group norm": (*FIRST, nn.GroupNorm(2, 4), nn.Flatten()),
    "batch norm": (*FIRST, nn.BatchNorm1d(4), nn.Flatten()),
    "grouped": (*FIRST, nn.Conv1d(4, 4, 1, groups=2), nn.Flatten()),
    "prelu": (nn.Linear(3, 4), nn.PReLU(4)),
}


def small_layer(name):
    """A network in float32 in which a layer has gradients within rounding of those of another."""
    torch.manual_seed(0)
    network = Net(lambda net, x: net.base(x) + 2e-5 * net.layer(x).tanh().flatten(1)[:, :2])
    network.base, network.layer = nn.Linear(3, 2), nn.Sequential(*deepcopy(RULES[name]))
    for p in network.parameters():  # those of the table depend on what was imported before
        nn.init.normal_(p, std=0.5)
    return network.eval()


@pytest.mark.parametrize("name", RULES)
def test_every_rule_is_compared_for_a_drawn_gradient(proofs, monkeypatch, name):
    network = small_layer(name)
    for seed in (0, 1):
        found = empirical_ntk(network, rows(seed=seed).float())
        assert (found.method, len(proofs)) == ("layerwise", 1)

    def larger(task, name, parts, readout):
        factor = make_factor(task, name, parts, readout)
        return mapped(factor, scaled) if name.startswith("layer") else factor

    def scaled(each):
        return 1.01 * each if each.is_floating_point() else each

    make_factor = layerwise.make_factor
    monkeypatch.setattr(layerwise, "make_factor", larger)
    network = small_layer(name)
    for _ in range(2):
        empirical_ntk(network, rows().float())
    assert len(proofs) == 3  # a wrong rule is not kept


def test_a_rule_that_was_right_for_a_block_does_not_spare_the_others():
    network = Net(
        lambda net, x: net.b(torch.relu(net.a(torch.stack([x, x]))).mean(0)),
        a=nn.Linear(3, 4, bias=False),
        b=nn.Linear(4, 2),
    )
    with torch.no_grad():
        network.a.weight.abs_()
    x = -rows(12).abs()
    x[5:7].neg_()  # the only rows that are not dead
    network = network.double().eval()
    budget = 3 * network_bytes(network, x)
    assert is_right(network, x, memory_budget=budget)


def network_bytes(network, x):
    """Enough for one row."""
    return 8 * sum(p.numel() for p in network.parameters()) * 2


def used_twice(net, x):
    s = torch.stack([x, x.square()])
    return net.read(torch.tanh(net.base(x) + net.up(net.base(s)).mean(0)))


def turned_and_not(net, x):
    return net.read(torch.tanh(net.base(x) + net.up(net.base(x.flip(0)).flip(0))))


def gated(net, x):
    h = net.base(torch.stack([x, x.square()])) * net.gate + net.shift
    return net.read(net.up(torch.tanh(h)).mean(0))


@pytest.mark.parametrize("forward", [used_twice, turned_and_not, gated])
def test_a_use_without_gradient_is_not_shown_by_another(forward):
    layers = dict(base=nn.Linear(3, 6, bias=False), up=nn.Linear(6, 6, bias=False))
    network = Net(forward, **layers, read=nn.Linear(6, 2))
    network.shift = nn.Parameter(torch.randn(6))
    network.register_buffer("gate", torch.zeros(()))
    network = network.double().eval()
    if forward is not gated:
        nn.init.zeros_(network.up.weight)
    assert is_right(network, rows())
    nn.init.normal_(network.up.weight)
    network.gate.fill_(1)
    assert is_right(network, rows())


def twice_with_dead_rows(net, x):
    return net.b(net.a(x).tanh() + net.a(torch.stack([x, x])).relu().mean(0))


def time_first_and_dead(net, x):
    return net.b(torch.relu(net.a(x.transpose(0, 1))).mean(0))


def test_rows_that_are_dead_where_it_is_looked_tell_no_side():
    network = Net(twice_with_dead_rows, a=nn.Linear(3, 4, bias=False), b=nn.Linear(4, 2))
    network = network.double().eval()
    with torch.no_grad():
        network.a.weight.abs_()
    x = -rows(12).abs()
    x[5:7].neg_()
    assert is_right(network, x)
    network = Net(time_first_and_dead, a=network.a, b=network.b).double().eval()
    x1 = rows(10).abs().view(5, 2, 3)
    x2 = -rows(36, seed=1).abs().view(12, 3, 3)
    x2[5:7].neg_()
    for method in ("auto", "layerwise"):
        found = empirical_ntk(network, x1, x2, method=method).values
        expected = empirical_ntk(network, x1, x2, method="autograd").values
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def sorted_small(net, x):
    order = x[:, 0].argsort()
    return net.base(x) + net.up(net.a(x[order]).tanh()[order.argsort()])


def test_an_order_that_small_gradients_do_not_tell_is_none_that_was_right():
    network = Net(sorted_small, base=nn.Linear(3, 2), a=nn.Linear(3, 4), up=nn.Linear(4, 2))
    network.up.bias = None
    network = network.eval()
    nn.init.normal_(network.up.weight, std=1e-8)
    x1, x2 = rows(6).float(), rows(5, seed=1).float()
    x1 = x1[x1[:, 0].argsort()]
    empirical_ntk(network, x1, x2)
    nn.init.normal_(network.up.weight)
    found = empirical_ntk(network, x1, x2).values
    expected = empirical_ntk(network, x1, x2, dtype=torch.float64, method="autograd").values
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-5 * expected.abs().max())


class Heads(nn.Module):
    """Attention, whose outputs do not depend on the biases of keys."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.q, self.k, self.v = (nn.Linear(3, 4) for _ in range(3))
        self.read = nn.Linear(4, 2)

    def forward(self, x):
        x = torch.stack([x, x.square(), x.roll(1, 1)], 1)
        scores = self.q(x) @ self.k(x).mT
        return self.read((scores.softmax(-1) @ self.v(x)).mean(1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_parameters_without_influence_do_not_keep_a_network_from_a_precedent(proofs, dtype):
    network = Heads().to(dtype)
    for seed in (0, 1):
        x = rows(seed=seed).to(dtype)
        assert empirical_ntk(network, x).method == "layerwise"
    assert len(proofs) == 1
    assert is_right(network.double(), rows())


class Faint(nn.Module):
    """With a layer whose gradient is within rounding of the whole one."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.faint = dense().float(), nn.Linear(3, 2)

    def forward(self, x):
        return self.body(x) + 1e-5 * self.faint(x)


def test_gradients_within_rounding_of_others_are_right_and_proved_once(proofs):
    network = Faint()
    for seed in (0, 1):
        found = empirical_ntk(network, rows(seed=seed).float(), by_layer=True)
        assert (found.method, len(proofs)) == ("layerwise", 1)
    double = empirical_ntk(
        network, rows(seed=1), by_layer=True, dtype=torch.float64, method="autograd"
    )
    for name, part in found.by_parameter.items():
        torch.testing.assert_close(part.double(), double.by_parameter[name], rtol=1e-4, atol=1e-18)
