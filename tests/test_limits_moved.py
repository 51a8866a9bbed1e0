"""Limits of networks whose values are moved, repeated, written into and combined in odd ways."""

import pytest
import torch
from limit_networks import Net, dense, images, sequences, vectors
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
