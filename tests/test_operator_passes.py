"""How often an operator that does not fit its budget calls the network."""

import pytest
import torch
from torch import nn

from ntkflow import block_matrix, empirical_ntk, ntk_operator

torch.set_num_threads(1)


class Counting(nn.Module):
    """Counts the rows that it is given, in its class: what it writes into itself is put back."""

    rows = most = 0

    def __init__(self):
        super().__init__()
        self.filters, self.readout = nn.Conv1d(1, 2, 3), nn.Linear(2, 2)

    def forward(self, x):
        Counting.rows += len(x)
        Counting.most = max(self.most, len(x))
        return self.readout(self.filters(x).tanh().mean(2))


@pytest.fixture
def case():
    torch.manual_seed(0)
    return Counting().double(), torch.randn(20, 1, 100, dtype=torch.float64)


BUDGET = 60_000


@pytest.mark.parametrize("count", [1, 3, 8, 11])
def test_every_row_is_met_twice_for_up_to_eight_vectors(case, count):
    network, x = case
    theta = ntk_operator(network, x, memory_budget=BUDGET)
    assert theta.method == "forward_mode"
    Counting.rows = Counting.most = 0
    vectors = torch.randn(40, count, dtype=torch.float64)
    products = theta @ vectors
    assert network.rows == 2 * len(x) * (1 if count <= 8 else 2)
    assert network.most < len(x)
    dense = block_matrix(empirical_ntk(network, x).values, by_input=True)
    torch.testing.assert_close(products, dense @ vectors, rtol=1e-10, atol=1e-10)


def test_a_trace_goes_by_several_vectors_too(case):
    network, x = case
    theta = ntk_operator(network, x, memory_budget=BUDGET)
    Counting.rows = 0
    found = theta.trace(samples=16)
    assert network.rows == 2 * len(x)
    kept = ntk_operator(network, x)
    assert kept.method == "double_backward"
    torch.testing.assert_close(found.value, kept.trace(samples=16).value, rtol=1e-10, atol=0)


def test_graphs_that_are_kept_call_the_network_no_more(case):
    network, x = case
    theta = ntk_operator(network, x)
    Counting.rows = 0
    theta @ torch.ones(40, 3, dtype=torch.float64)
    assert network.rows == 0
