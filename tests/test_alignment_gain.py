"""What training does to alignment and loss, against their definitions; the figure of spectra."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from study_cases import in_float64, labelled_data, labelled_networks, mean_kernel, measured
from torch.func import functional_call

from figures import architecture_spectra as figure
from ntkflow import alignment
from ntkflow.networks import member
from ntkstudy.report.plotting import use_style


def test_every_number_is_that_of_its_definition(tmp_path):
    with labelled_data(tmp_path) as data:
        networks = labelled_networks(data)
        found = measured("alignment_gain", networks, data)
        x, y, test_x, test_y = in_float64(data)
        for seed in range(3):
            aligned, losses = [], []
            for weights in (networks.start, networks.parameters):
                one = member(weights, seed)
                kernel = mean_kernel(networks.network, one, data)
                aligned.append(alignment(kernel, y.numpy(), centred=True))
                f = functional_call(networks.network, one, (x,))
                losses.append(torch.nn.functional.cross_entropy(f, y.argmax(1)).item())
            f = functional_call(networks.network, one, (test_x,))
            right = (f.argmax(1) == test_y.argmax(1)).double().mean().item()
            assert found["rise"][seed] == pytest.approx(aligned[1] - aligned[0])
            assert found["fall"][seed] == pytest.approx(losses[0] - losses[1])
            assert found["alignment"][seed] == pytest.approx(aligned[1])
            assert found["test_accuracy"][seed] == pytest.approx(right)
    assert (found["fall"] > 0).all()


def test_figure_has_a_column_for_each_architecture_and_one_scale_a_row():
    rng, rows = np.random.default_rng(0), []
    for name in ("mlp", "rnn_erf"):
        for split in range(2):
            for seed in range(3):
                for step in (0, 5, 10):
                    rows.append((name, split, seed, step, *rng.uniform(0.2, 0.9, 5)))
    columns = ["lambda_max", "effective_rank", "alignment", "train_accuracy", "test_accuracy"]
    table = pd.DataFrame(rows, columns=["architecture", "data_seed", "seed", "step", *columns])
    use_style()
    drawn = figure.draw(dict.fromkeys(figure.TABLES, table), {})
    grid = np.array(drawn.axes).reshape(4, 2)
    assert [axes.get_title() for axes in grid[0]] == ["mlp", "rnn erf"]
    for line in grid:
        assert line[0].get_ylim() == line[1].get_ylim()
    mlp = table[table["architecture"] == "mlp"]
    top = mlp.pivot(index="step", columns=["data_seed", "seed"], values="lambda_max")
    expected = (top / top.iloc[0]).mean(axis=1)
    np.testing.assert_allclose(grid[0, 0].lines[0].get_ydata(), expected)
    solid, dashed = grid[3, 1].lines
    other = table[table["architecture"] == "rnn_erf"].groupby("step")
    np.testing.assert_allclose(solid.get_ydata(), 100 * other["train_accuracy"].mean())
    np.testing.assert_allclose(dashed.get_ydata(), 100 * other["test_accuracy"].mean())
    assert dashed.get_linestyle() == "--"
    plt.close(drawn)
