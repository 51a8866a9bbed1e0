"""How much kernels of random networks differ from each other, and their figure."""

from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from plans import build_plan
from study_cases import digits_data, digits_networks, measured

from figures import architecture_spread as figure
from ntkflow.empirical import empirical_ntk
from ntkflow.errors import ConfigurationError
from ntkflow.linalg.distances import pairwise_spread
from ntkstudy.report.plotting import use_style


def test_spread_of_known_matrices():
    generator = torch.Generator().manual_seed(0)
    mean = torch.tensor([[3.0, 1.0], [1.0, 2.0]]).double()
    noise = torch.randn(20000, 2, 2, generator=generator, dtype=torch.float64)
    found = pairwise_spread(mean + 0.01 * noise)
    expected = 0.01 * 2 / float(mean.norm())
    assert float(found.mean()) == pytest.approx(expected, rel=0.01)
    assert pairwise_spread(mean[None]).isnan().all()
    two = pairwise_spread(torch.stack([mean, 2 * mean]))
    assert two.tolist() == pytest.approx([0.5, 0.5])  # |K|^2 / (2 * 2 |K|^2), its root


def test_error_of_the_spread_is_that_of_repetitions():
    generator, means, errors = torch.Generator().manual_seed(0), [], []
    for _ in range(300):
        noise = torch.randn(40, 1, generator=generator, dtype=torch.float64)
        found = pairwise_spread(1 + 0.1 * noise * torch.ones(1, 6))  # all entries move together
        means.append(float(found.mean()))
        errors.append(float(found.std()) / 40**0.5)
    assert np.mean(means) == pytest.approx(0.1, rel=0.02)
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.1)


def test_kernels_are_compared_with_all_others(tmp_path):
    networks = digits_networks(seeds=4)
    with digits_data(tmp_path) as data:
        found = measured("kernel_spread", networks, data, "initialization", images=12)
        x = data.training_set(**networks.where)[0][:12]
    kernels = [
        empirical_ntk(networks.network, x, parameters=one.weights, outputs="mean").values.double()
        for one in networks
    ]

    def spread(some):
        pairs = list(combinations(some, 2))
        apart = sum((k - other).square().sum() for k, other in pairs)
        return float((apart / (2 * sum((k * other).sum() for k, other in pairs))).sqrt())

    for s, k in enumerate(kernels):
        others = [each for place, each in enumerate(kernels) if place != s]
        expected = 4 * spread(kernels) - 3 * spread(others)
        assert found["spread"][s] == pytest.approx(expected, rel=1e-9)
        assert found["size"][s] == pytest.approx(float(k.diagonal().mean()), rel=1e-9)


def test_figure_has_a_panel_for_each_architecture_on_the_same_axes():
    use_style()
    rng, rows = np.random.default_rng(0), []
    for name, widths in (("mlp", (8, 32)), ("rnn_erf", (32, 128, 512))):
        for width in widths:
            spread = width**-0.5 * np.exp(0.1 * rng.standard_normal(6))
            rows += [(name, width, seed, value) for seed, value in enumerate(spread)]
    table = pd.DataFrame(rows, columns=["architecture", "width", "seed", "spread"])
    drawn = figure.draw({"initialization_kernel_spread": table}, {})
    assert [axes.get_title() for axes in drawn.axes] == ["mlp", "rnn erf"]
    assert len({axes.get_xlim() for axes in drawn.axes}) == 1
    assert len({axes.get_ylim() for axes in drawn.axes}) == 1
    line = drawn.axes[1].lines[-2]
    x, y = (np.asarray(each, dtype=float) for each in line.get_data())
    assert np.polyfit(np.log(x), np.log(y), 1)[0] == pytest.approx(-0.5)
    mean = table[table["architecture"] == "rnn_erf"].groupby("width")["spread"].mean()
    assert y[-1] == pytest.approx(mean.iloc[-1])
    plt.close("all")


def test_cells_without_networks_are_left_out():
    sweep = {"network.width": [4, 8]}
    empty = [{"where": {"network.width": 8}, "set": {"initializations": 0}}]
    kinds = [{"kind": "gram", "when": ["initialization"]}]
    plan = build_plan(sweep=sweep, overrides=empty, measurements=kinds)
    files = plan.stage_files("initialization", "e")
    assert len(files) == 2
    assert all("width~4" in file for file in files)
    with pytest.raises(ConfigurationError, match="initializations: 0 is not allowed"):
        build_plan(sweep=sweep, initializations=0, measurements=kinds)
