"""Arguments that are not allowed are told in one line that names them and what is allowed."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import ntkflow
from ntkflow.errors import ConfigurationError

torch.set_num_threads(1)

X = torch.randn(4, 3)
CALLS = {
    "empirical_ntk": ntkflow.empirical_ntk,
    "ntk_operator": ntkflow.ntk_operator,
    "gradient_norms": ntkflow.gradient_norms,
    "explain": ntkflow.explain,
    "Tracker": ntkflow.Tracker,
}


def network():
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))


def one_line(kind, words, call, *given, **options):
    """The error of a call, of this kind and beginning."""
    with pytest.raises(kind, match=f"^{words}") as caught:
        call(*given, **options)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("budget", [-5, 0, -math.inf, math.nan, "1GB", True, torch.tensor(5)])
@pytest.mark.parametrize("name", CALLS)
def test_other_budgets_are_an_error(name, budget):
    words = r"memory_budget: .* is not allowed; use a number of bytes > 0"
    one_line(ConfigurationError, words, CALLS[name], network(), X, memory_budget=budget)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("budget", [math.inf, 0.5, 1, np.int64(5), np.float32(1e6)])
def test_every_budget_is_enough(budget):
    net = network()
    found = ntkflow.empirical_ntk(net, X, memory_budget=budget).values
    torch.testing.assert_close(found, ntkflow.empirical_ntk(net, X).values)
    norms = ntkflow.gradient_norms(net, X, memory_budget=budget)
    torch.testing.assert_close(norms, ntkflow.gradient_norms(net, X))
    vector = torch.ones(8)
    product = ntkflow.ntk_operator(net, X, memory_budget=budget) @ vector
    torch.testing.assert_close(product, ntkflow.ntk_operator(net, X) @ vector)
    assert str(ntkflow.explain(net, X, memory_budget=budget))


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("dtype", ["float32", torch.int64, torch.complex64, float])
@pytest.mark.parametrize("name", ["empirical_ntk", "ntk_operator", "gradient_norms", "explain"])
def test_other_types_are_an_error(name, dtype):
    words = "dtype: .* is not allowed; use a floating-point type"
    one_line(ConfigurationError, words, CALLS[name], network(), X, dtype=dtype)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("samples", [2.5, "a", True, math.nan, 1, torch.tensor(2.5)])
def test_other_samples_are_an_error(samples):
    words = r"samples: .* is not allowed; use a whole number from 2 on"
    operator = ntkflow.ntk_operator(network(), X)
    one_line(ConfigurationError, words, operator.trace, samples=samples)
    assert operator.trace(samples=np.int64(2)).value > 0
