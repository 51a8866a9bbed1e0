"""Limit kernels of all kinds of networks against wide finite ones."""

import pytest
import torch
from limit_networks import NETWORKS
from limit_sequences import SEQUENCES

import ntkflow

WIDTH, DRAWS = 64, 20
ERRORS = 5  # as many of 20 draws are as rare as 4 of very many (Student's t)


def draws(make, x):
    """NTKs and products of outputs of finite networks, mean over outputs."""
    tangent, products = [], []
    for seed in range(DRAWS):
        torch.manual_seed(seed)
        network = make(WIDTH).eval()
        with torch.no_grad():
            f = network(x)
        kernel = ntkflow.empirical_ntk(network, x, outputs="trace")
        tangent.append(kernel.values / f.shape[1])
        products.append(f @ f.T / f.shape[1])
    return torch.stack(tangent), torch.stack(products)


def excess(samples, limit):
    """Largest deviation of the mean in units of what is allowed: some errors and 2 / width."""
    error = samples.std(0) / DRAWS**0.5
    return (
        ((samples.mean(0) - limit).abs() / (ERRORS * error + limit.abs() * 2 / WIDTH)).max().item()
    )


@pytest.mark.parametrize("name", NETWORKS | SEQUENCES)
def test_wide_networks_agree_within_standard_errors(name):
    make, inputs = (NETWORKS | SEQUENCES)[name]
    x = inputs()
    limit = ntkflow.limit_kernels(make(WIDTH), x)
    tangent, products = draws(make, x)
    assert excess(tangent, limit.ntk) < 1
    assert excess(products, limit.nngp) < 1
    assert excess(tangent, 2 * limit.ntk) > 1  # what is allowed is not everything
