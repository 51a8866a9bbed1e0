"""Kernels of nearly parallel inputs against recursions with 50 digits."""

import pytest
import torch
from limit_networks import Net, dense, norm
from limit_reference import (
    attention_kernels,
    erf_moments,
    normed_kernels,
    recurrent_kernels,
    relu_moments,
)
from limit_sequences import attention
from torch import nn

import ntkflow
from ntkflow import limit_kernels

ANGLES = [10.0**-k for k in range(3, 9)]


def near(*shape):
    """A row, and rows at small angles from it."""
    generator = torch.Generator().manual_seed(7)
    x, step = torch.randn(2, *shape, dtype=torch.float64, generator=generator)
    return x, torch.stack([x + angle * step for angle in ANGLES])


def errors(network, x, others, reference):
    """Largest relative errors of NNGP and NTK."""
    found = limit_kernels(network, x[None], others)
    exact = [reference(x, other) for other in others]
    return [
        max(abs(float(value / e[k] - 1)) for value, e in zip(row[0].tolist(), exact, strict=True))
        for k, row in enumerate(found)
    ]


@pytest.mark.parametrize("order", ["norm", "relu norm", "norm relu"])
def test_norms_keep_small_angles(order):
    layers = {"norm": lambda: norm(2, False), "relu": nn.ReLU}
    middle = [m for _ in range(3) for m in [*(layers[s]() for s in order.split()), dense(2, 2)]]
    options = dict(order=order, layers=3, sigma_w=1.3, sigma_b=0.2, eps=1e-5)
    found = errors(
        nn.Sequential(dense(5, 2), *middle), *near(5), lambda u, v: normed_kernels(u, v, **options)
    )
    assert max(found) < 1e-13


HEADS = {"last": lambda h: h[:, -1], "mean": lambda h: h.mean(1)}


@pytest.mark.parametrize(
    ("activation", "moments", "head", "bound"),
    [
        ("relu", relu_moments, "last", 1e-13),
        ("erf", erf_moments, "last", 1e-13),
        ("relu", relu_moments, "mean", 1e-13),
        ("erf", erf_moments, "mean", 1e-13),
    ],
)
def test_recurrence_keeps_small_angles(activation, moments, head, bound):
    scales = dict(sigma_w=1.3, sigma_u=0.8, sigma_b=0.2)
    network = Net(
        lambda m, x: m.last(HEADS[head](m.rnn(x)[0])),
        rnn=ntkflow.RNN(3, 2, activation=activation, dtype=torch.float64, **scales),
        last=dense(2, 2),
    )
    reference = lambda u, v: recurrent_kernels(u, v, head=head, moments=moments, **scales)  # noqa: E731
    assert max(errors(network, *near(4, 3), reference)) < bound


def test_attention_sees_small_angles_to_some_digits():
    network = Net(
        lambda m, x: m.last(torch.relu(m.attention(*[m.embed(x)] * 3)[0]).mean(1)),
        embed=dense(3, 2),
        attention=attention(2),
        last=dense(2, 2),
    )
    scales = dict(sigma_w=1.3, sigma_qk=1.2, sigma_v=1.1, sigma_o=1.3)

    def reference(u, v):
        return attention_kernels(u, v, sigma_b=0.2, sigma_b_o=0.1, **scales)

    assert (
        max(errors(network, *near(4, 3), reference)) < 1e-8
    )  # measured: 3.5e-9, at an angle of 1e-8
