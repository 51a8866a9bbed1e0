"""Arguments that are not allowed are told in one line that names them and what is allowed."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import ntkflow
from ntkflow.errors import ConfigurationError, NtkflowError, UnsupportedLayerError, first_words

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


@pytest.mark.parametrize("returned", [None, (1,), torch.ones(4, dtype=torch.int64)])
@pytest.mark.parametrize("name", ["empirical_ntk", "ntk_operator", "gradient_norms", "explain"])
def test_what_an_operator_must_return(name, returned):
    words = "operator: returns a .* one real floating-point tensor"
    call = CALLS[name]
    error = one_line(
        UnsupportedLayerError, words, call, network(), X, operator=lambda f, x: returned
    )
    assert "output=" not in str(error)
    assert isinstance(returned, torch.Tensor) or "use a function of (f, x)" in str(error)


class Failing(nn.Linear):
    """A network that refuses its inputs itself."""

    def forward(self, x):
        raise ValueError("no such inputs.\nAnd more.")


WRONG = {
    "width": (network(), torch.randn(4, 5), "mat1 and mat2 shapes cannot be multiplied"),
    "device": (network(), X.to("meta"), "Tensor on device"),
    "type": (network().double(), X, "mat1 and mat2 must have the same dtype"),
    "its own": (Failing(3, 2), X, "no such inputs.$"),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("name", ["empirical_ntk", "ntk_operator", "gradient_norms", "explain"])
def test_inputs_that_a_network_does_not_take(name, wrong):
    net, x, reason = WRONG[wrong]
    words = f"x1?: the network fails on its first row: {reason}"
    error = one_line(UnsupportedLayerError, words, CALLS[name], net, x)
    assert not isinstance(error.__cause__, NtkflowError | None)


def test_the_second_inputs_are_named():
    words = "x2: the network fails on its first row: mat1 and mat2 must have the same dtype"
    for name in ("empirical_ntk", "ntk_operator"):
        one_line(UnsupportedLayerError, words, CALLS[name], network().double(), X.double(), X)


def test_operators_that_fail_are_told():
    words = "x1: the network, or what is made of it, fails on its first row: division by zero"
    one_line(
        UnsupportedLayerError,
        words,
        ntkflow.empirical_ntk,
        network(),
        X,
        operator=lambda f, x: 1 / 0,
    )


def test_a_type_that_a_network_does_not_take_is_told():
    fixed = nn.Sequential(network())
    fixed.forward = lambda x: fixed[0](x.float())
    words = r"dtype: the network fails in torch.float64 \(mat1 and mat2 must"
    one_line(ConfigurationError, words, ntkflow.empirical_ntk, fixed, X, dtype=torch.float64)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a 1.5 x 2. Then more", "a 1.5 x 2."),
        ("one line\nand another", "one line"),
        ("", "RuntimeError"),
        ("word " * 50, ("word " * 50)[:116].rstrip() + " ..."),
    ],
)
def test_first_words(text, words):
    assert first_words(RuntimeError(text)) == words


# What was once an error of torch, or passed over

FUNCTION_NAMES = {"number": 3.0, "None": None, "word": "a", "array": np.ones(2)}


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("value", FUNCTION_NAMES.values(), ids=FUNCTION_NAMES)
def test_parameters_of_a_function_are_tensors(value):
    words = f"parameters: 'c' is {type(value).__name__}; give tensors alone"
    given = {"w": torch.randn(3, 2), "c": value}
    one_line(
        ConfigurationError,
        words,
        ntkflow.empirical_ntk,
        lambda p, x: x @ p["w"],
        X,
        parameters=given,
    )


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("call", [ntkflow.empirical_ntk, ntkflow.ntk_operator])
def test_parameters_of_a_module(call):
    words = r"parameters\['0.weight'\]: int is not allowed; use a torch.Tensor"
    one_line(ConfigurationError, words, call, network(), X, parameters={"0.weight": 3})
    words = "parameters: 'weight' has no shape before a first call; call the network once"
    one_line(UnsupportedLayerError, words, call, nn.LazyLinear(3), X)


def test_pairs_of_names_and_parameters():
    net = network()
    other = network()
    found = ntkflow.empirical_ntk(net, X, parameters=other.named_parameters()).values
    torch.testing.assert_close(found, ntkflow.empirical_ntk(other, X).values)
    options = dict(parameters=other.named_parameters(), dtype=torch.float64)
    product = ntkflow.ntk_operator(net, X, **options) @ torch.ones(8, dtype=torch.float64)
    expected = found.double().sum((1, 3)).T.flatten()  # of a block (O, O, N, N), rows first
    torch.testing.assert_close(product, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_inputs_are_dense():
    words = "x1: a sparse_coo tensor is not allowed; use a dense one"
    one_line(ConfigurationError, words, ntkflow.empirical_ntk, network(), X.to_sparse())
    nested = torch.nested.nested_tensor([torch.randn(2, 3), torch.randn(1, 3)])
    words = "x1: a nested tensor is not allowed; use a dense one"
    one_line(ConfigurationError, words, ntkflow.empirical_ntk, network(), nested)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_a_network_without_outputs():
    words = "network: returns no numbers for a row"
    one_line(UnsupportedLayerError, words, ntkflow.empirical_ntk, nn.Linear(3, 0), X)


@pytest.mark.usefixtures("unchecked_types")
def test_matrices_with_eigenpairs():
    words = "operator: ndarray is not allowed; use a torch.Tensor"
    one_line(ConfigurationError, words, ntkflow.top_eigenpairs, np.eye(3), 2)
    words = r"operator: differs from its transpose by 1\.0e\+00 of its largest entry"
    one_line(ConfigurationError, words, ntkflow.top_eigenpairs, torch.ones(4, 4).triu(), 2)
    one_line(ConfigurationError, "k: 1 is not allowed", ntkflow.top_eigenpairs, torch.ones(0, 0), 1)
    nearly = torch.eye(4, dtype=torch.float64)
    nearly[0, 1] = 1e-12
    assert ntkflow.top_eigenpairs(nearly, 2).values.tolist() == pytest.approx([1, 1])


@pytest.mark.usefixtures("unchecked_types")
def test_ensembles_of_a_diagonal_kernel():
    net = nn.Sequential(nn.Linear(3, 1), nn.Dropout())
    start = ntkflow.draw_parameters(net, seeds=range(3))
    one_line(
        UnsupportedLayerError, "layer '1': Dropout in training mode",
        ntkflow.diagonal_kernel, net.train(), start, X[:1],
    )  # fmt: skip
    net.eval()
    wrong = start | {"0.bias": start["0.bias"][:2]}
    words = r"parameters\['0.bias'\]: shape \(2, 1\) is not allowed; use \(3, 1\)"
    one_line(NtkflowError, words, ntkflow.diagonal_kernel, net, wrong, X[:1])
    words = "parameters: the network has no parameter 'other'"
    wrong = {"other": start["0.bias"]}
    one_line(ConfigurationError, words, ntkflow.diagonal_kernel, net, wrong, X[:1])
