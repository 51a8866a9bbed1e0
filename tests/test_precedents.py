"""What was proved of a module is proved again as soon as anything but values has changed."""

import gc
from copy import deepcopy
from weakref import ref

import pytest
import torch
from never_wrong_networks import Net
from proved_networks import dense, is_right, rows, sorted_inside
from torch import nn

from ntkflow import empirical_ntk
from ntkflow.empirical import layerwise, methods
from ntkflow.empirical.factors import mapped
from ntkflow.errors import UnsupportedLayerError


@pytest.fixture
def proofs(monkeypatch):
    """How often a network was looked at row by row."""
    made = []

    def find(task):
        made.append(task)
        return find_proof(task)

    find_proof = methods.find_proof
    monkeypatch.setattr(methods, "find_proof", find)
    return made


def test_the_same_network_is_proved_once(proofs):
    network = dense()
    first = empirical_ntk(network, rows())
    again = empirical_ntk(network, rows(seed=1))
    assert (first.method, again.method, len(proofs)) == ("layerwise", "layerwise", 1)
    assert is_right(network, rows(seed=1))


def test_new_values_of_the_weights_need_no_proof(proofs):
    network = dense()
    empirical_ntk(network, rows())
    with torch.no_grad():
        network[0].weight.mul_(2)
    empirical_ntk(network, rows())
    assert len(proofs) == 1
    assert is_right(network, rows())


def train(network):
    network.train()


def hook(network):
    network[1].register_forward_hook(lambda layer, args, outputs: 2 * outputs)


def attribute(network):
    network.scale = 2


def freeze(network):
    network[0].requires_grad_(False)


def add_layer(network):
    network.append(nn.Tanh())


@pytest.mark.parametrize("change", [train, hook, attribute, freeze, add_layer])
def test_a_changed_network_is_proved_again(proofs, change):
    network = dense()
    empirical_ntk(network, rows())
    change(network)
    empirical_ntk(network, rows())
    assert len(proofs) == 2
    assert is_right(network, rows())


@pytest.mark.parametrize(
    "options",
    [{"outputs": "trace"}, {"by_layer": True}, {"parameters": "0.*"}, {"method": "layerwise"}],
)
def test_another_question_is_proved_again(proofs, options):
    network = dense()
    empirical_ntk(network, rows())
    empirical_ntk(network, rows(), **options)
    assert len(proofs) == 2


def test_functions_are_proved_at_every_call(proofs):
    network = dense()
    parameters = dict(network.named_parameters())

    def function(p, x):
        return torch.func.functional_call(network, p, (x,))

    for _ in range(2):
        empirical_ntk(function, rows(), parameters=parameters)
    assert len(proofs) == 2


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


@pytest.mark.parametrize("dtype", [None, torch.float32])
def test_nothing_of_a_call_waits_for_the_collector(dtype):
    network, x = dense(), rows()
    network[0].register_forward_hook(lambda layer, args, made: held.append(ref(made)))
    held, gone = [], ref(network)
    gc.collect()
    gc.disable()
    try:
        for _ in range(2):  # proved, and under a precedent
            empirical_ntk(network, x, dtype=dtype)
        assert len(held) > 4
        assert all(each() is None for each in held)
        del network
        assert gone() is None
    finally:
        gc.enable()


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


class Halved(torch.autograd.Function):
    """The identity, with half its gradient."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient / 2


def branching(net, x):
    h = net.a(x)
    return net.b(Halved.apply(h) if x.sum() > 0 else torch.tanh(h))


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


def test_other_operations_are_proved_again(proofs):
    network = Net(branching, a=nn.Linear(3, 6), b=nn.Linear(6, 2)).double().eval()
    for sign in (-1, 1):
        assert is_right(network, sign * rows().abs())
    assert len(proofs) == 4  # plain autograd looks at rows too


def clipped(net, x):
    h = net.a(x)
    if net.clip and h.requires_grad:
        h.register_hook(lambda gradient: gradient.clamp(-0.01, 0.01))
    return net.b(h)


def test_hooks_inside_that_an_attribute_turns_on_are_seen():
    network = Net(clipped, a=nn.Linear(3, 6), b=nn.Linear(6, 2)).double().eval()
    for network.clip in (False, True):
        assert is_right(network, rows())


def sorted_if_large(net, x):
    """A reordering that leaves no trace in the graph."""
    return net.b(torch.tanh(net.a(x[x[:, 0].argsort()] if x.abs().max() > 100 else x)))


def test_rows_sorted_by_what_they_hold_are_refused_after_others_were_right():
    network = Net(sorted_if_large, a=nn.Linear(3, 6), b=nn.Linear(6, 2)).double().eval()
    assert is_right(network, rows())
    x = rows().sort(0, descending=True).values
    x[0, 0] = 200
    with pytest.raises(UnsupportedLayerError, match="rows interact"):
        empirical_ntk(network, x)


def test_rows_sorted_inside_are_right_after_rows_that_kept_their_order():
    network = Net(sorted_inside, a=nn.Linear(3, 6), read=nn.Linear(6, 2)).double().eval()
    network.sorts = True
    x = rows(7)
    assert is_right(network, x[x[:, 0].argsort()])
    assert is_right(network, x)


def test_a_module_that_is_gone_is_forgotten():
    network = dense()
    empirical_ntk(network, rows())
    gone = ref(network)
    del network
    gc.collect()
    assert gone() is None


def permuted_by_product(net, x):
    order = x[:, 0].argsort()
    forth = nn.functional.one_hot(order, len(x)).to(x.dtype)
    h = torch.tanh(net.a(x))
    h = torch.tanh(net.b(net.product(forth, h)))
    return net.product(forth.T, h)


@pytest.mark.parametrize("rule", ["nm,mc->nc", "xnm,xmc->xnc"])
def test_products_that_reorder_rows_are_right_after_rows_that_kept_their_order(rule):
    network = Net(permuted_by_product, a=nn.Linear(3, 6), b=nn.Linear(6, 2)).double().eval()
    batched = rule.startswith("x")

    def product(forth, h):
        return torch.einsum(rule, forth[None], h[None])[0] if batched else forth @ h

    network.product = product
    x = rows(7)
    assert is_right(network, x[x[:, 0].argsort()])
    assert is_right(network, x)


def middle_rows_exchanged(net, x):
    """Rows 1 and 2 pass the second layer in each other's place."""
    order = torch.arange(len(x))
    if len(x) > 2:
        order[[1, 2]] = order[[2, 1]]
    exchange = torch.eye(len(x), dtype=x.dtype)[order]
    return exchange @ torch.tanh(net.b(exchange @ torch.tanh(net.a(x))))


def test_middle_rows_in_each_others_place_are_right():
    layers = dict(a=nn.Linear(3, 6), b=nn.Linear(6, 2))
    assert is_right(Net(middle_rows_exchanged, **layers).double().eval(), rows(6))


def test_a_proof_of_single_rows_is_none_of_many():
    network = Net(permuted_by_product, a=nn.Linear(3, 6), b=nn.Linear(6, 2)).double().eval()
    network.product = torch.matmul
    assert is_right(network, rows(7), outputs="trace", memory_budget=1)
    assert is_right(network, rows(7), outputs="trace")


def scaled_if_large(net, x):
    """Scaled by the largest row, which leaves no trace in the graph."""
    return net.b(torch.tanh(net.a(x / x.abs().amax().clamp(min=10))))


def test_rows_scaled_by_the_largest_are_refused_after_small_ones_were_right():
    for largest in (0, -1):
        network = Net(scaled_if_large, a=nn.Linear(3, 6), b=nn.Linear(6, 2)).double().eval()
        x = rows()
        assert is_right(network, x)
        x[largest] *= 100
        with pytest.raises(UnsupportedLayerError, match="rows interact"):
            empirical_ntk(network, x)


def put_back_one_by_one(net, x):
    order = x[:, 0].argsort()
    h = torch.tanh(net.a(x[order])).unbind(0)
    return net.b(torch.stack([h[i] for i in order.argsort().tolist()]))


def test_which_rows_are_put_where_is_a_part_of_the_graph():
    network = Net(put_back_one_by_one, a=nn.Linear(3, 6), b=nn.Linear(6, 2)).double().eval()
    x = rows(4)
    x = x[x[:, 0].argsort()]
    assert is_right(network, x)
    assert is_right(network, x[[1, 0, 3, 2]])


def softmax(net, x):
    return net.b(torch.softmax(net.a(x), net.options["dim"]))


def test_options_in_a_dictionary_are_seen():
    network = Net(softmax, a=nn.Linear(3, 6), b=nn.Linear(6, 2)).double().eval()
    network.options = {"dim": 1}
    assert is_right(network, rows(2))
    network.options["dim"] = 0
    with pytest.raises(UnsupportedLayerError, match="rows interact"):
        empirical_ntk(network, rows(2))


def test_a_jacobian_that_was_zero_proves_nothing(proofs):
    def gated(net, x):
        h = torch.tanh(net.a(x))
        return net.b(h + h * torch.cumsum(net.p, 0) * net.gate)

    parts = {name: nn.Parameter(torch.zeros(6)) for name in ("p", "gate")}
    network = Net(gated, a=nn.Linear(3, 6), b=nn.Linear(6, 2))
    for name, p in parts.items():
        network.register_parameter(name, p)
    network = network.double().eval()
    nn.init.ones_(network.p)
    empirical_ntk(network, rows())
    nn.init.ones_(network.gate)
    empirical_ntk(network, rows())
    assert len(proofs) == 2
    assert is_right(network, rows())


class ByKey:
    """A configuration that has no attributes but its keys."""

    def __init__(self, **options):
        self.__dict__["options"] = options

    def __getattr__(self, name):
        return self.__dict__["options"][name]


def test_attributes_that_cannot_be_compared_are_proved_again(proofs):
    network, endless = dense(), [1]
    endless.append(endless)
    for network.extra in (ByKey(width=3), endless):
        for _ in range(2):
            assert empirical_ntk(network, rows()).method == "layerwise"
    assert len(proofs) == 4


@pytest.mark.parametrize("option", ["output", "operator"])
def test_functions_that_hold_a_module_do_not_keep_it(option):
    network = dense()
    given = {"output": lambda y: y * network[0].weight.detach().sum()}
    given["operator"] = lambda f, x: given["output"](f(x))
    empirical_ntk(network, rows(), **{option: given[option]})
    gone = ref(network)
    del network, given
    gc.collect()
    assert gone() is None


def clipped_by_size(net, x):
    h = torch.tanh(net.a(x))
    if h.requires_grad:
        h.register_hook(lambda gradient: gradient * (1 / gradient.norm()).clamp(max=1))
    return net.b(h)


def test_hooks_inside_are_looked_at_every_time():
    network = Net(clipped_by_size, a=nn.Linear(3, 6), b=nn.Linear(6, 2)).double().eval()
    for factor in (0.1, 100):
        with torch.no_grad():
            network.b.weight.mul_(factor)
        assert is_right(network, rows())


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_recurrent_networks_of_two_lengths_go_by_layers_and_are_proved_once(proofs, kind):
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.read = kind(3, 6, batch_first=True), nn.Linear(6, 2)

        def forward(self, x):
            return self.read(self.body(x)[0][:, -1])

    network = Last().double().eval()
    x1, x2 = (torch.randn(4, steps, 3, dtype=torch.float64) for steps in (5, 2))
    for _ in range(2):
        found = empirical_ntk(network, x1, x2)
    assert (found.method, len(proofs)) == ("layerwise", 1)
    expected = empirical_ntk(network, x1, x2, method="autograd").values
    torch.testing.assert_close(found.values, expected, rtol=1e-10, atol=1e-12)


def test_outputs_of_the_first_row_are_made_once_under_a_precedent():
    network, counts = dense(), []
    for _ in range(2):
        empirical_ntk(network, rows())
    forward = nn.Sequential.forward
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.Sequential, "forward", lambda *a: counts.append(len(a[1])) or forward(*a))
        empirical_ntk(network, rows())
    assert counts == [1, 5, 2]


class Scaled(nn.Module):
    """A network of rows and of a number that is the same for all of them."""

    def __init__(self):
        super().__init__()
        self.body = dense()

    def forward(self, x, factor):
        return self.body(x * factor)


def test_outputs_of_an_equal_row_beside_another_constant_are_others(proofs):
    network = Scaled()
    x1, x2 = ({"x": rows(), "factor": factor} for factor in (1, -1))
    for _ in range(2):
        found = empirical_ntk(network, x1, x2)
    assert (found.method, len(proofs)) == ("layerwise", 1)
    expected = empirical_ntk(network, x1, x2, method="autograd").values
    torch.testing.assert_close(found.values, expected, rtol=1e-10, atol=1e-12)
