"""Kernels at infinite width from random networks, beside exact limits and plain definitions."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, jacrev

import ntkflow
from ntkflow import Conv2d, Dense, GlobalAveragePool, cnn, limit_kernels, mlp, monte_carlo_kernels
from ntkflow.errors import ConfigurationError, KernelError, UnsupportedLayerError

pytestmark = pytest.mark.usefixtures("one_thread")

SCALES = {"sigma_w": 1.4, "sigma_b": 0.2}
NETWORKS = {
    "relu": lambda w, **o: mlp(5, [w, w], 64, activation="relu", **SCALES | o),
    "erf": lambda w, **o: mlp(5, [w, w], 64, activation="erf", **SCALES | o),
    "pool": lambda w, **o: cnn(2, [w, w], 32, image_size=4, head="gap", **SCALES | o),
}


def inputs(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def worst(found, limit):
    """The largest deviation in standard errors, over both kernels."""
    pairs = (found.nngp, limit.nngp, found.nngp_error), (found.ntk, limit.ntk, found.ntk_error)
    return max(((value - exact).abs() / error).max() for value, exact, error in pairs)


class Recorder:
    """A function from a width to a network that keeps the networks it made, by width."""

    def __init__(self, make):
        self.make, self.made = make, {}

    def __call__(self, width):
        network = self.make(width)
        self.made.setdefault(width, []).append(network)
        return network

    def used(self, width, samples):
        return self.made[width][-samples:]


class Gated(nn.Module):
    """The last outputs of an LSTM, read out."""

    def __init__(self, width):
        super().__init__()
        self.lstm, self.out = ntkflow.LSTM(3, width, sigma_b=0.1), Dense(width, 4)

    def forward(self, x):
        return self.out(self.lstm(x)[0][:, -1])


class Table(nn.Module):
    """Independent outputs N(0, 1 + 2 / width) of every row, an index."""

    def __init__(self, width):
        super().__init__()
        self.values, self.scale = nn.Embedding(70, width), (1 + 2 / width) ** 0.5

    def forward(self, x):
        return self.scale * self.values(x)


def maximum(width):
    first, last = Conv2d(2, width, 3, padding="same"), Dense(width, 4)
    return nn.Sequential(first, nn.ReLU(), nn.MaxPool2d(2), GlobalAveragePool(), last)


def normalized(width):
    return mlp(5, [width], 3, normalization="batch").double()


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("name", NETWORKS)
def test_exact_limits(name):
    x = inputs(4, 2, 4, 4) if name == "pool" else inputs(4, 5)
    found = monte_carlo_kernels(NETWORKS[name], x, widths=(48, 144), samples=32, precision=0)
    assert worst(found, limit_kernels(NETWORKS[name](1), x)) < 4
    for factor in (1.05, 1 / 1.05):
        other = NETWORKS[name](1, sigma_w=factor * SCALES["sigma_w"])
        assert worst(found, limit_kernels(other, x)) > 4


@pytest.mark.usefixtures("unchecked_types")
def test_errors_are_those_of_independent_entries():
    found = monte_carlo_kernels(Table, torch.arange(70), widths=(4, 8), samples=12, precision=0)
    pairs = torch.triu_indices(70, 70, 1).unbind()
    ratio = found.nngp[pairs].square().mean() / found.nngp_error[pairs].square().mean()
    assert ratio.item() == pytest.approx(1, abs=0.1)
    assert found.nngp.diagonal().mean().item() == pytest.approx(1, abs=0.1)
    torch.testing.assert_close(found.ntk, torch.eye(70).double(), rtol=1e-5, atol=1e-6)
    assert found.ntk_error.max() < 1e-6


def gradients(network, x):
    parameters = dict(network.named_parameters())
    parts = jacrev(lambda p: functional_call(network, p, (x,)))(parameters)
    return torch.cat([part.flatten(2) for part in parts.values()], dim=2)


def by_definition(network, x1, x2):
    f, g = network(x1), network(x2)
    ntk = torch.einsum("nop,mop->nm", gradients(network, x1), gradients(network, x2))
    return torch.stack([f @ g.mT, ntk]).detach() / f.shape[1]


def check_a_width(make, x1, x2, **options):
    recorder = Recorder(make)
    found = monte_carlo_kernels(recorder, x1, x2, widths=[6], samples=5, precision=0, **options)
    each = [by_definition(network, x1, x2) for network in recorder.used(6, 5)]
    torch.testing.assert_close(torch.stack([found.nngp, found.ntk]), torch.stack(each).mean(0))
    errors = torch.stack(each).std(0) / 5**0.5
    torch.testing.assert_close(torch.stack([found.nngp_error, found.ntk_error]), errors)
    return found


def test_one_width_is_the_mean_over_its_networks():
    found = check_a_width(
        lambda w: mlp(5, [w], 2).double(), inputs(3, 5).double(), inputs(2, 5).double()
    )
    assert (found.widths, found.samples) == ((6,), 5)


@pytest.mark.parametrize("memory_budget", [None, 1])
def test_batch_normalisation_is_a_function_of_the_batch(memory_budget):
    x1, x2 = inputs(4, 5).double(), inputs(3, 5, seed=1).double()
    own = monte_carlo_kernels(
        normalized, x1, widths=[6], samples=5, precision=0, memory_budget=memory_budget
    )
    check_a_width(normalized, x1, x1, memory_budget=memory_budget)
    found = check_a_width(normalized, x1, x2, memory_budget=memory_budget)
    assert found.ntk.shape == (4, 3)
    torch.testing.assert_close(own.ntk, own.ntk.mT)


@pytest.mark.usefixtures("unchecked_types")
def test_extrapolation_is_least_squares():
    make, x, widths = lambda w: mlp(5, [w], 2), inputs(2, 5), (4, 8, 16)
    each = [monte_carlo_kernels(make, x, widths=[w], samples=5, precision=0) for w in widths]
    found = monte_carlo_kernels(make, x, widths=widths, samples=5, precision=0)
    design = np.stack([np.ones(3), 1 / np.array(widths)], axis=1)
    for kernel in ("nngp", "ntk"):
        errors = torch.stack([getattr(one, f"{kernel}_error") for one in each])
        root = errors.square().mean((1, 2)).rsqrt().numpy()
        coefficients = (np.linalg.pinv(root[:, None] * design) * root)[0]
        means = torch.stack([getattr(one, kernel) for one in each])
        expected = torch.einsum("w,wij->ij", torch.tensor(coefficients), means)
        torch.testing.assert_close(getattr(found, kernel), expected)
        expected = torch.einsum("w,wij->ij", torch.tensor(coefficients**2), errors**2).sqrt()
        torch.testing.assert_close(getattr(found, f"{kernel}_error"), expected)


@pytest.mark.parametrize(
    ("make", "shape"), [(Gated, (3, 4, 3)), (maximum, (3, 2, 4, 4)), (normalized, (3, 5))]
)
def test_networks_without_a_known_limit(make, shape):
    x = inputs(*shape).to(next(make(1).parameters()).dtype)
    with pytest.raises(UnsupportedLayerError):
        limit_kernels(make(1), x)
    found = monte_carlo_kernels(make, x, widths=(8, 16), samples=4)
    for values in found[:4]:
        assert values.dtype == torch.float64
        assert values.shape == (3, 3)
        torch.testing.assert_close(values, values.mT)
    assert found.ntk.diagonal().min() > 0


def test_buffers_stay():
    recorder = Recorder(normalized)
    monte_carlo_kernels(recorder, inputs(3, 5).double(), widths=[4], samples=2)
    for network in recorder.made[4]:
        fresh = normalized(4)
        assert network.training
        for buffer, expected in zip(network.buffers(), fresh.buffers(), strict=True):
            assert torch.equal(buffer, expected)


@pytest.mark.usefixtures("unchecked_types")
def test_stops_at_the_precision():
    x, make = inputs(2, 5), lambda w: mlp(5, [w], 8)
    found = monte_carlo_kernels(make, x, widths=[8], samples=400, precision=0.16)
    assert found.converged
    assert found.relative_error <= 0.16
    assert 32 < found.samples < 400
    ratios = found.nngp_error.norm() / found.nngp.norm(), found.ntk_error.norm() / found.ntk.norm()
    assert found.relative_error == pytest.approx(max(ratios).item())
    before = monte_carlo_kernels(make, x, widths=[8], samples=32, precision=0.16)
    assert (before.converged, before.samples) == (False, 32)
    assert before.relative_error > 0.16


@pytest.mark.usefixtures("unchecked_types")
def test_seeds():
    x, make = inputs(8, 5), lambda w: mlp(5, [w], 2)
    options = dict(widths=(4, 6), samples=2, precision=0)
    before = torch.get_rng_state()
    found = monte_carlo_kernels(make, x, seed=3, **options)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(5)
    again = monte_carlo_kernels(make, x, seed=3, **options)
    assert all(map(torch.equal, found[:4], again[:4]))
    chunked = monte_carlo_kernels(make, x, seed=3, memory_budget=2**11, **options)
    torch.testing.assert_close(found.ntk, chunked.ntk, rtol=1e-5, atol=1e-5)
    other = monte_carlo_kernels(make, x, seed=4, **options)
    assert not torch.equal(found.nngp, other.nngp)


def test_one_of_several_things_and_several_inputs():
    x = inputs(3, 4, 3)
    options = dict(widths=(4,), samples=2)
    found = monte_carlo_kernels(
        lambda w: ntkflow.GRU(3, w), (x,), output=lambda returned: returned[0][:, -1], **options
    )
    assert found.nngp.shape == (3, 3)


SHARED = mlp(5, [4])
NEVER_FINITE = lambda w: nn.Sequential(Dense(5, w, sigma_w=1e30), Dense(w, 1, sigma_w=1e30))  # noqa: E731


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("make", "options", "error", "message"),
    [
        (NETWORKS["relu"], {"widths": ()}, ConfigurationError, "^widths: "),
        (NETWORKS["relu"], {"widths": 64}, ConfigurationError, "^widths: 64 is not allowed"),
        (NETWORKS["relu"], {"widths": (8, 8)}, ConfigurationError, "^widths: "),
        (NETWORKS["relu"], {"widths": (8, 0)}, ConfigurationError, "^widths: 0 is not allowed"),
        (NETWORKS["relu"], {"samples": 1}, ConfigurationError, "^samples: 1 .* from 2 on"),
        (NETWORKS["relu"], {"precision": -1}, ConfigurationError, "^precision: -1 "),
        (NETWORKS["relu"], {"seed": -1}, ConfigurationError, "^seed: -1 "),
        (SHARED, {}, ConfigurationError, "^network: Sequential is not allowed; use a function"),
        (lambda w: SHARED, {}, ConfigurationError, "^network: two calls return the same"),
        (lambda w: mlp(5, [4]), {}, ConfigurationError, "^network: has as many parameters at wid"),
        (lambda w: w, {}, ConfigurationError, "^network: returns a int for width 64"),
        (lambda w: mlp(4, [w]), {}, UnsupportedLayerError, "^x1: .* fails on its first row"),
        (lambda w: normalized(w).float()[1:], {}, UnsupportedLayerError, "^network: fails at wid"),
        (lambda w: ntkflow.GRU(5, w), {}, UnsupportedLayerError, "returns a tuple of 2"),
        (
            lambda w: nn.Sequential(*normalized(w).float(), nn.Dropout(0.5)),
            {},
            UnsupportedLayerError,
            "^layer '4': Dropout in training mode",
        ),
        (NEVER_FINITE, {}, KernelError, "^network: kernels at width 64 are not finite"),
    ],
)
def test_mistakes_are_named(make, options, error, message):
    with pytest.raises(error, match=message):
        monte_carlo_kernels(make, inputs(3, 5), **options)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("normalization", [False, True])
def test_outputs_that_do_not_fit(normalization):
    def make(width):
        layers = nn.BatchNorm2d(2) if normalization else nn.Identity()
        return nn.Sequential(layers, Conv2d(2, width, 3), nn.Flatten())

    with pytest.raises(UnsupportedLayerError, match="output"):
        monte_carlo_kernels(make, inputs(2, 2, 5, 5), inputs(2, 2, 4, 4))
