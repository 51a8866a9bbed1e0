import numpy as np
import pytest
import torch
from scipy.sparse.linalg import LinearOperator
from torch import nn

from ntkflow import empirical_ntk, ntk_operator, top_eigenpairs
from ntkflow.errors import ConfigurationError, NtkflowError
from ntkflow.networks import cnn, mlp

torch.set_num_threads(1)


@pytest.fixture(params=["mlp", "cnn"])
def case(request):
    torch.manual_seed(0)
    if request.param == "mlp":
        network, x = mlp(4, [8, 6], 3, sigma_b=0.3), torch.randn(7, 4)
    else:
        network, x = cnn(2, [3], 3, image_size=4, sigma_b=0.3), torch.randn(7, 2, 4, 4)
    return network.double(), x.double()


def dense(network, x):
    values = empirical_ntk(network, x).values
    return values.permute(2, 0, 3, 1).reshape(values.shape[0] * len(x), -1)


@pytest.mark.parametrize("budget", [2**30, 1])
def test_product_equals_dense_kernel(case, budget):
    network, x = case
    operator = ntk_operator(network, x, memory_budget=budget)
    vectors = torch.randn(operator.shape[0], 4, dtype=torch.float64)
    expected = dense(network, x) @ vectors
    torch.testing.assert_close(operator @ vectors, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(operator @ vectors[:, 0], expected[:, 0], rtol=1e-10, atol=1e-10)


def test_linear_network_has_a_product(case):
    network, x = mlp(4, [], 2, sigma_b=1.0, dtype=torch.float64), torch.randn(3, 4).double()
    vector = torch.randn(6).double()
    torch.testing.assert_close(ntk_operator(network, x) @ vector, dense(network, x) @ vector)


def test_attention_has_a_product():
    layer = nn.TransformerEncoderLayer(4, 2, 3, dropout=0.0, batch_first=True)
    network = nn.Sequential(layer, nn.Flatten()).double().eval()
    x, vector = torch.randn(2, 3, 4).double(), torch.randn(24).double()
    found = ntk_operator(network, x) @ vector
    torch.testing.assert_close(found, dense(network, x) @ vector, rtol=1e-10, atol=1e-10)


def test_function_of_parameters():
    parameters = {"w": torch.randn(3, 2).double(), "unused": torch.ones(2).double()}
    x = torch.randn(5, 3).double()
    operator = ntk_operator(lambda p, x: torch.tanh(x @ p["w"]), x, parameters=parameters)
    kernel = empirical_ntk(lambda p, x: torch.tanh(x @ p["w"]), x, parameters=parameters).values
    vector = torch.randn(10).double()
    expected = kernel.permute(2, 0, 3, 1).reshape(10, 10) @ vector
    torch.testing.assert_close(operator @ vector, expected, rtol=1e-10, atol=1e-10)


def test_cast_works_in_the_other_type(case):
    network, x = case
    operator = ntk_operator(network.float(), x.float(), dtype=torch.float64)
    vector = torch.randn(operator.shape[0], dtype=torch.float64)
    expected = dense(network.double(), x.float().double()) @ vector
    torch.testing.assert_close(operator @ vector, expected, rtol=1e-10, atol=1e-10)
    assert operator.dtype == torch.float64


def test_wrong_vector_is_an_error(case):
    with pytest.raises(ConfigurationError, match="does not fit"):
        ntk_operator(*case) @ torch.randn(5).double()


def test_no_rows_is_an_error(case):
    with pytest.raises(ConfigurationError, match="no rows"):
        ntk_operator(case[0], case[1][:0])


def test_trace_lies_within_its_standard_error(case):
    estimate = ntk_operator(*case).trace(samples=400, seed=1)
    exact = dense(*case).trace()
    assert (estimate.value - exact).abs() < 3 * estimate.standard_error
    assert estimate.standard_error < 0.05 * exact


def test_standard_error_is_the_spread_of_estimates(case):
    operator = ntk_operator(*case)
    runs = [operator.trace(samples=8, seed=seed) for seed in range(200)]
    spread = torch.stack([run.value for run in runs]).std()
    stated = torch.stack([run.standard_error for run in runs]).square().mean().sqrt()
    assert 0.8 < spread / stated < 1.25


def test_trace_of_one_sample_is_an_error(case):
    with pytest.raises(ConfigurationError, match="samples"):
        ntk_operator(*case).trace(samples=1)


def test_scipy_operator(case):
    operator = ntk_operator(*case).to_scipy()
    assert isinstance(operator, LinearOperator)
    np.testing.assert_allclose(
        operator.matmat(np.eye(21)), dense(*case).numpy(), rtol=1e-10, atol=1e-10
    )


def test_top_eigenpairs_equal_dense_decomposition(case):
    values, vectors, residuals = top_eigenpairs(ntk_operator(*case), 4)
    exact, exact_vectors = torch.linalg.eigh(dense(*case))
    torch.testing.assert_close(values, exact.flip(0)[:4], rtol=1e-10, atol=0)
    overlaps = (exact_vectors.flip(1)[:, :4] * vectors).sum(0).abs()
    torch.testing.assert_close(overlaps, torch.ones(4).double(), rtol=1e-8, atol=0)
    assert (residuals <= 1e-8 * values[0]).all()


def test_top_eigenpairs_of_a_matrix(case):
    matrix = dense(*case)
    pairs = top_eigenpairs(matrix, 2)
    expected = (matrix @ pairs.vectors - pairs.vectors * pairs.values).norm(dim=0)
    torch.testing.assert_close(pairs.residual_norms, expected)
    torch.testing.assert_close(pairs.values, torch.linalg.eigvalsh(matrix).flip(0)[:2])


@pytest.mark.parametrize("k", [0, 21])
def test_k_out_of_range_is_an_error(case, k):
    with pytest.raises(ConfigurationError, match="k: "):
        top_eigenpairs(ntk_operator(*case), k)


def test_no_convergence_is_an_error():
    with pytest.raises(NtkflowError, match="converged"):
        top_eigenpairs(torch.diag(torch.linspace(1, 2, 200).double()), 5, max_iterations=1)


def test_meta_device():
    network, x = mlp(4, [5], 3, device="meta"), torch.empty(6, 4, device="meta")
    operator = ntk_operator(network, x)
    assert (operator @ torch.empty(18, 2, device="meta")).shape == (18, 2)
    assert operator.trace(samples=2).value.device.type == "meta"
