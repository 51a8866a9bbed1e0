import numpy as np
import pytest
import torch
from scipy.sparse.linalg import LinearOperator, svds
from torch import nn

from ntkflow import empirical_ntk, ntk_operator, top_eigenpairs
from ntkflow.errors import ConfigurationError, NtkflowError, UnsupportedLayerError
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


def dense(network, x1, x2=None, **options):
    values = empirical_ntk(network, x1, x2, **options).values
    if values.ndim == 2:
        return values
    return values.permute(2, 0, 3, 1).reshape(values.shape[0] * len(x1), -1)


def equal(operator, expected):
    """Both ways; relative to the largest entry."""
    assert operator.shape == expected.shape
    for found, exactly in [(operator, expected), (operator.T, expected.T)]:
        product = found @ torch.eye(exactly.shape[1], dtype=torch.float64)
        torch.testing.assert_close(product, exactly, rtol=0, atol=1e-10 * expected.abs().max())


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


@pytest.mark.parametrize(
    ("vector", "words"),
    [
        (torch.ones(5).double(), "does not fit"),
        (torch.ones(21, 1, 1).double(), "does not fit"),
        (torch.ones(21, dtype=torch.complex128), "complex128 on cpu"),
        (torch.ones(21, device="meta"), "on meta"),
        (np.ones(21), "ndarray is not allowed"),
    ],
)
@pytest.mark.usefixtures("unchecked_types")
def test_wrong_vector_is_an_error(case, vector, words):
    with pytest.raises(ConfigurationError, match=f"^vectors: .*{words}"):
        ntk_operator(*case).__matmul__(vector)


def test_vectors_of_other_types_and_none(case):
    operator, exactly = ntk_operator(*case), dense(*case)
    torch.testing.assert_close(operator @ torch.ones(21, dtype=torch.int64), exactly.sum(1))
    assert (operator @ torch.ones(21, 0)).shape == (21, 0)
    assert not (operator @ torch.zeros(21)).any()
    weights = torch.ones(21, requires_grad=True)
    assert not (operator @ weights).requires_grad


def test_no_rows_is_an_error(case):
    with pytest.raises(ConfigurationError, match="no rows"):
        ntk_operator(case[0], case[1][:0])


@pytest.mark.parametrize("budget", [2**30, 5000, 1])
def test_between_two_sets_of_rows(case, budget):
    network, x = case
    operator = ntk_operator(network, x[:3], x[3:], memory_budget=budget)
    assert (operator.shape, operator.T.shape) == ((9, 12), (12, 9))
    equal(operator, dense(network, x[:3], x[3:]))
    equal(operator.T.T, dense(network, x[:3], x[3:]))
    assert not operator.symmetric


def test_rows_of_two_sizes():
    layers = [nn.Conv2d(1, 3, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)]
    network = nn.Sequential(*layers).double()
    x1, x2 = (torch.randn(3, 1, size, size, dtype=torch.float64) for size in (4, 8))
    equal(ntk_operator(network, x1, x2), dense(network, x1, x2))


@pytest.mark.parametrize("outputs", [1, -1, [2, 0], (0,), np.int64(2), np.array([1, 2]), "block"])
@pytest.mark.parametrize("other", [True, False])
@pytest.mark.parametrize("budget", [2**30, 1])
def test_outputs(case, outputs, other, budget):
    network, x = case
    sides = (x[:3], x[3:]) if other else (x,)
    operator = ntk_operator(network, *sides, outputs=outputs, memory_budget=budget)
    equal(operator, dense(network, *sides, outputs=outputs))


@pytest.mark.parametrize("outputs", [True, "trace", "mean", "diagonal", [], [0, 0], 3, 1.5])
@pytest.mark.usefixtures("unchecked_types")
def test_other_outputs_are_an_error(case, outputs):
    with pytest.raises(ConfigurationError, match=r"^outputs: .* is not allowed; use 'block', an "):
        ntk_operator(*case, outputs=outputs)


@pytest.mark.parametrize("output", ["logits", lambda returned: returned["logits"]])
def test_part_of_what_is_returned(case, output):
    network, x = case
    wrapped = nn.Module()
    wrapped.network, wrapped.forward = network, lambda x: {"loss": None, "logits": network(x)}
    equal(ntk_operator(wrapped, x, output=output), dense(network, x))
    with pytest.raises(UnsupportedLayerError, match=r"^output: 'scores' is not in"):
        ntk_operator(wrapped, x, output="scores")


@pytest.mark.parametrize(
    "choose", [lambda net: "*.bias", lambda net: list(net.parameters())[:2], lambda net: None]
)
def test_parameters_in_every_form_in_another_type(case, choose):
    network, x = case
    expected = dense(network, x, parameters=choose(network))
    operator = ntk_operator(network, x, parameters=choose(network), dtype=torch.float64)
    equal(operator, expected)


def test_more_outputs_of_one_side_are_an_error():
    network = nn.Sequential(nn.Conv1d(1, 2, 3), nn.Flatten()).double()
    x1, x2 = (torch.randn(2, 1, size, dtype=torch.float64) for size in (5, 6))
    with pytest.raises(UnsupportedLayerError, match="6 output"):
        ntk_operator(network, x1, x2)


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


def test_scipy_operator_between_two_sets_of_rows(case):
    network, x = case
    operator, expected = ntk_operator(network, x[:3], x[3:]), dense(network, x[:3], x[3:]).numpy()
    linear = operator.to_scipy()
    np.testing.assert_allclose(linear.H @ np.eye(9), expected.T, rtol=0, atol=1e-10)
    np.testing.assert_allclose(linear.rmatvec(np.ones(9)[::-1]), expected.T.sum(1), rtol=1e-9)
    found = svds(linear, 2, rng=0)[1]
    exact = np.linalg.svd(expected, compute_uv=False)[:2]
    np.testing.assert_allclose(sorted(found)[::-1], exact, rtol=1e-8)


def test_types_that_scipy_lacks(case):
    network, x = case
    with pytest.raises(ConfigurationError, match=r"^dtype: torch\.bfloat16 is not"):
        ntk_operator(network, x, dtype=torch.bfloat16).to_scipy()


@pytest.mark.parametrize("call", [lambda each: each.trace(), lambda each: top_eigenpairs(each, 1)])
def test_only_symmetric_operators_have_a_trace_and_eigenpairs(case, call):
    network, x = case
    for sides in [(x[:3], x[3:]), (x[:3], x[:3])]:
        with pytest.raises(ConfigurationError, match=r"^x2: .*leave x2 out, .*svds"):
            call(ntk_operator(network, *sides))


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


@pytest.mark.parametrize("k", [0, 22, 2.5, True])
@pytest.mark.usefixtures("unchecked_types")
def test_k_out_of_range_is_an_error(case, k):
    with pytest.raises(ConfigurationError, match=r"^k: .* use a whole number from 1 to 21$"):
        top_eigenpairs(ntk_operator(*case), k)
    with pytest.raises(ConfigurationError, match=r"^k: .* use a whole number from 1 to 99$"):
        top_eigenpairs(torch.eye(100), 100 if k == 22 else k)
    with pytest.raises(ConfigurationError, match=r"^operator: shape \(5, 3\) is not square$"):
        top_eigenpairs(torch.ones(5, 3), 1)


@pytest.mark.parametrize("size", [1, 2, 3, 64])
def test_small_matrices_have_all_their_eigenpairs(size):
    root = torch.randn(size, size, dtype=torch.float64)
    matrix = root @ root.T
    for k in {1, size - 1, size} - {0}:
        pairs = top_eigenpairs(matrix, k)
        exactly = torch.linalg.eigvalsh(matrix).flip(0)[:k]
        torch.testing.assert_close(pairs.values, exactly, rtol=1e-9, atol=1e-10)
        assert pairs.vectors.shape == (size, k)
        assert (pairs.residual_norms <= 1e-10 * pairs.values[0]).all()


def test_one_row_and_output_has_an_eigenpair():
    network, x = mlp(4, [8], 1).double(), torch.randn(1, 4).double()
    pairs = top_eigenpairs(ntk_operator(network, x), 1)
    torch.testing.assert_close(pairs.values, dense(network, x)[0])
    torch.testing.assert_close(pairs.vectors.abs(), torch.ones(1, 1).double())


def test_large_matrices_go_by_their_products():
    root = torch.randn(80, 80, dtype=torch.float64)
    pairs = top_eigenpairs(root @ root.T, 3)
    exactly = torch.linalg.eigvalsh(root @ root.T).flip(0)[:3]
    torch.testing.assert_close(pairs.values, exactly, rtol=1e-8, atol=0)
    assert (pairs.residual_norms <= 1e-6 * pairs.values[0]).all()


def test_no_convergence_is_an_error():
    with pytest.raises(NtkflowError, match="converged"):
        top_eigenpairs(torch.diag(torch.linspace(1, 2, 200).double()), 5, max_iterations=1)


def test_meta_device():
    network, x = mlp(4, [5], 3, device="meta"), torch.empty(6, 4, device="meta")
    operator = ntk_operator(network, x)
    assert (operator @ torch.empty(18, 2, device="meta")).shape == (18, 2)
    assert operator.trace(samples=2).value.device.type == "meta"
