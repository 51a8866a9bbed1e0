"""Distances of ensembles from a limit, of weights from their start, and coupling of outputs."""

import math
import statistics
from itertools import combinations

import pytest
import torch

from ntkflow import block_matrix, output_coupling, parameter_distances, relative_distances
from ntkflow.errors import ConfigurationError, KernelError


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def mean_over_pairs(samples, function):
    return math.fsum(function(a, b) for a, b in combinations(samples, 2)) / math.comb(
        len(samples), 2
    )


def jackknife(samples, statistic):
    """Values whose mean is a statistic less its bias, from its definition."""
    count, others = len(samples), [statistic(x) for x in combinations(samples, len(samples) - 1)]
    return [count * statistic(samples) - (count - 1) * each for each in reversed(others)]


@pytest.mark.parametrize("shape", [(4, 4), (2, 2, 3, 3), (5,)])
def test_relative_distances_written_out(shape):
    samples, limit = draw(4, *shape), draw(*shape, seed=1)
    sample, mean_square, scale = relative_distances(samples, limit)
    size = math.fsum(v * v for v in limit.flatten().tolist())

    def product(a, b):
        return math.fsum(((a - limit) * (b - limit)).flatten().tolist()) / size

    expected = torch.tensor(jackknife(list(samples), lambda some: mean_over_pairs(some, product)))
    assert mean_square.mean().item() == pytest.approx(mean_over_pairs(samples, product), rel=1e-10)
    apart = (samples - samples.mean(0)).flatten(1) / limit.norm()
    scatter = torch.linalg.matrix_norm(apart.T @ apart / 3).item()
    assert mean_square.std().item() ** 2 / 4 == pytest.approx(
        max(expected.var().item() / 4, 2 * scatter**2 / 4**2), rel=1e-6
    )
    turned = torch.corrcoef(torch.stack([mean_square, expected.double()]))[0, 1].item()
    assert turned == pytest.approx(1.0)
    for s in range(4):
        overlap = math.fsum((samples[s] * limit).flatten().tolist())
        assert sample[s].item() == pytest.approx(product(samples[s], samples[s]) ** 0.5, rel=1e-12)
        assert scale[s].item() == pytest.approx(overlap / size - 1, rel=1e-10)


def test_errors_of_means_over_pairs_are_those_of_repetitions():
    limit, means, errors = torch.ones(3, 3, dtype=torch.float64), [], []
    for seed in range(400):
        noise = draw(30, 1, 1, seed=seed)  # all entries move together
        found = relative_distances((1.2 + 0.5 * noise) * limit, limit).mean_square
        means.append(found.mean().item())
        errors.append(found.std().item() / 30**0.5)
    assert statistics.mean(errors) == pytest.approx(statistics.stdev(means), rel=0.1)


def test_intervals_of_samples_whose_mean_is_the_limit_hold_it():
    limit, held, beside = torch.ones(3, 3, dtype=torch.float64), 0, []
    for seed in range(400):
        off = 0.5 * draw(30, 1, 1, seed=seed)
        found = relative_distances((1 + off) * limit, limit).mean_square
        half = 2.05 * found.std().item() / 30**0.5
        held += abs(found.mean().item()) <= half
        beside.append(half / (2.05 * (off * off.roll(-1, 0)).std().item() / 30**0.5))
    assert held >= 0.95 * 400
    assert statistics.median(beside) < 0.5  # of pairs that lie beside each other


def test_values_that_are_equal_by_chance_are_spread():
    limit = torch.ones(2, 2, dtype=torch.float64)
    for off in ([0.1, 0.1, -0.1, -0.1], [0.1, -0.1], [0.1, 0.3]):
        samples = limit * (1 + torch.tensor(off, dtype=torch.float64).view(-1, 1, 1))
        found = relative_distances(samples, limit).mean_square
        square, count = torch.tensor(off).double().var().item(), len(off)
        assert found.std().item() >= 0.999 * (2 / count) ** 0.5 * square
        mean = mean_over_pairs(off, lambda a, b: a * b)
        assert found.mean().item() == pytest.approx(mean, abs=1e-12)
    assert relative_distances(limit[:0], limit[0]).mean_square.shape == (0,)


def test_mean_square_is_free_of_the_noise_of_few_networks():
    limit = torch.ones(3, 3, dtype=torch.float64)
    samples = 1.2 * limit + 0.5 * draw(4000, 3, 3)
    _, mean_square, _ = relative_distances(samples, limit)
    error = mean_square.std() / 4000**0.5
    assert abs(mean_square.mean() - 0.2**2) < 4 * error
    assert error < 0.005
    assert relative_distances(samples, limit).sample.square().mean() > 0.2


def test_one_sample_has_no_other_beside_it():
    found = relative_distances(draw(1, 2, 2), draw(2, 2, seed=1))
    assert found.mean_square.isnan().all()
    assert found.sample.isfinite().all()
    nothing = relative_distances(torch.zeros(2, 3), torch.zeros(3))
    assert all(part.isnan().all() for part in nothing)


@pytest.mark.usefixtures("unchecked_types")
def test_samples_of_another_shape_are_named():
    with pytest.raises(KernelError, match=r"^samples: shape \(4, 1\) .* use \(any, 3\)$"):
        relative_distances(torch.zeros(4, 1), torch.zeros(3))  # would be broadcast


def test_output_coupling_written_out():
    block = draw(3, 3, 4, 5)
    off = sum(block[o, p].square().sum() for o in range(3) for p in range(3) if o != p)
    on = sum(block[o, o].square().sum() for o in range(3))
    torch.testing.assert_close(output_coupling(block), (off / on).sqrt(), rtol=1e-12, atol=0)


def test_weak_coupling_keeps_its_digits():
    block = torch.eye(2, dtype=torch.float64).reshape(2, 2, 1, 1).clone()
    block[0, 1] = 1e-12
    assert output_coupling(block).item() == pytest.approx(1e-12 / 2**0.5, rel=1e-12)
    assert output_coupling(block[:1, :1]).item() == 0
    assert output_coupling(0 * block).isnan()


@pytest.mark.usefixtures("unchecked_types")
def test_coupling_needs_a_square_block_kernel():
    with pytest.raises(KernelError, match=r"^block: shape \(2, 3, 4, 4\) .* use \(2, 2, any, any"):
        output_coupling(torch.zeros(2, 3, 4, 4))


def test_matrices_by_output_and_by_input():
    block = draw(2, 3, 4, 5)
    by_output, by_input = block_matrix(block), block_matrix(block, by_input=True)
    assert by_output.shape == by_input.shape == (8, 15)
    for o, p, n, m in [(0, 0, 0, 0), (1, 2, 3, 4), (0, 2, 1, 3)]:
        assert by_output[o * 4 + n, p * 5 + m] == block[o, p, n, m]
        assert by_input[n * 2 + o, m * 3 + p] == block[o, p, n, m]
    assert (block_matrix(block.numpy(), by_input=True) == by_input.numpy()).all()


def test_parameter_distances_written_out():
    shapes = {"0.weight": (3, 2), "0.bias": (3,), "scale": ()}
    start = {
        name: draw(4, *shape, seed=i).float() for i, (name, shape) in enumerate(shapes.items())
    }
    moved = {name: p + 0.1 * draw(*p.shape, seed=9).float() for name, p in start.items()}
    found = parameter_distances(moved, start)
    for s in range(4):
        flat = [
            torch.cat([p[s].double().flatten() for p in each.values()]) for each in (moved, start)
        ]
        distance, size = (flat[0] - flat[1]).norm(), flat[1].norm()
        assert found.distance[s].item() == pytest.approx(distance.item(), rel=1e-12)
        assert found.start[s].item() == pytest.approx(size.item(), rel=1e-12)
        assert found.relative[s].item() == pytest.approx((distance / size).item(), rel=1e-12)
    still = parameter_distances(start, start)
    assert (still.distance == 0).all()
    assert found.distance.dtype == torch.float64


@pytest.mark.usefixtures("unchecked_types")
def test_other_parameters_are_named():
    start = {"a": torch.zeros(2, 3), "b": torch.zeros(2)}
    with pytest.raises(ConfigurationError, match=r"^parameters: 'b' is not in both"):
        parameter_distances({"a": start["a"]}, start)
    with pytest.raises(KernelError, match=r"^a: shape \(1, 3\) .* use \(2, 3\)$"):
        parameter_distances(start | {"a": torch.zeros(1, 3)}, start)
