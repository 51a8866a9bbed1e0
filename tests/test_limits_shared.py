"""Limits of networks with norms whose gains are shared, and of values that meet themselves."""

import pytest
import torch
from limit_networks import Net, dense, norm, sequences, vectors
from torch import nn

import ntkflow
from ntkflow import Dense, limit_kernels
from ntkflow.errors import UnsupportedLayerError


def net(function, d=6, w=4, **layers):
    """A network with a first layer, two more, a norm, others that are given, and a last."""
    sizes = dict(first=(d, w), a=(w, w), b=(w, w), last=(w, 8))
    made = {name: dense(*size) for name, size in sizes.items()}
    return Net(function, **(made | dict(norm=norm(w)) | layers))


def hidden(m, x):
    return torch.relu(m.first(x))


def split(m, x):
    return m.norm(m.a(hidden(m, x))), m.norm(m.b(hidden(m, x)))


def shifted_together(m, x):
    one, two = split(m, x)
    return m.last(one + two)


def relu_together(m, x):
    one, two = split(m, x)
    return m.last(torch.relu(one) + torch.relu(two))


def swish(m, x):
    y = m.norm(m.first(x))
    return m.last(y * torch.sigmoid(y))


@pytest.mark.parametrize("function", [shifted_together, relu_together, swish])
def test_a_gain_counts_in_all_values_that_it_scales(function):
    x, width = vectors(), 128
    limit = limit_kernels(net(function), x).ntk.diagonal()
    draws = []
    for seed in range(20):
        torch.manual_seed(seed)
        kernel = ntkflow.empirical_ntk(net(function, w=width), x, outputs="trace")
        draws.append(kernel.values.diagonal() / 8)
    assert (torch.stack(draws).mean(0) / limit).mean().item() == pytest.approx(1, abs=0.03)


def test_norm_over_places_divides_all_of_them():
    one, two = (
        net(lambda m, x: m.last(m.norm(m.first(x)).mean(1)), d=4, norm=layer)
        for layer in (
            nn.RMSNorm((5, 4), eps=1e-9, dtype=torch.float64),
            nn.LayerNorm((5, 4), eps=1e-9, dtype=torch.float64, bias=False),
        )
    )  # values of a weight layer have mean zero, so that both divide by the same number
    torch.testing.assert_close(limit_kernels(one, sequences()), limit_kernels(two, sequences()))


def test_a_gain_that_starts_elsewhere_is_refused_and_a_trained_one_is_not():
    network = net(lambda m, x: m.last(m.norm(m.first(x))))
    before = limit_kernels(network, vectors())
    nn.init.normal_(network.norm.weight)
    assert torch.equal(limit_kernels(network, vectors()).ntk, before.ntk)
    nn.init.constant_(network.norm.weight, 0.5)
    with pytest.raises(UnsupportedLayerError, match="a gain other than 1"):
        limit_kernels(network, vectors())


def both(m, x):
    return m.norm(m.first(x))


def concatenated(m, x):
    return torch.cat([m.first(x[:, 0]), m.first(x[:, 1])], -1)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda m, x: m.last(both(m, x) * m.norm(m.a(hidden(m, x)))), "correlated values"),
        (lambda m, x: m.last(torch.relu(both(m, x)) + both(m, x)), "gain meets itself"),
        (lambda m, x: m.last(m.two(both(m, x) + m.a(x[:, :4])) + both(m, x)), "gain meets itself"),
        (lambda m, x: m.last(m.norm(both(m, x))), "learnt gain twice"),
        (
            lambda m, x: m.last(m.norm(m.first(x).flip(-1)) + both(m, x).flip(-1)),
            "different orders",
        ),
        (lambda m, x: m.norm(m.b(both(m, x))), "normalises the outputs"),
    ],
)
def test_gains_that_meet_themselves_are_refused(function, message):
    with pytest.raises(UnsupportedLayerError, match=message):
        limit_kernels(net(function, two=norm(4)), vectors())


@pytest.mark.parametrize(
    ("layer", "function", "message"),
    [
        (norm(8), concatenated, "numbers belong to several values"),
        (nn.GroupNorm(2, 8, affine=False), concatenated, "channels of different values"),
        (
            norm(12, False),
            lambda m, x: m.first(x)[:, [0, 0, 1]].flatten(1),
            "more often than others",
        ),
        (
            norm(8, False),
            lambda m, x: torch.cat([m.first(x)[:, :-1], m.first(x)[:, 1:]], -1).flatten(1),
            "several groups|more often",
        ),
    ],
)
def test_norms_of_concatenated_values_are_refused(layer, function, message):
    network = net(lambda m, x: m.last(m.norm(function(m, x))[..., :4]), d=4, norm=layer)
    with pytest.raises(UnsupportedLayerError, match=message):
        limit_kernels(network, sequences())


def test_norm_of_places_of_two_orders_is_refused():
    def function(m, x):
        h = m.first(x)
        return m.last((torch.relu(m.norm(h)) + torch.relu(m.norm(h.flip(1)))).mean(1))

    network = net(function, d=4, norm=nn.LayerNorm((5, 4), dtype=torch.float64))
    with pytest.raises(UnsupportedLayerError, match="two different orders"):
        limit_kernels(network, sequences())


def test_activation_beside_its_own_argument_where_that_is_zero():
    layers = [Dense(*s, sigma_w=1.3, sigma_b=0.2, bias="zero") for s in ((6, 4), (4, 8))]
    network = Net(
        lambda m, x: m.last(nn.functional.leaky_relu(m.first(x), 0.1) + m.first(x)),
        first=layers[0],
        last=layers[1],
    )
    theta = limit_kernels(network, torch.zeros(1, 6, dtype=torch.float64)).ntk.item()
    assert theta == pytest.approx(0.2**2 + 1.3**2 * 0.2**2 * (0.1 + 1) ** 2)


def test_a_norm_on_the_meta_device_is_read_like_another():
    network = net(lambda m, x: m.last(torch.relu(m.norm(m.first(x)))))
    before = limit_kernels(network, vectors())
    assert torch.equal(limit_kernels(network.to("meta"), vectors()).ntk, before.ntk)
