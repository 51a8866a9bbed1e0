"""Limits of networks whose values are moved, repeated, written into and combined in odd ways."""

import pytest
import torch
from limit_networks import Net, dense, sequences, vectors
from torch import nn
from torch.nn import functional as F

import ntkflow
from ntkflow import limit_kernels


def net(function, d=6, **layers):
    """A network of width 4 with a first layer, two more, others that are given, and a last."""
    sizes = dict(first=(d, 4), a=(4, 4), b=(4, 4), last=(4, 2))
    made = {name: dense(*size) for name, size in sizes.items()}
    return Net(function, **(made | layers))


def assert_same(one, two, x):
    for a, b in zip(limit_kernels(one, x), limit_kernels(two, x), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)


def hidden(m, x):
    return torch.relu(m.first(x))


@pytest.mark.parametrize(
    ("repeated", "weighted"),
    [
        (lambda h: h[:, [0, 0, 1]].mean(1), lambda h: h[:, 0] * (2 / 3) + h[:, 1] / 3),
        (lambda h: h.repeat_interleave(3, 1).mean(1), lambda h: h.mean(1)),
        (
            lambda h: F.avg_pool1d(F.pad(h.mT, (1, 0), mode="replicate"), 6)[..., 0],
            lambda h: h.sum(1) / 6 + h[:, 0] / 6,
        ),
    ],
)
def test_places_that_are_read_twice_count_twice(repeated, weighted):
    one, two = (net(lambda m, x, f=f: m.last(f(hidden(m, x))), d=4) for f in (repeated, weighted))
    assert_same(one, two, sequences())


def overwritten(m, x):
    h = m.a(hidden(m, x))
    other = h.clone()
    torch.relu_(other)
    return m.last(h + other)


def with_inplace_module(m, x):
    h = m.first(x)
    return m.last(m.a(m.act(h)) + h)


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        (overwritten, lambda m, x: (lambda h: m.last(h + torch.relu(h)))(m.a(hidden(m, x)))),
        (with_inplace_module, lambda m, x: m.last(m.a(hidden(m, x)) + hidden(m, x))),
    ],
)
def test_writing_in_place(written, plain):
    assert_same(net(written, act=nn.ReLU(inplace=True)), net(plain), vectors())


def without_gradients(m, x):
    with torch.no_grad():
        h = m.first(x)
    return m.last(torch.relu(h))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (without_gradients, r"first \(Dense\): .*no_grad"),
        (lambda m, x: m.last(hidden(m, x).detach()), "detach in Net: gradients stop"),
        (lambda m, x: m.last(hidden(m, x).to(torch.int64)), r"to in Net: rounds .*int64"),
        (lambda m, x: m.last(hidden(m, x).type("torch.LongTensor")), "type in Net: rounds"),
        (
            lambda m, x: m.last(torch.add(m.first(x), m.first(x), out=torch.zeros(4, 4))),
            "add in Net: writes into out=",
        ),
    ],
)
def test_what_changes_gradients_or_values_is_refused(function, message):
    with pytest.raises(ntkflow.errors.UnsupportedLayerError, match=message):
        limit_kernels(net(function, act=nn.PReLU()), vectors())


def hooked(network):
    network.a.register_forward_hook(lambda module, given, found: 2 * found)


def replaced(network):
    forward = network.a.forward
    network.a.forward = lambda x: 3 * forward(x)


def frozen(network):
    network.a.weight.requires_grad_(False)


def tied(network):
    network.b.bias = network.a.bias


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (hooked, r"a \(Dense\) has no known limit: it has hooks"),
        (replaced, r"a \(Dense\) has no known limit: it has hooks or another forward"),
        (frozen, r"a frozen layer in a \(Dense\)"),
        (tied, "shared weights in b .*of a and b"),
    ],
)
def test_changed_layers_are_refused(change, message):
    network = net(lambda m, x: m.last(torch.relu(m.a(hidden(m, x)) + m.b(hidden(m, x)))))
    change(network)
    with pytest.raises(ntkflow.errors.UnsupportedLayerError, match=message):
        limit_kernels(network, vectors())


def test_a_network_without_any_gradient_is_read_like_another():
    network = net(lambda m, x: m.last(torch.relu(m.a(hidden(m, x)))))
    before = limit_kernels(network, vectors())
    assert torch.equal(limit_kernels(network.requires_grad_(False), vectors()).ntk, before.ntk)


def chunks(m, x):
    return m.wide(hidden(m, x)).chunk(3, -1)


def layers(m, x):
    return [layer(hidden(m, x)) for layer in (m.a, m.b, m.c)]


@pytest.mark.parametrize(
    "function",
    [
        lambda u, v, w: u * torch.sigmoid(v) + u * torch.sigmoid(w),
        lambda u, v, w: u * (v * torch.sigmoid(w)),
        lambda u, v, w: u * torch.sigmoid(v) + w,
        lambda u, v, w: torch.relu(u + v) - w,
        lambda u, v, w: torch.cat([u + v, torch.relu(u - v)], -1)[..., :4],
    ],
)
def test_channels_of_one_layer_are_like_layers_of_their_own(function):
    parts = dict(wide=dense(4, 12), c=dense(4, 4))
    one, two = (
        net(lambda m, x, f=f: m.last(function(*f(m, x))), **parts) for f in (chunks, layers)
    )
    assert_same(one, two, vectors())


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda u, v: u * v * v, "correlated values"),
        (lambda u, v: u + (u + v.flip(-1)), "channels in two different orders"),
        (lambda u, v: u * v + u * v.flip(-1), "channels in two different orders"),
    ],
)
def test_channels_that_meet_others_and_themselves_are_refused(function, message):
    network = net(
        lambda m, x: m.last(function(*m.wide(hidden(m, x)).chunk(2, -1))), wide=dense(4, 8)
    )
    with pytest.raises(ntkflow.errors.UnsupportedLayerError, match=message):
        limit_kernels(network, vectors())


def unbiased(m, h):
    """A layer without bias on places in two orders, on one of them alone, and on another value."""
    return (
        torch.relu(m.c(h))[:, 0] + torch.relu(m.c(h.roll(1, 1)))[:, 1],
        torch.relu(m.c(h))[:, 0] + torch.relu(m.c(h[:, 2])),
        torch.relu(m.c(h))[:, 0] + torch.relu(m.c(m.b(h)))[:, 0],
    )


def picked(m, h):
    """The same, with places picked before the layer."""
    return (
        torch.relu(m.c(h[:, 0])) * 2,
        torch.relu(m.c(h[:, 0])) + torch.relu(m.c(h[:, 2:3]))[:, 0],
        torch.relu(m.c(h[:, 0])) + torch.relu(m.c(m.b(h[:, 0]))),
    )


@pytest.mark.parametrize("case", range(3))
def test_a_shared_layer_without_bias_on_places_in_other_orders(case):
    one, two = (
        net(lambda m, x, f=f: m.last(f(m, m.first(x))[case]), d=4, c=dense(4, 4, 1.3, 0.0))
        for f in (unbiased, picked)
    )
    assert_same(one, two, sequences())
