"""Moments of Gaussian pairs, of coordinates of wide read-outs, and their figure."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from plans import build_plan
from study_cases import DIGITS, digits_data, measured
from torch.func import functional_call

from figures import moment_errors as figure
from ntkflow.errors import ConfigurationError
from ntkflow.limits import limit_kernels
from ntkflow.limits.moments import MOMENTS, gaussian_moments, moment_errors
from ntkflow.networks import Dense, draw_parameters
from ntkflow.randomness import seeded, torch_seed
from ntkstudy.report.plotting import use_style
from ntkstudy.subjects.members import Members
from ntkstudy.subjects.networks import build_network

PSI = (
    lambda x, y: x,
    lambda x, y: x**2,
    lambda x, y: x.relu() * y.relu(),
    lambda x, y: x**2 * y**2,
)
COVARIANCE = torch.tensor([[2.0, -0.9, 0.6], [-0.9, 0.7, 0.1], [0.6, 0.1, 1.1]]).double()


def integrals(covariance, psi):
    """Mean and standard deviation over a Gaussian pair, on a grid of many points."""
    z = torch.linspace(-9, 9, 1201, dtype=torch.float64)
    weight = torch.exp(-(z[:, None] ** 2 + z**2) / 2)
    factor = torch.linalg.cholesky(covariance)
    x = factor[0, 0] * z[:, None] + 0 * z
    values = psi(x, factor[1, 0] * z[:, None] + factor[1, 1] * z)
    mean = (weight * values).sum() / weight.sum()
    return mean, ((weight * values**2).sum() / weight.sum() - mean**2).sqrt()


@pytest.mark.parametrize("place", range(4))
def test_gaussian_moments_are_integrals(place):
    mean, std = gaussian_moments(COVARIANCE)
    for i, j in ((0, 1), (1, 2)):
        pair = COVARIANCE[[i, j]][:, [i, j]]
        expected = integrals(pair, PSI[place])
        torch.testing.assert_close(mean[place, i, j], expected[0], atol=1e-6, rtol=1e-4)
        torch.testing.assert_close(std[place, i, j], expected[1], atol=1e-6, rtol=1e-4)


def test_errors_are_those_of_every_pair_and_fall_like_the_root():
    generator, factor = torch.Generator().manual_seed(0), torch.linalg.cholesky(COVARIANCE)
    h = factor @ torch.randn(3, 50, dtype=torch.float64, generator=generator)
    mean, std = gaussian_moments(COVARIANCE)
    for place, found in enumerate(moment_errors(h, COVARIANCE)):
        off = [
            (PSI[place](h[i], h[j]).mean() - mean[place, i, j]) / std[place, i, j]
            for i in range(3)
            for j in range(3)
            if i != j
        ]
        torch.testing.assert_close(found, torch.stack(off).square().mean().sqrt())
    draws = torch.randn(400, 3, 100, dtype=torch.float64, generator=generator)
    squares = torch.stack([moment_errors(factor @ z, COVARIANCE) for z in draws]).square()
    torch.testing.assert_close(squares.mean(0) * 100, torch.ones(4).double(), atol=0.3, rtol=0)


@pytest.mark.parametrize("name", ["mlp", "rnn", "transformer"])
def test_coordinates_are_those_of_a_read_out_as_wide_as_its_inputs(tmp_path, name):
    described = {"kind": "architecture", "architecture": name, "width": 12}
    network = build_network(described, 49, 10)
    drawn = draw_parameters(network, [3, 4])
    networks = Members(network, drawn, drawn, [3, 4], described)
    with digits_data(tmp_path) as data:
        found = measured("coordinate_moments", networks, data, "initialization")
        x = data.training_set(**networks.where)[0][:10]
    assert [each.decode() for each in found["moment"]] == list(MOMENTS)
    covariance = limit_kernels(network, x.double()).nngp
    for place, one in enumerate(networks):
        with seeded(torch_seed(one.seeds[0], "init", 1)):
            last = Dense(12, 12, sigma_w=2**0.5, sigma_b=0.1)
        # The first ten outputs of the network, with the first ten rows of the wider read-out.
        own = str(len(network) - 1)
        weights = one.weights | {
            f"{own}.weight": last.weight[:10].detach(), f"{own}.bias": last.bias[:10].detach()
        }  # fmt: skip
        h = torch.zeros(10, 12, dtype=torch.float64)
        h[:, :10] = functional_call(network, weights, (x,)).double()
        weights = {
            f"{own}.weight": last.weight[2:].detach(), f"{own}.bias": last.bias[2:].detach()
        }  # fmt: skip
        h[:, 2:] = functional_call(network, one.weights | weights, (x,)).double()
        expected = moment_errors(h, covariance)
        np.testing.assert_allclose(found["error"][place], expected, rtol=1e-5)


def test_networks_of_another_kind_are_refused():
    entry = [{"kind": "coordinate_moments", "when": ["initialization"]}]
    own = {"kind": "module", "name": "own:Net", "has_limit": True}
    with pytest.raises(ConfigurationError, match="a dense read-out behind other layers"):
        build_plan(measurements=entry, network=own, sweep={})
    lstm = {"kind": "architecture", "architecture": "lstm", "width": 4}
    with pytest.raises(ConfigurationError, match="a known infinite width"):
        build_plan(measurements=entry, network=lstm, task=DIGITS, sweep={"network.width": [4]})


def test_figure_has_a_line_for_each_moment():
    use_style()
    rng, rows = np.random.default_rng(0), []
    for name, widths in (("mlp", (64, 128)), ("rnn", (128, 512))):
        for width in widths:
            for moment in MOMENTS:
                rows += [(name, width, moment, s, e) for s, e in enumerate(rng.random(5))]
    table = pd.DataFrame(rows, columns=["architecture", "width", "moment", "seed", "error"])
    drawn = figure.draw({"initialization_coordinate_moments": table}, {})
    assert [axes.get_title() for axes in drawn.axes] == ["mlp", "rnn"]
    assert [len(axes.containers) for axes in drawn.axes] == [4, 4]
    dashed = drawn.axes[1].lines[-1].get_xydata()
    np.testing.assert_allclose(dashed, [[128, 128**-0.5], [512, 512**-0.5]])
    plt.close("all")
