"""Kernels extrapolated in the width, what regression with them predicts, and the figure."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from plans import build_plan
from study_cases import DIGITS, digits_data, in_float64, measured

from figures import estimate_wide as figure
from ntkflow.empirical import empirical_ntk
from ntkflow.errors import ConfigurationError, KernelError
from ntkflow.limits import limit_kernels
from ntkflow.linalg.extrapolation import extrapolate_width
from ntkflow.networks import draw_parameters, member
from ntkstudy.report.plotting import use_style
from ntkstudy.subjects.estimate_wide import _seeds
from ntkstudy.subjects.members import Members
from ntkstudy.subjects.networks import build_network

BLOCK = {"kind": "architecture", "architecture": "mlp", "width": 8}


def test_the_fit_is_that_of_least_squares():
    widths, rng = [4, 8, 16, 32], np.random.default_rng(0)
    values = rng.standard_normal((4, 2, 3))
    design = np.stack([np.ones(4), 1 / np.array(widths)], axis=1)
    expected = np.linalg.lstsq(design, values.reshape(4, -1), rcond=None)[0][0].reshape(2, 3)
    np.testing.assert_allclose(extrapolate_width(torch.as_tensor(values), widths), expected)
    with pytest.raises(KernelError, match="are all the same"):
        extrapolate_width(torch.ones(2, 3), [8, 8])


def regressed(kernel, y):
    gram, cross = kernel[: len(y)], kernel[len(y) :]
    values, vectors = np.linalg.eigh(gram.numpy())
    gram = torch.from_numpy((vectors * values.clip(0)) @ vectors.T)
    ridge = 0.05 * kernel[: len(y)].diagonal().mean() * torch.eye(len(y), dtype=torch.float64)
    return cross @ torch.linalg.inv(gram + ridge) @ y


def test_every_number_is_that_of_its_definition(tmp_path):
    network = build_network(BLOCK, 49, 10)
    drawn = draw_parameters(network, [2, 5], dtype=torch.float64)
    networks = Members(network, drawn, drawn, [2, 5], BLOCK)
    options = {"networks": 3, "halvings": 1, "ridge": 0.05}
    with digits_data(tmp_path) as data:
        found = measured("estimate_wide", networks, data, "initialization", **options)
        x, y, test, _ = in_float64(data)
    inputs, off, wide = torch.cat([x, test]), [], []
    limit = regressed(limit_kernels(network, inputs, x).ntk, y)
    for place, seed in enumerate([2, 5]):
        means = []
        for index, width in enumerate([8, 4]):
            module = build_network(BLOCK | {"width": width}, 49, 1)
            seeds = [6 * seed + 3 * index + each for each in range(3)]
            weights = draw_parameters(module, seeds, dtype=torch.float64)
            kernels = [
                empirical_ntk(module, inputs, x, parameters=member(weights, k)) for k in range(3)
            ]
            means.append(torch.stack([each.values[0, 0] for each in kernels]))
        estimate = 2 * means[0].mean(0) - means[1].mean(0)  # through 1/8 and 1/4, to 0
        off.append((regressed(estimate, y) - limit) / limit.norm())
        assert found["gap"][place] == pytest.approx(off[-1].norm().item(), rel=1e-6)
        wide.append((regressed(means[0].mean(0), y) - limit) / limit.norm())
        assert found["widest"][place] == pytest.approx(wide[-1].norm().item(), rel=1e-6)
        single = (regressed(means[0][0], y) - limit).norm() / limit.norm()
        assert found["single"][place] == pytest.approx(single.item(), rel=1e-6)
    linear = (regressed(inputs @ x.T, y) - limit).norm() / limit.norm()
    np.testing.assert_allclose(found["linear_square"], linear.item() ** 2, rtol=1e-6)
    for name, (first, second) in {"mean_square": off, "widest_square": wide}.items():
        np.testing.assert_allclose(found[name].mean(), (first * second).sum().item(), rtol=1e-6)


def test_no_network_is_drawn_twice():
    options = SimpleNamespace(networks=4, halvings=2)
    every = [seed for s in range(5) for place in range(3) for seed in _seeds(options, s, place)]
    assert len(set(every)) == 60


def test_widths_that_cannot_be_halved_are_refused():
    def plan(name, width, **more):
        block = {"kind": "architecture", "architecture": name, "width": width}
        entry = [{"kind": "estimate_wide", "when": ["initialization"], "halvings": 2}]
        sweep = {"network.width": [width]}
        return build_plan(network=block, task=DIGITS, measurements=entry, sweep=sweep, **more)

    plan("mlp", 4)
    plan("transformer", 40)
    with pytest.raises(ConfigurationError, match="a width that can be halved 2 times"):
        plan("mlp", 6)
    with pytest.raises(ConfigurationError, match="a width that can be halved 2 times"):
        plan("transformer", 36)
    # A cell without networks asks for nothing.
    left_out = [{"where": {"network.width": 6}, "set": {"initializations": 0}}]
    plan("mlp", 6, overrides=left_out)


def test_figure_has_three_kinds_of_dots_for_each_architecture():
    use_style()
    rng, rows = np.random.default_rng(0), []
    for name, width in (("mlp", 64), ("rnn_erf", 128)):
        rows += [(name, width, seed, *rng.random(3)) for seed in range(6)]
    columns = ["architecture", "width", "seed", "gap", "widest", "single"]
    drawn = figure.draw({"initialization_estimate_wide": pd.DataFrame(rows, columns=columns)}, {})
    [axes] = drawn.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "mlp\nn = 64",
        "rnn erf\nn = 128",
    ]
    large = [line.get_ydata() for line in axes.lines if line.get_marker() == "o"]
    medians = pd.DataFrame(rows, columns=columns).groupby("architecture")["gap"].median()
    assert len(large) == 3
    np.testing.assert_allclose(large[2], medians[["mlp", "rnn_erf"]])
    plt.close("all")
