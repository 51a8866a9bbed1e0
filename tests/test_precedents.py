"""What was proved of a module is proved again as soon as anything but values has changed."""

import gc
from weakref import ref

import pytest
import torch
from never_wrong_networks import Net
from proved_networks import dense, is_right, rows, sorted_inside
from torch import nn

from ntkflow import empirical_ntk
from ntkflow.errors import UnsupportedLayerError


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
