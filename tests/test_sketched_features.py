"""Random projections of gradients, against dense kernels and over many seeds."""

import pytest
import torch
from architectures import build as build_architecture
from torch import nn

import ntkflow
from ntkflow import Estimate, sketched_features
from ntkflow.empirical import layer_factors
from ntkflow.errors import ConfigurationError

torch.set_num_threads(1)


class Tied(nn.Module):
    """A table that is looked up, mixed and multiplied with."""

    def __init__(self):
        super().__init__()
        self.table, self.mix = nn.Embedding(6, 3), nn.Linear(3, 3)

    def forward(self, ids):
        return torch.tanh(self.mix(self.table(ids))).mean(1) @ self.table.weight.T


def build(name):
    torch.manual_seed(0)
    if name == "mlp":
        network, x = ntkflow.mlp(3, [6, 4], 2, sigma_b=0.5), torch.randn(5, 3)
    elif name == "cnn":
        network, x = ntkflow.cnn(2, [3, 4], 2, image_size=4, sigma_b=0.3), torch.randn(5, 2, 4, 4)
    else:
        return Tied().double(), torch.randint(0, 6, (4, 3))
    return network.double(), x.double()


NAMES = ["mlp", "cnn", "tied"]
# Of many equal calls the shapes need no check in each; other tests here check them.
many_calls = pytest.mark.usefixtures("unchecked_types")


def dense(network, x, outputs):
    values = ntkflow.empirical_ntk(network, x, outputs=outputs).values
    return values if values.ndim == 2 else ntkflow.block_matrix(values, by_input=True)


def grams(name, outputs, dimension, seeds=range(30)):
    network, x = build(name)
    found = [
        sketched_features(network, x, dimension, seed=seed, outputs=outputs).matrix
        for seed in seeds
    ]
    return torch.stack([features @ features.T for features in found])


@many_calls
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("outputs", ["block", "mean", [1]])
def test_products_are_those_of_the_kernel_on_average(name, outputs):
    kernel = dense(*build(name), outputs)
    mean, error = Estimate.of(grams(name, outputs, 24))
    assert mean.shape == kernel.shape
    # The largest of some hundred entries that are normal.
    assert ((mean - kernel).abs() < 4.5 * error).all()


@many_calls
@pytest.mark.parametrize("name", NAMES)
def test_error_falls_as_the_root_of_the_dimension(name):
    kernel = dense(*build(name), "block")
    sizes = kernel.diag().outer(kernel.diag()).sqrt()
    few, many = (
        ((grams(name, "block", dimension) - kernel) / sizes).square().mean().sqrt()
        for dimension in (16, 256)
    )
    assert 3 < few / many < 5.3
    assert few < (8 / 16) ** 0.5


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("outputs", ["block", "trace"])
def test_whole_gradients_and_sums_over_places_have_one_map(name, outputs, monkeypatch):
    """Features of a call may come another way than those of the next one."""
    network, x = build(name)
    found = []
    for whole in (True, False):
        monkeypatch.setattr(layer_factors, "prefers_matrices", lambda *sizes, w=whole: w)
        found.append(sketched_features(network, x, 20, outputs=outputs, seed=4).values)
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("outputs", ["block", "trace"])
def test_rows_in_chunks_and_apart(name, outputs):
    network, x = build(name)
    options = dict(outputs=outputs, seed=3)
    whole = sketched_features(network, x, 33, **options).values
    chunked = sketched_features(network, x, 33, memory_budget=1, **options).values
    parts = [sketched_features(network, rows, 33, **options).values for rows in (x[:1], x[1:])]
    torch.testing.assert_close(chunked, whole, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-10, atol=1e-12)


@many_calls
@pytest.mark.parametrize("name", ["resnet18", "gpt2", "lstm", "vit", "swin"])
def test_architectures(name):
    """By whichever method a network's gradients are had."""
    network, x, _ = build_architecture(name)
    kernel = ntkflow.empirical_ntk(network, x, outputs="trace").values
    runs = [sketched_features(network, x, 64, seed=s, outputs="trace") for s in range(12)]
    mean, error = Estimate.of([run.values @ run.values.T for run in runs])
    assert ((mean - kernel).abs() < 5 * error).all()
    assert (mean.diag() / kernel.diag() - 1).abs().max() < 0.5


def test_seeds_and_shapes():
    network, x = build("mlp")
    found = [sketched_features(network, x, 7, seed=seed) for seed in (1, 1, 2)]
    assert torch.equal(found[0].values, found[1].values)
    assert not torch.equal(found[0].values, found[2].values)
    assert found[0].values.shape == (5, 2, 7)
    assert found[0].matrix.shape == (10, 7)
    assert found[0].convention == "Theta[o, o', n, n'] = E <phi[n, o], phi[n', o']>"
    assert sketched_features(network, x, 7, outputs=0).values.shape == (5, 7)
    assert sketched_features(network, x, 7, outputs="mean").values.shape == (5, 7)
    assert sketched_features(network, x, 7, dtype=torch.float32).values.dtype == torch.float32


@many_calls
def test_features_of_some_parameters():
    network, x = build("mlp")
    kernel = ntkflow.empirical_ntk(network, x, outputs=0, parameters="*weight").values
    runs = [
        sketched_features(network, x, 40, seed=seed, outputs=0, parameters="*weight").values
        for seed in range(60)
    ]
    mean, error = Estimate.of([run @ run.T for run in runs])
    assert ((mean - kernel).abs() < 4.5 * error).all()


def test_regression_on_features_nears_that_of_the_kernel():
    """Predictions in D dimensions, whose distance falls with D."""
    network, x = build("mlp")
    y = torch.sin(3 * x[:, :1]).expand(-1, 2).flatten()
    kernel = dense(network, x, "block")
    exactly = kernel @ torch.linalg.solve(kernel + 0.5 * torch.eye(10).double(), y)
    distances = []
    for dimension in (50, 20_000):
        phi = sketched_features(network, x, dimension).matrix
        gram = phi @ phi.T
        found = gram @ torch.linalg.solve(gram + 0.5 * torch.eye(10).double(), y)
        distances.append((found - exactly).norm() / exactly.norm())
    assert distances[1] < 0.02 < distances[0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(dimension=0), "dimension: 0 is not allowed"),
        (dict(seed=-1), "seed: -1 is not allowed"),
        (dict(outputs="diagonal"), "outputs: 'diagonal' is not allowed; use 'block', 'trace', "),
        (dict(memory_budget=0), "memory_budget: 0 is not allowed"),
    ],
)
def test_wrong_options_are_an_error(options, words):
    network, x = build("mlp")
    with pytest.raises(ConfigurationError, match=f"^{words}"):
        sketched_features(network, x, **{"dimension": 5, **options})
