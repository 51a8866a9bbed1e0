"""Limits of networks that add constants to hidden values: codes of positions, fixed or learnt."""

import pytest
import torch
from limit_networks import Net, dense, sequences
from torch import nn

from ntkflow import limit_kernels
from ntkflow.errors import UnsupportedLayerError


def net(function, code, learnt=True):
    network = Net(function, first=dense(4, 4), a=dense(4, 4), last=dense(4, 2, 1.3, 0.0))
    network.code = nn.Parameter(code, requires_grad=learnt)
    return network


def numbers(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def kernels(function, code, learnt=True):
    return limit_kernels(net(function, code, learnt), sequences())


def plain():
    return kernels(lambda m, x: m.last(m.first(x).mean(1)), numbers(5, 4))


@pytest.mark.parametrize(
    ("function", "code", "share"),
    [
        (lambda m, x: m.last((m.first(x) + m.code).mean(1)), numbers(5, 4), 1 / 5),
        (lambda m, x: m.last((m.first(x) + m.code[1:6]).mean(1)), numbers(7, 4), 1 / 5),
        (lambda m, x: m.last((m.first(x) + m.code).mean(1)), numbers(4), 1),
        (lambda m, x: m.last((m.first(x) + m.code[0]).mean(1)), numbers(2, 4), 1),
        (lambda m, x: m.last((m.first(x) + m.code + m.code).mean(1)), numbers(5, 4), 4 / 5),
        (lambda m, x: m.last((m.first(x) + m.code).mean(1)), torch.zeros(5, 4).double(), 1 / 5),
    ],
)
def test_learnt_codes(function, code, share):
    times = 2 if share == 4 / 5 else 1
    read = {5: code, 7: code[1:6], 2: code[:1], 4: code[None]}[len(code)]
    mean = times * read.mean(0)
    found, without = kernels(function, code), plain()
    more = 1.3**2 * mean.square().mean()
    torch.testing.assert_close(found.nngp, without.nngp + more)
    torch.testing.assert_close(found.ntk, without.ntk + more + 1.3**2 * share)
    fixed = kernels(function, code, learnt=False)
    torch.testing.assert_close(fixed.ntk, without.ntk + more)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda m, x: m.last((m.first(x) + 0.5 * m.code).mean(1)), "computed from parameters"),
        (
            lambda m, x: m.last((m.first(x[:, :1]).expand(-1, 5, -1) + m.code).mean(1)),
            "different constants to one value",
        ),
        (lambda m, x: m.last(m.first(x[:, 0]) + m.a(m.code[:1])), "computed from parameters"),
    ],
)
def test_other_learnt_numbers_are_refused(function, message):
    with pytest.raises(UnsupportedLayerError, match=message):
        kernels(function, numbers(5, 4))
