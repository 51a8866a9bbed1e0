"""Limits read one row at a time: what differs between rows, or between x1 and x2, is refused."""

import pytest
import torch
from limit_networks import Net, conv, dense, images, sequences, vectors
from torch.nn import functional as F

import ntkflow
from ntkflow import Conv1d, Conv2d, empirical_ntk, limit_kernels
from ntkflow.errors import UnsupportedLayerError


def net(function, d=6, w=4, **layers):
    """A network with a first layer, others that are given, and a last."""
    return Net(function, **(dict(first=dense(d, w), a=dense(w, w), last=dense(w, 8)) | layers))


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    "function",
    [
        lambda m, x: m.last(torch.relu(m.first(x)).mean(1)),
        lambda m, x: m.last(torch.relu(m.first(x))[:, -1]),
        lambda m, x: m.last(torch.relu(m.conv(m.first(x).mT)).mean(-1)),
    ],
)
def test_sequences_of_two_lengths_are_refused(function):
    network = net(function, d=4, conv=conv(Conv1d, 4, 4, 3))
    with pytest.raises(UnsupportedLayerError, match=r"Net: reads other places.*same shape"):
        limit_kernels(network, sequences(), sequences(t=4))


@pytest.mark.parametrize(
    "function",
    [
        lambda m, x: m.last(m.first(x) / len(x)),
        lambda m, x: m.last(m.first(x)[:, :, None].expand(-1, -1, len(x)).sum(-1)),
    ],
)
def test_forwards_that_depend_on_the_number_of_rows_are_refused(function):
    with pytest.raises(UnsupportedLayerError, match="how many there are"):
        limit_kernels(net(function), vectors(4), vectors(3))


@pytest.mark.parametrize(
    "prepared",
    [
        lambda x: x - x.mean(0),
        lambda x: x / x.abs().max(),
        lambda x: x.cumsum(0),
        lambda x: x @ (x.T @ x),
        lambda x: x + torch.randn_like(x),
        lambda x: F.batch_norm(x, None, None, training=True),
        F.dropout,
    ],
)
def test_inputs_that_are_mixed_or_drawn_are_refused(prepared):
    with pytest.raises(UnsupportedLayerError, match="rows beside it, or on chance"):
        limit_kernels(net(lambda m, x: m.last(torch.relu(m.first(prepared(x))))), vectors())


def test_inputs_that_are_prepared_row_by_row():
    def unit(x):
        return x / x.norm(dim=1, keepdim=True) + x.new_ones(6) * x.sum(1)[:, None]

    network = net(lambda m, x: m.last(torch.relu(m.first(unit(x)))))
    plain = net(lambda m, x: m.last(torch.relu(m.first(x))))
    found, expected = limit_kernels(network, vectors()), limit_kernels(plain, unit(vectors()))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("function", "inputs", "message"),
    [
        (
            lambda m, x: m.last(F.dropout(m.first(x)[:, None].expand(-1, 3, -1)).mean(1)),
            vectors,
            "one value at several places",
        ),
        (
            lambda m, x: m.last(m.two(torch.cat([m.one(x), m.one(2 * x)], 1)).mean((-2, -1))),
            images,
            "groups in two .* different values",
        ),
    ],
)
def test_values_that_are_not_alike_are_refused(function, inputs, message):
    layers = dict(one=conv(Conv2d, 2, 4, 3), two=conv(Conv2d, 8, 4, 3, groups=2))
    with pytest.raises(UnsupportedLayerError, match=message):
        limit_kernels(net(function, **layers), inputs())


def test_one_layer_on_inputs_and_on_hidden_values_covaries_by_the_means():
    def function(m, x):
        return m.last(torch.relu(m.first(x) + m.first(torch.relu(m.a(x)))))

    width = 256
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(2, width, dtype=torch.float64, generator=generator) + 0.5
    limit = limit_kernels(net(function, width, width), x).ntk
    draws = []
    for seed in range(12):
        torch.manual_seed(seed)
        draws.append(empirical_ntk(net(function, width, width), x, outputs="trace").values / 8)
    torch.testing.assert_close(torch.stack(draws).mean(0), limit, rtol=0.05, atol=0)


def accumulated(m, x):
    total = torch.zeros(len(x), 6, dtype=x.dtype)
    total += x
    total[:, 0] = 0
    return m.last(torch.relu(m.first(total)))


def selected(m, x):
    return m.last(torch.relu(m.first(x * torch.tensor([0.0, 1, 1, 1, 1, 1]))))


def test_inputs_that_are_written_in_place():
    one, two = (limit_kernels(net(function), vectors()) for function in (accumulated, selected))
    torch.testing.assert_close(one, two, rtol=1e-12, atol=0)


def attended(m, x, *masks):
    """Sum of a shared attention of many heads with one mask after another."""
    h = m.first(x)
    found = [m.attention(h, h, h, need_weights=False, attn_mask=mask)[0] for mask in masks]
    return m.last(torch.relu(sum(found[1:], found[0]))[:, 1])


def test_shared_attention_with_two_masks():
    """Keys that one mask lets a query see and those that another does add up to all of them."""
    first = torch.tensor([False, False, False, True, True]).expand(5, 5)
    many = ntkflow.MultiheadAttention(4, 2, scaling="many heads", score="identity")
    options = dict(attention=many)
    parts = net(lambda m, x: attended(m, x, first, ~first), d=4, **options)
    whole = net(lambda m, x: attended(m, x, torch.zeros(5, 5).bool()), d=4, **options)
    plain = net(lambda m, x: attended(m, x, None), d=4, **options)
    mixed = net(lambda m, x: attended(m, x, None, first, ~first), d=4, **options)
    twice = net(lambda m, x: attended(m, x, None, None), d=4, **options)
    expected = limit_kernels(plain, sequences())
    torch.testing.assert_close(limit_kernels(parts, sequences()), expected)
    torch.testing.assert_close(limit_kernels(whole, sequences()), expected)
    double = limit_kernels(twice, sequences())
    torch.testing.assert_close(limit_kernels(mixed, sequences()), double)
