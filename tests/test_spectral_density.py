"""Estimates of an operator's spectrum, against dense decompositions and over many seeds."""

import math
from functools import cache

import numpy as np
import pytest
import torch

import ntkflow
from ntkflow import alignment, effective_rank, participation_ratio, spectral_density
from ntkflow.empirical import ntk_operator, top_eigenpairs
from ntkflow.errors import ConfigurationError, KernelError
from ntkflow.linalg.estimates import Estimate

torch.set_num_threads(1)

SIZE = 40
RATIOS = {"frobenius norm", "effective rank", "participation ratio", "alignment"}


def matrix(power=2.0):
    """Symmetric, with eigenvalues i^-power and random eigenvectors."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(SIZE, SIZE, generator=generator, dtype=torch.float64)
    vectors = torch.linalg.qr(drawn)[0]
    values = torch.arange(1, SIZE + 1, dtype=torch.float64) ** -power
    return vectors * values @ vectors.T, values, vectors


TARGETS = torch.linspace(-1, 2, SIZE, dtype=torch.float64).cos()

QUANTITIES = {
    "trace": (lambda density, _: density.trace(), lambda values: values.sum()),
    "frobenius norm": (lambda density, _: density.frobenius_norm(), torch.linalg.vector_norm),
    "log-determinant": (
        lambda density, _: density.log_determinant(1e-2),
        lambda values: (values + 1e-2).log().sum(),
    ),
    "effective rank": (lambda density, _: density.effective_rank(), effective_rank),
    "participation ratio": (lambda density, _: density.participation_ratio(), participation_ratio),
    "exponential": (lambda density, _: density.trace_of(torch.exp), lambda v: v.exp().sum()),
    "eigenvalues above": (
        lambda density, _: Estimate(*(e[0] for e in density.histogram(torch.tensor([0.03, 2.0])))),
        lambda values: (values > 0.03).sum(),
    ),
    "alignment": (
        lambda density, kernel: density.alignment(TARGETS @ kernel @ TARGETS, TARGETS),
        None,
    ),
}


def exactly(name, kernel, values):
    of_values = QUANTITIES[name][1]
    return float(alignment(kernel, TARGETS) if of_values is None else of_values(values))


@cache
def runs(deflated):
    """Densities of many seeds, with vectors near the first eigenvectors deflated."""
    kernel, _, vectors = matrix()
    noise = torch.randn(SIZE, SIZE, generator=torch.Generator().manual_seed(1)).double()
    deflate = (vectors + 0.02 * noise)[:, :deflated] if deflated else None
    return [
        spectral_density(kernel, probes=24, steps=SIZE, deflate=deflate, seed=seed)
        for seed in range(150)
    ]


@pytest.mark.parametrize("deflated", [0, 4])
@pytest.mark.parametrize("name", QUANTITIES)
def test_mean_and_spread_over_seeds(name, deflated):
    """Means are those of the dense matrix, and standard errors the spread of estimates."""
    kernel, values, _ = matrix()
    estimates = [QUANTITIES[name][0](density, kernel) for density in runs(deflated)]
    found, errors = (torch.stack(each).double() for each in zip(*estimates, strict=True))
    mean, expected = Estimate.of(found), exactly(name, kernel, values)
    # Ratios are unbiased to first order alone: the rest falls as one over the probes.
    bias = 0.1 * found.std() if name in RATIOS else 0
    assert (mean.value - expected).abs() < 4 * mean.standard_error + bias
    stated = errors.square().mean().sqrt()
    assert 0.8 < found.std() / stated < 1.25
    covered = ((found - expected).abs() < 2 * errors).double().mean()
    assert covered > 0.88


@pytest.mark.parametrize("name", ["trace", "frobenius norm"])
def test_deflated_vectors_take_out_the_variance(name):
    kernel, _, vectors = matrix()
    errors = [
        QUANTITIES[name][0](spectral_density(kernel, deflate=deflate), kernel).standard_error
        for deflate in (None, vectors[:, :8])
    ]
    assert errors[1] < 0.5 * errors[0]


def test_all_vectors_deflated_leave_nothing_to_chance():
    kernel, values, vectors = matrix()
    density = spectral_density(kernel, probes=2, deflate=vectors.flip(1))
    for name, (estimate, _) in QUANTITIES.items():
        found = estimate(density, kernel)
        assert float(found.value) == pytest.approx(exactly(name, kernel, values), rel=1e-9)
        assert found.standard_error < 1e-9


def test_one_step_gives_the_trace_and_the_frobenius_norm_of_many():
    kernel = matrix()[0]
    one, many = (spectral_density(kernel, steps=steps) for steps in (2, 30))
    for first, second in [
        (one.at(1).trace(), many.trace()),
        (one.frobenius_norm(), many.frobenius_norm()),
    ]:
        torch.testing.assert_close(first, second, rtol=1e-12, atol=0)


def test_fewer_steps_are_a_part_of_more():
    kernel = matrix()[0]
    fewer, part = spectral_density(kernel, steps=7), spectral_density(kernel, steps=20).at(7)
    torch.testing.assert_close(fewer.nodes, part.nodes)
    torch.testing.assert_close(fewer.log_determinant(0.1), part.log_determinant(0.1))


def test_the_same_seed_gives_the_same_numbers():
    kernel = matrix()[0]
    nodes = [spectral_density(kernel, seed=seed).nodes for seed in (3, 3, 4)]
    assert torch.equal(nodes[0], nodes[1])
    assert not torch.equal(nodes[0], nodes[2])


def test_a_krylov_space_that_ends_early():
    """Of low rank, with equal eigenvalues: the recurrence stops after three steps."""
    vectors = matrix()[2]
    kernel = vectors * torch.tensor([5.0] * 3 + [2.0] * 2 + [0.0] * 35).double() @ vectors.T
    density = spectral_density(kernel, probes=40, steps=20)
    found = density.log_determinant(1.0)
    expected = 3 * math.log(6) + 2 * math.log(3)
    assert (found.value - expected).abs() < 4 * found.standard_error
    torch.testing.assert_close(density.trace(), density.at(1).trace(), rtol=1e-12, atol=0)
    weights = density.weights.sum(1)
    torch.testing.assert_close(weights, torch.full_like(weights, SIZE))


def test_identity_and_singular_maps():
    density = spectral_density(3 * torch.eye(5))
    torch.testing.assert_close(density.effective_rank().value, torch.tensor(5.0).double())
    torch.testing.assert_close(
        density.log_determinant().value, torch.tensor(5 * math.log(3)).double()
    )
    assert spectral_density(torch.diag(torch.tensor([1.0, 0.0]))).log_determinant().value < -30


def test_histogram_adds_up_to_the_size():
    kernel, values, _ = matrix()
    edges = torch.tensor([-1.0, 1e-3, 1e-2, 1e-1, 2.0])
    counted = spectral_density(kernel, probes=200, steps=SIZE).histogram(edges)
    expected = torch.from_numpy(np.histogram(values, edges.numpy())[0]).double()
    torch.testing.assert_close(counted.value.sum(), torch.tensor(float(SIZE)).double())
    assert ((counted.value - expected).abs() < 4 * counted.standard_error).all()


@pytest.mark.parametrize("budget", [None, 4000])
def test_of_a_network(budget):
    """From products alone, chunk by chunk too."""
    torch.manual_seed(0)
    network, x = ntkflow.mlp(4, [8], 2).double(), torch.randn(15, 4).double()
    values = ntkflow.empirical_ntk(network, x).values
    dense = ntkflow.block_matrix(values, by_input=True)
    eigenvalues = torch.linalg.eigvalsh(dense)
    theta = ntk_operator(network, x, memory_budget=budget)
    top = top_eigenpairs(theta, 5).vectors
    density = spectral_density(theta, probes=8, steps=30, deflate=top)
    for found, expected in [
        (density.trace(), eigenvalues.sum()),
        (density.frobenius_norm(), dense.norm()),
        (density.log_determinant(0.5), (eigenvalues + 0.5).log().sum()),
        (density.effective_rank(), effective_rank(eigenvalues)),
    ]:
        assert abs(found.value - expected) < 4 * found.standard_error
    y = torch.randn(15, 2).double().flatten()
    found = density.alignment(y @ (theta @ y), y)
    assert abs(found.value - alignment(dense, y)) < 4 * found.standard_error


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        (dict(probes=1), ConfigurationError, "probes: 1 is not allowed"),
        (dict(steps=0), ConfigurationError, "steps: 0 is not allowed"),
        (dict(deflate=torch.ones(3, 1)), KernelError, "deflate: shape"),
    ],
)
def test_wrong_options_are_an_error(options, error, words):
    with pytest.raises(error, match=f"^{words}"):
        spectral_density(matrix()[0], **options)


def test_wrong_operators_are_an_error():
    with pytest.raises(ConfigurationError, match=r"^operator: shape \(2, 3\) is not square"):
        spectral_density(torch.ones(2, 3))
    infinite = torch.full((3, 3), torch.inf)
    with pytest.raises(KernelError, match=r"^kernel: row 0 has entries that are not finite"):
        spectral_density(infinite)
    with pytest.raises(KernelError, match=r"^operator: .* not finite"):
        spectral_density(infinite.to_sparse())
    network, x = ntkflow.mlp(2, [3], 1), torch.ones(2, 2)
    with pytest.raises(ConfigurationError, match=r"^x2: a spectrum is of a symmetric operator"):
        spectral_density(ntk_operator(network, x, x))
    density = spectral_density(matrix()[0])
    with pytest.raises(ConfigurationError, match=r"^ridge: -1 "):
        density.log_determinant(-1)
    with pytest.raises(KernelError, match=r"^edges: "):
        density.histogram(torch.tensor([1.0, 1.0]))


def test_sums_of_squares_need_two_steps():
    dense, values, _ = matrix()
    one, two = (spectral_density(dense, steps=steps, probes=400) for steps in (1, 2))
    assert abs(one.trace().value - values.sum()) < 4 * one.trace().standard_error
    found = two.frobenius_norm()
    assert abs(found.value - values.norm()) < 4 * found.standard_error
    for name in ("frobenius_norm", "participation_ratio"):
        with pytest.raises(ConfigurationError, match=r"^steps: 1 is not allowed for sums of"):
            getattr(one, name)()


def test_the_norm_of_nothing_is_0_without_an_error():
    density = spectral_density(torch.zeros(4, 4))
    assert density.frobenius_norm() == Estimate(torch.zeros(()), torch.zeros(()))


def test_maps_that_have_no_such_spectrum_are_an_error():
    with pytest.raises(KernelError, match=r"^kernel: entries .* differ by up to 1$"):
        spectral_density(torch.ones(3, 3).triu())
    with pytest.raises(ConfigurationError, match=r"^operator: type torch.int64 is not allowed"):
        spectral_density(torch.ones(3, 3).long())
    with pytest.raises(ConfigurationError, match=r"^operator: type torch.complex64 is not"):
        spectral_density(torch.ones(3, 3) + 0j)
    with pytest.raises(ConfigurationError, match=r"^operator: ndarray is not allowed; use a torch"):
        spectral_density(np.ones((3, 3)))
    with pytest.raises(ConfigurationError, match=r"^operator: shape \(0, 0\) is not allowed"):
        spectral_density(torch.ones(0, 0))
    with pytest.raises(ConfigurationError, match=r"^seed: -1 is not allowed"):
        spectral_density(torch.ones(3, 3), seed=-1)


def test_functions_are_elementwise_and_leave_the_nodes_alone():
    density = spectral_density(matrix()[0])
    before = density.trace().value
    density.trace_of(lambda nodes: nodes.mul_(0))
    assert density.trace().value == before
    with pytest.raises(KernelError, match=r"^function: shape \(\) is not allowed"):
        density.trace_of(torch.sum)
    with pytest.raises(KernelError, match=r"^function: it is not a number at -"):
        spectral_density(-matrix()[0]).trace_of(torch.log)
    assert not spectral_density(matrix()[0].requires_grad_()).trace().value.requires_grad


def test_entropies_and_determinants_are_of_no_indefinite_map():
    density = spectral_density(torch.diag(torch.tensor([1.0, 2.0, -0.5])), steps=3)
    for found in (density.effective_rank, lambda: density.log_determinant(0.1)):
        with pytest.raises(KernelError, match=r"^operator: an eigenvalue is -0.5 or less"):
            found()
    rounded = spectral_density(torch.diag(torch.tensor([1.0, 1.0, -1e-3])), steps=3)
    assert abs(rounded.effective_rank().value - 2.0) < 0.01
