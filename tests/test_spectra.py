import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ntkflow.arrays import to_numpy
from ntkflow.errors import ConfigurationError, KernelError
from ntkflow.linalg import spectra

RNG = np.random.default_rng(0)


def random_gram(n, rank=None, seed=0):
    features = np.random.default_rng(seed).standard_normal((n, rank or n))
    return features @ features.T


def test_imports_no_torch():
    scripts = Path(__file__).parents[1] / "scripts"
    code = "import sys, ntkflow.linalg.spectra; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(scripts)})


def test_eigenpairs_rebuild_the_kernel_in_descending_order():
    gram = random_gram(7)
    values, vectors = spectra.eigenpairs(gram)
    assert (np.diff(values) < 0).all()
    np.testing.assert_allclose((vectors * values) @ vectors.T, gram, atol=1e-12)
    np.testing.assert_allclose(spectra.eigenvalues(gram), values, rtol=1e-12)
    assert spectra.trace(gram) == pytest.approx(values.sum(), rel=1e-12)


def test_residual_norms_see_a_wrong_eigenvalue():
    gram = random_gram(6)
    values, vectors = spectra.eigenpairs(gram)
    assert spectra.residual_norms(gram, values, vectors).max() < 1e-13 * values[0]
    shifted = spectra.residual_norms(gram, values[:2] + np.array([0, 0.25]), vectors[:, :2])
    np.testing.assert_allclose(shifted, [0, 0.25], atol=1e-12)


@given(n=st.integers(1, 12), scale=st.floats(1e-6, 1e6))
def test_effective_ranks_of_a_flat_spectrum(n, scale):
    values = np.array([scale] * n + [0.0] * 3)
    assert spectra.effective_rank(values) == pytest.approx(n)
    assert spectra.participation_ratio(values) == pytest.approx(n)
    assert spectra.numerical_rank(values) == n


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=20))
def test_effective_ranks_lie_between_one_and_n(values):
    values = np.array(values)
    entropy, participation = spectra.effective_rank(values), spectra.participation_ratio(values)
    assert 1 - 1e-9 <= participation <= entropy * (1 + 1e-9) <= len(values) * (1 + 1e-8)


def test_effective_rank_by_hand():
    p = np.array([0.5, 0.25, 0.25])
    assert spectra.effective_rank(8 * p) == pytest.approx(2**1.5)
    assert spectra.participation_ratio(8 * p) == pytest.approx(1 / 0.375)


def test_rounding_negatives_do_not_spoil_effective_ranks():
    assert spectra.effective_rank(np.array([1.0, 1.0, -1e-17])) == pytest.approx(2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numerical_rank_of_a_low_rank_kernel(dtype):
    values = np.linalg.eigvalsh(random_gram(30, rank=4).astype(dtype))
    assert spectra.numerical_rank(values) == 4
    assert spectra.numerical_rank(np.array([1.0, 1e-3, 1e-6]), tolerance=1e-4) == 2


def test_cumulative_distribution_counts_eigenvalues():
    values = RNG.random(9)
    points, fraction = spectra.cumulative_distribution(values)
    brute_force = [(values <= point).mean() for point in points]
    np.testing.assert_allclose(fraction, brute_force)
    shares, _ = spectra.cumulative_distribution(values, by_trace=True)
    np.testing.assert_allclose(shares, np.sort(values) / values.sum())


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("shape", [(8,), (8, 3)])
def test_alignment_against_its_definition(shape, centred):
    gram, targets = random_gram(8), RNG.standard_normal(shape)
    columns = targets.reshape(8, -1)
    second = columns @ columns.T
    first = gram
    if centred:
        h = np.eye(8) - 1 / 8
        first, second = h @ first @ h, h @ second @ h
    expected = np.sum(first * second) / np.linalg.norm(first) / np.linalg.norm(second)
    assert spectra.alignment(gram, targets, centred=centred) == pytest.approx(expected, rel=1e-12)


@given(seed=st.integers(0, 100), scale=st.floats(1e-3, 1e3), centred=st.booleans())
def test_alignment_ignores_order_and_scale(seed, scale, centred):
    rng = np.random.default_rng(seed)
    gram, targets, order = random_gram(6, seed=seed), rng.standard_normal(6), rng.permutation(6)
    value = spectra.alignment(gram, targets, centred=centred)
    moved = spectra.alignment(
        scale * gram[np.ix_(order, order)], -scale * targets[order], centred=centred
    )
    assert moved == pytest.approx(value, rel=1e-9)
    assert 0 <= value <= 1


def test_alignment_is_one_for_the_targets_own_kernel():
    targets = RNG.standard_normal(5)
    assert spectra.alignment(np.outer(targets, targets), targets) == pytest.approx(1)


def test_centred_alignment_ignores_a_constant_shift():
    gram, targets = random_gram(6), RNG.standard_normal(6)
    shifted = spectra.alignment(gram + 3, targets + 2, centred=True)
    assert shifted == pytest.approx(spectra.alignment(gram, targets, centred=True), rel=1e-12)
    assert shifted != pytest.approx(spectra.alignment(gram + 3, targets + 2), rel=1e-2)


def test_kernel_drift_against_its_definition():
    before, after = random_gram(4, seed=1), random_gram(4, seed=2)
    expected = np.sqrt(((after - before) ** 2).sum() / (before**2).sum())
    assert spectra.kernel_drift(after, before) == pytest.approx(expected, rel=1e-12)
    block = before.reshape(2, 2, 2, 2)
    assert spectra.kernel_drift(2 * block, block) == pytest.approx(1)


def test_kernel_distance_is_blind_to_scale_and_shift():
    before, after = random_gram(5, seed=1), random_gram(5, seed=2)
    distance = spectra.kernel_distance(after, before)
    assert distance > 0.01
    assert spectra.kernel_distance(3 * after + 2, before) == pytest.approx(distance, rel=1e-10)
    assert spectra.kernel_distance(3 * before, before) == pytest.approx(0, abs=1e-30)


@pytest.mark.parametrize("centred", [False, True])
def test_kernel_distance_against_its_definition(centred):
    first, second = random_gram(5, seed=1), random_gram(5, seed=2)
    h = np.eye(5) - 1 / 5 if centred else np.eye(5)
    a, b = h @ first @ h, h @ second @ h
    expected = 1 - np.sum(a * b) / np.linalg.norm(a) / np.linalg.norm(b)
    distance = spectra.kernel_distance(first, second, centred=centred)
    assert distance == pytest.approx(expected, rel=1e-12)


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))
def test_block_matrix_places_every_entry(o1, o2, n1, n2):
    block = np.random.default_rng(0).standard_normal((o1, o2, n1, n2))
    matrix = spectra.block_matrix(block)
    assert matrix.shape == (o1 * n1, o2 * n2)
    for o, p, n, m in np.ndindex(*block.shape):
        assert matrix[o * n1 + n, p * n2 + m] == block[o, p, n, m]


@pytest.mark.parametrize(("kernel", "what"), [(np.ones((3, 3)), r"\(3, 3\)"), ("K", "str")])
def test_only_block_kernels_become_block_matrices(kernel, what, unchecked_types):
    with pytest.raises(KernelError, match=rf"^kernel: {what} is not allowed; use the values"):
        spectra.block_matrix(kernel)


def test_torch_tensors_are_taken():
    block = torch.randn(2, 2, 3, 3, device="meta")
    assert spectra.block_matrix(block).shape == (6, 6)
    gram = torch.from_numpy(random_gram(4))
    np.testing.assert_allclose(spectra.eigenvalues(gram), spectra.eigenvalues(gram.numpy()))
    ones = torch.ones(4, dtype=torch.float64)
    assert spectra.alignment(gram, ones) == spectra.alignment(gram.numpy(), ones.numpy())


@pytest.mark.parametrize("size", [15, 16])
def test_circle_modes_rebuild_the_function(size):
    values = RNG.standard_normal((3, size))
    start = -np.pi
    angles = start + 2 * np.pi * np.arange(size) / size
    amplitude, phase = spectra.circle_modes(values, start=start)
    mode = np.arange(size // 2 + 1)
    waves = np.cos(mode[:, None] * angles + phase[..., None])
    np.testing.assert_allclose((amplitude[..., None] * waves).sum(-2), values, atol=1e-12)


def test_circle_modes_read_amplitude_and_phase():
    angles = -np.pi + 2 * np.pi * np.arange(720) / 720
    values = 0.5 + 2 * np.cos(3 * angles + 0.4) + 0.1 * np.cos(7 * angles - 1.0)
    amplitude, phase = spectra.circle_modes(values, start=-np.pi)
    np.testing.assert_allclose(amplitude[[0, 3, 7]], [0.5, 2, 0.1], rtol=1e-12)
    np.testing.assert_allclose(phase[[3, 7]], [0.4, -1.0], rtol=1e-11)
    others = np.delete(amplitude, [0, 3, 7])
    assert others.max() < 1e-14


def test_zero_has_no_shape():
    zero, one, y = np.zeros((3, 3)), np.eye(3), np.ones(3)
    found = [
        spectra.effective_rank(np.zeros(3)),
        spectra.participation_ratio(np.zeros(3)),
        spectra.alignment(zero, y),
        spectra.alignment(one, 0 * y),
        spectra.kernel_drift(one, zero),
        spectra.kernel_distance(one, zero, centred=False),
        spectra.kernel_distance(np.ones((3, 3)), one),  # a constant kernel is 0 when centred
    ]
    assert np.isnan(found).all()


@pytest.mark.parametrize("name", ["effective_rank", "participation_ratio"])
def test_a_matrix_in_place_of_its_eigenvalues_is_refused(name):
    # Without the checks of shapes that tests wrap around functions.
    with pytest.raises(ConfigurationError, match=r"values: shape \(3, 3\) is not allowed"):
        inspect.unwrap(getattr(spectra, name))(np.eye(3))


def test_tensors_of_another_device_are_copied_to_the_cpu():
    class Elsewhere:
        def cpu(self):
            return torch.eye(2)

        def __array__(self, dtype=None, copy=None):
            raise TypeError("on another device")

    np.testing.assert_array_equal(to_numpy(Elsewhere()), np.eye(2))
