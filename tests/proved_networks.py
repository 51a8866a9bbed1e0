"""Networks that are proved once or again, their rows, and whether their kernels are right."""

import torch
from torch import nn

from ntkflow import empirical_ntk


def dense():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)).double().eval()


def rows(count=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, dtype=torch.float64, generator=generator)


def is_right(network, x, **options):
    found = empirical_ntk(network, x, **options).values
    expected = empirical_ntk(network, x, method="autograd", **options).values
    return torch.allclose(found, expected, rtol=0, atol=1e-10 * expected.abs().max().item())


def sorted_inside(net, x):
    order = x[:, 0].argsort() if net.sorts else torch.arange(len(x))
    return torch.tanh(net.a(x[order]))[order.argsort()] @ net.read.weight.T
