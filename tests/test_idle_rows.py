"""Rows that tell nothing: without gradients, not finite, or the only ones that move."""

import pytest
import torch
from never_wrong_networks import Net, Reversed, plain_kernels
from torch import nn
from torch.nn import functional as F

import ntkflow
from ntkflow.errors import UnsupportedLayerError

torch.set_num_threads(1)

OUTER = torch.tensor([0.0, 1.0, 1.0, 1.0, 0.0], dtype=torch.float64)  # ends without gradient


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def made(forward, **layers):
    torch.manual_seed(0)
    return Net(forward, **layers).double().eval()


def masked(forward, x, **layers):
    """A network of x and of a mask of its outputs, and both."""
    return made(lambda net, x, mask: forward(net, x) * mask[:, None], **layers), (x, OUTER)


def of_plain_autograd(network, x):
    """The kernel from single rows, differentiated one by one."""
    return sum(plain_kernels(network, x, x).values())


def right(found, expected):
    finite = expected.isfinite()
    assert torch.equal(found.isfinite(), finite)
    size = expected[finite].abs().max()
    torch.testing.assert_close(found[finite], expected[finite], rtol=1e-10, atol=1e-10 * size)


# Time first


def dead_at_zero():
    x = draw(5, 5, 4)
    x[0] = x[-1] = 0
    layers = dict(a=nn.Linear(4, 3), b=nn.Linear(3, 2))
    network = made(lambda net, x: net.b(net.a(x.transpose(0, 1)).relu().mean(0)), **layers)
    with torch.no_grad():
        network.a.bias.fill_(-0.5)
    return network, x


def time_first(kind):
    def forward(net, x):
        return net.b(net.body(x.transpose(0, 1))[0][-1])

    return masked(forward, draw(5, 3, 4), body=kind(4, 3), b=nn.Linear(3, 2))


class Clip(Reversed):
    """The identity, with a gradient that is cut off."""

    @staticmethod
    def backward(ctx, gradient):
        return gradient.clamp(-0.1, 0.1)


def clipped():
    def forward(net, x):
        return net.b(Clip.apply(net.a(x)).tanh())

    return masked(forward, draw(5, 4), a=nn.Linear(4, 3), b=nn.Linear(3, 2))


def turned_gradients():
    def one(net, row):
        h = net.a(row)
        if h.requires_grad:
            h.register_hook(lambda gradient: -gradient)
        return net.b(h.tanh())

    def forward(net, x):
        return torch.stack([one(net, row) for row in x])

    return masked(forward, draw(5, 4), a=nn.Linear(4, 3), b=nn.Linear(3, 2))


def hardly_dead():
    """Gradients of the first and the last row that are rounding beside those of the readout."""
    network, x = dead_at_zero()
    network._run = lambda net, x: net.b(F.softplus(40 * net.a(x.transpose(0, 1)) - 10).mean(0))
    return network, x


def no_numbers_at_the_ends():
    """As `dead_at_zero`, with ends that have no numbers, so that no row is left to compare."""
    network, x = dead_at_zero()
    x[0] = x[-1] = torch.nan
    return network, x


IDLE = {
    "no numbers at the ends": no_numbers_at_the_ends,
    "softplus far on its flat side": hardly_dead,
    "dead ReLU": dead_at_zero,
    "GRU": lambda: time_first(nn.GRU),
    "LSTM": lambda: time_first(nn.LSTM),
    "RNN": lambda: time_first(nn.RNN),
    "clipped gradients": clipped,
    "hooks": turned_gradients,
}


@pytest.mark.parametrize("name", IDLE)
def test_first_and_last_row_without_gradients(name):
    network, x = IDLE[name]()
    expected = of_plain_autograd(network, x)
    right(ntkflow.empirical_ntk(network, x).values, expected)
    own = expected.diagonal(dim1=0, dim2=1).diagonal(dim1=0, dim2=1)
    right(ntkflow.gradient_norms(network, x).square(), own)
    one = (x[0][1:2], x[1][1:2]) if isinstance(x, tuple) else x[1:2]
    right(ntkflow.empirical_ntk(network, one, x).values, expected[:, :, 1:2])
    if not expected.isfinite().all():  # nor are products with a vector
        return
    vectors = draw(10, 3)
    matrix = expected.permute(2, 0, 3, 1).reshape(10, 10)
    right(ntkflow.ntk_operator(network, x) @ vectors, matrix @ vectors)


def test_parameters_that_act_on_no_row_keep_the_fast_way():
    network = made(
        lambda net, x: net.b(x) + net.up(net.down(x)),
        b=nn.Linear(4, 3), down=nn.Linear(4, 2), up=nn.Linear(2, 3),
    )  # fmt: skip
    nn.init.zeros_(network.up.weight)
    x = draw(6, 4)
    found = ntkflow.empirical_ntk(network, x)
    assert found.method == "layerwise"
    right(found.values, of_plain_autograd(network, x))


# Rows that are put in another order


def sorted_within(net, x):
    order = x[:, 0].argsort()
    return net.b(net.a(x[order]).tanh())[order.argsort()]


def by_mask(net, x):
    places = F.one_hot(x[:, 0].argsort(), len(x)).to(x)
    sorted_rows = (places[..., None] * net.a(x)).sum(1).tanh()
    return (places.T[..., None] * net.b(sorted_rows)).sum(1)


def by_mean(net, x):
    places = len(x) * F.one_hot(x[:, 0].argsort(), len(x)).to(x)
    sorted_rows = (places[..., None] * net.a(x)).mean(1).tanh()
    return (places.T[..., None] * net.b(sorted_rows)).mean(1)


def of_unit_length(net, x):
    order = x[:, 0].argsort()
    h = net.a(x[order] * (x[order][:, 1:2] != 7))
    return net.b(h / h.norm(dim=1, keepdim=True))[order.argsort()]


KEYS = torch.tensor([-9.0, 3.0, 1.0, 2.0, 0.0, 9.0], dtype=torch.float64)


def rows_to_sort():
    x = draw(6, 4)
    x[:, 0] = KEYS
    return x


@pytest.mark.parametrize("forward", [sorted_within, by_mask, by_mean])
@pytest.mark.parametrize("spoiled", [False, True])
def test_rows_that_are_sorted_within(forward, spoiled):
    network = made(forward, a=nn.Linear(4, 3), b=nn.Linear(3, 2))
    for seed in range(2):  # the second call knows the graph of the first
        x = rows_to_sort()
        if seed:
            x[1:-1] = x[[3, 1, 4, 2]]
        if spoiled and forward is sorted_within:
            x[3, 1] = torch.nan
        right(ntkflow.empirical_ntk(network, x).values, of_plain_autograd(network, x))


def test_a_row_without_a_finite_gradient_among_sorted_ones():
    network = made(of_unit_length, a=nn.Linear(4, 3, bias=False), b=nn.Linear(3, 2))
    x = rows_to_sort()
    x[3, 1] = 7  # becomes zero, and has no direction
    right(ntkflow.empirical_ntk(network, x).values, of_plain_autograd(network, x))


def test_a_row_of_no_numbers_keeps_the_fast_way():
    network = made(lambda net, x: net.b(net.a(x).tanh()), a=nn.Linear(4, 3), b=nn.Linear(3, 2))
    x = draw(6, 4)
    x[2, 1] = torch.nan
    found = ntkflow.empirical_ntk(network, x)
    assert found.method == "layerwise"
    right(found.values, of_plain_autograd(network, x))


# Rows that interact


def with_capacity(net, x):
    share = net.gate(x).softmax(-1)
    chosen = F.one_hot(share.argmax(1), 4).to(x)
    kept = chosen * (chosen.cumsum(0) <= 4)
    experts = torch.stack([net.experts[i](x).tanh() for i in range(4)], 1)
    return (experts * (kept * share)[..., None]).sum(1)


def all_moved_by_one(net, x):
    return net.b(net.a(x - 1 if (x[:, 0] < 0).any() else x).tanh())


CALLS = {
    "kernel": ntkflow.empirical_ntk,
    "one row": lambda network, x: ntkflow.empirical_ntk(network, x[:1], x),
    "operator": ntkflow.ntk_operator,
    "norms": ntkflow.gradient_norms,
    "features": lambda network, x: ntkflow.sketched_features(network, x, 8),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("seed", [9, 11, 14])
def test_experts_of_limited_capacity_are_refused(call, seed):
    torch.manual_seed(seed)
    experts = nn.ModuleList(nn.Linear(4, 2) for _ in range(4))
    network = Net(with_capacity, gate=nn.Linear(4, 4), experts=experts).double().eval()
    with pytest.raises(UnsupportedLayerError, match="rows interact or are reordered"):
        CALLS[call](network, torch.randn(16, 4, dtype=torch.float64))


@pytest.mark.parametrize("call", CALLS)
def test_one_row_that_changes_all_others_is_refused(call):
    network = made(all_moved_by_one, a=nn.Linear(4, 3), b=nn.Linear(3, 2))
    x = draw(8, 4).abs()
    x[2, 0] = -1
    with pytest.raises(UnsupportedLayerError, match="rows interact or are reordered"):
        CALLS[call](network, x)


# Others


@pytest.mark.parametrize("count", [1, 5])
def test_features_of_one_row_are_features(count):
    weights, x = draw(3, 2, 4), draw(count, 4)

    def network(weights, x):
        return torch.einsum("nd,eod->no", x, weights)

    found = ntkflow.sketched_features(network, x, 4000, parameters=weights)
    assert found.values.shape == (count, 2, 4000)
    expected = 3 * (x @ x.T)[:, None, :, None] * torch.eye(2)[None, :, None]
    size = expected.abs().max()
    found = (found.matrix @ found.matrix.T).view(count, 2, count, 2)
    torch.testing.assert_close(found, expected.double(), rtol=0, atol=float(0.25 * size))


@pytest.mark.parametrize("names", [("a.0", "a"), (1, "1")])
def test_keys_that_read_alike_are_different_parameters(names):
    first, second = draw(4, 4), draw(4, 3)
    one, other = names
    nested = {one: first, other: [second] if other == "a" else second}
    x = draw(5, 4)

    def network(p, x):
        return (x @ p[one]).tanh() @ (p[other][0] if other == "a" else p[other])

    module = made(lambda net, x: (x @ net.first).tanh() @ net.second)
    module.first, module.second = nn.Parameter(first), nn.Parameter(second)
    expected = of_plain_autograd(module, x)
    right(ntkflow.empirical_ntk(network, x, parameters=nested).values, expected)
    parts = ntkflow.empirical_ntk(network, x, parameters=nested, by_layer=True).by_parameter
    assert len(parts) == 2


def test_a_network_that_takes_a_step_of_its_own_training():
    def adapted(net, row):
        loss = (row @ net.w).tanh().square().sum()
        (gradient,) = torch.autograd.grad(loss, net.w, create_graph=True)
        return row @ (net.w - 0.1 * gradient)

    network = made(lambda net, x: torch.stack([adapted(net, row) for row in x]))
    network.w = nn.Parameter(draw(4, 2))
    x = draw(5, 4)
    expected = of_plain_autograd(network, x)
    for method in ("auto", "autograd"):
        right(ntkflow.empirical_ntk(network, x, method=method).values, expected)
    vector = draw(10)
    matrix = expected.permute(2, 0, 3, 1).reshape(10, 10)
    right(ntkflow.ntk_operator(network, x) @ vector, matrix @ vector)


def test_a_network_that_does_else_under_vmap():
    def forward(net, x):
        try:
            far = bool((x[:, 0] > 2).any().item())
        except RuntimeError:  # no number of a row under vmap
            far = False
        return net.p * (2 * x if far else x)

    network = made(lambda net, x: torch.cat([forward(net, row[None]) for row in x]))
    network.p = nn.Parameter(draw(4))
    x = draw(5, 4)
    x[2, 0] = 3
    right(ntkflow.empirical_ntk(network, x).values, of_plain_autograd(network, x))
    alone = made(lambda net, x: forward(net, x))
    alone.p = network.p
    with pytest.raises(UnsupportedLayerError, match="rows interact"):
        ntkflow.empirical_ntk(alone, x)


def test_a_refusal_leaves_the_random_numbers():
    network = made(lambda net, x: net.a(x + torch.randn_like(x)), a=nn.Linear(4, 2))
    before = torch.get_rng_state()
    for _ in range(2):
        with pytest.raises(UnsupportedLayerError, match="draws random numbers"):
            ntkflow.empirical_ntk(network, draw(3, 4))
    assert torch.equal(torch.get_rng_state(), before)


def moved_by_neighbours(net, x):
    """Rows that say so take the row before them in as well, but where they are alone."""
    use = x[:, :1].abs() < 5
    before = x.roll(1, 0) * (len(x) > 1)
    return net.b(net.a(torch.where(use, x + before, x)).tanh())


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("count", [8, 64, 100])
def test_one_row_that_takes_another_in_is_refused(call, count):
    network = made(moved_by_neighbours, a=nn.Linear(4, 3), b=nn.Linear(3, 2))
    x = draw(count, 4)
    x[:, 0], x[5, 0] = 9, 1
    with pytest.raises(UnsupportedLayerError, match="rows interact or are reordered"):
        CALLS[call](network, x)


@pytest.mark.parametrize("fill", [-torch.inf, -1e12])
@pytest.mark.parametrize("call", ["kernel", "operator"])
def test_masked_outputs_hide_no_interaction(fill, call):
    def forward(net, x):
        return moved_by_neighbours(net, x).masked_fill(x[:, 1:] > 0.5, fill)

    network = made(forward, a=nn.Linear(4, 5), b=nn.Linear(5, 3))
    x = draw(8, 4)
    x[:, 0], x[5, 0] = 9, 1
    assert (x[:, 1:] > 0.5).any()
    with pytest.raises(UnsupportedLayerError, match="rows interact or are reordered"):
        CALLS[call](network, x)


def test_rows_that_take_those_of_their_kind_in_are_refused():
    def forward(net, x):
        alike = (x[:, :1] == x[:, 0]).to(x)
        return net.b(net.a(x + alike @ x / alike.sum(1, keepdim=True)).tanh())

    network = made(forward, a=nn.Linear(4, 3), b=nn.Linear(3, 2))
    x = draw(7, 4)
    x[:, 0] = torch.tensor([0, 1, 1, 2, 3, 3, 4])
    for call in CALLS.values():
        with pytest.raises(UnsupportedLayerError, match="rows interact or are reordered"):
            call(network, x)


def test_the_order_of_short_gradients_beside_long_ones():
    def forward(net, x):
        order = x[:, 0].argsort()
        return net.b(net.a(x[order]).tanh())[order.argsort()] + 1e11 * net.c(x / 1e11)

    network = made(forward, a=nn.Linear(4, 3), b=nn.Linear(3, 2), c=nn.Linear(4, 2))
    x = rows_to_sort()
    expected = plain_kernels(network, x, x)
    found = ntkflow.empirical_ntk(network, x, by_layer=True).by_parameter
    for name in ("a.weight", "b.weight"):
        right(found[name], expected[name])


@pytest.mark.parametrize("method", ["auto", "layerwise", "vector_product", "jacobian"])
def test_a_network_that_has_diverged_has_a_kernel_of_no_numbers(method):
    network = made(lambda net, x: net.b(net.a(x).tanh()), a=nn.Linear(4, 3), b=nn.Linear(3, 2))
    with torch.no_grad():
        network.a.weight.fill_(torch.nan)
    x = draw(5, 4)
    assert ntkflow.empirical_ntk(network, x[:1], x, method=method).values.isnan().all()
    assert (ntkflow.ntk_operator(network, x) @ draw(10)).isnan().all()
