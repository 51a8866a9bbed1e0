"""Networks drawn from a grammar have the kernel of plain autograd, by every method."""

import pytest
import torch
from hypothesis import given, settings
from never_wrong_networks import plain_kernels
from random_networks import GRAMMAR, inputs, network_of

from ntkflow import empirical_ntk, ntk_operator
from ntkflow.errors import UnsupportedLayerError

torch.set_num_threads(1)

# torch says so where vmap falls back on a loop.
pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")

FAST = ["layerwise", "jacobian", "vector_product"]
few = settings(derandomize=True, database=None, max_examples=5)
many = settings(derandomize=True, database=None, max_examples=40)


def right(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10 * expected.abs().max())


def compare(parts):
    """All methods, a convention, cross kernels, one row at a time, and the operator."""
    network, x = network_of(parts), inputs(4)
    block = sum(plain_kernels(network, x, x).values())
    right(empirical_ntk(network, x).values, block)
    trace = block.diagonal().sum(-1)
    right(empirical_ntk(network, x, outputs="trace", memory_budget=1).values, trace)
    for method in FAST:
        right_or_refused(network, x, method, block)
    vector = torch.randn(8, dtype=torch.float64)
    product = block.permute(2, 0, 3, 1).reshape(8, 8) @ vector
    right(ntk_operator(network, x) @ vector, product)


def right_or_refused(network, x, method, block):
    try:
        found = empirical_ntk(network, x[:2], x[2:], method=method).values
    except UnsupportedLayerError as error:
        refusal = str(error)
    else:
        right(found, block[..., :2, 2:])
        return
    assert refusal.startswith(f"method: '{method}' ")
    assert "\n" not in refusal


@few
@given(GRAMMAR)
def test_kernels_of_random_networks(parts):
    compare(parts)


@pytest.mark.slow
@many
@given(GRAMMAR)
def test_kernels_of_many_random_networks(parts):
    compare(parts)
