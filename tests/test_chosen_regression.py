"""Regression on all rows after a choice on rows held out: on a few labelled rows; its figure."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from study_cases import in_float64, measured, noisy_classes

from figures import chosen_regression as figure
from ntkflow import ridge_regression
from ntkflow.errors import ConfigurationError
from ntkflow.limits import limit_kernels
from ntkflow.networks import mlp
from ntkstudy.data.tables import with_axes
from ntkstudy.report.plotting import use_style
from ntkstudy.subjects.limit import Limit

OPTIONS = {
    "depths": [1, 3], "sigma_bs": [0.0, 0.3], "ridges": [0.01, 0.5],
    "choosing_rows": 24, "compared_rows": 30,
}  # fmt: skip


@pytest.fixture
def data(tmp_path):
    with noisy_classes(tmp_path, 12) as data:
        yield data


@pytest.fixture
def limit():
    return Limit(mlp(6, [1], 3, device="meta"), "cpu")


def network(depth, sigma_b):
    return mlp(6, [1] * depth, 3, activation="relu", sigma_w=2**0.5, sigma_b=sigma_b, device="meta")


def predicted(depth, sigma_b, ridge, x, y, others):
    """Naive regression with centred targets."""
    gram = limit_kernels(network(depth, sigma_b), x).ntk
    cross = limit_kernels(network(depth, sigma_b), others, x).ntk
    absolute = ridge * gram.diagonal().mean().item()
    return ridge_regression(gram, cross, y - y.mean(0), ridge=absolute) + y.mean(0)


def test_the_choice_and_the_test_are_those_of_plain_regression(limit, data):
    found = measured("chosen_regression", limit, data, "limit", **OPTIONS)
    x, y, test_x, test_y = in_float64(data)
    misread, squared = np.zeros((2, 2, 2)), np.zeros((2, 2, 2))
    for i, depth in enumerate(OPTIONS["depths"]):
        for j, sigma_b in enumerate(OPTIONS["sigma_bs"]):
            scale = limit_kernels(network(depth, sigma_b), x[:24]).ntk.diagonal().mean()
            kept = limit_kernels(network(depth, sigma_b), x[:18]).ntk.diagonal().mean()
            for k, ridge in enumerate(OPTIONS["ridges"]):
                relative = ridge * (scale / kept).item()
                f = predicted(depth, sigma_b, relative, x[:18], y[:18], x[18:24])
                misread[i, j, k] = (f.argmax(1) != y[18:24].argmax(1)).double().mean()
                squared[i, j, k] = (f - y[18:24]).square().sum(1).mean()
    np.testing.assert_allclose(found["held_out_error"], misread)
    np.testing.assert_allclose(found["held_out_square"], squared, rtol=1e-4)
    least = misread.reshape(-1) == misread.min()
    best = np.flatnonzero(least)[squared.reshape(-1)[least].argmin()]
    assert found["chosen"].reshape(-1).nonzero()[0].tolist() == [best]

    i, j, k = np.unravel_index(best, (2, 2, 2))
    choice = (OPTIONS["depths"][i], OPTIONS["sigma_bs"][j], OPTIONS["ridges"][k])
    right = predicted(*choice, x, y, test_x).argmax(1) == test_y.argmax(1)
    assert found["accuracy"] == pytest.approx(right.double().mean().item())
    assert found["rows"] == 40
    assert 0 <= found["residual"] <= 1e-6
    assert 0 < found["disagreement"] < 1e-4
    assert 0 < found["solving_seconds"] <= found["seconds"]
    assert 0.05 < found["peak_gigabytes"] < 100


def test_test_rows_have_no_part_in_the_choice(limit, data, monkeypatch):
    first = measured("chosen_regression", limit, data, "limit", **OPTIONS)
    targets = data.targets
    monkeypatch.setattr(type(data), "targets", lambda self, **where: targets(**where).flip(1))
    other = measured("chosen_regression", limit, data, "limit", **OPTIONS)
    np.testing.assert_array_equal(first["chosen"], other["chosen"])
    np.testing.assert_array_equal(first["held_out_error"], other["held_out_error"])
    assert first["accuracy"] != other["accuracy"]


@pytest.mark.parametrize("name", ["choosing_rows", "compared_rows"])
def test_too_few_rows_are_named(limit, data, name):
    message = f"^chosen_regression: {name}: 40 is not allowed; allowed: less than the 40 training"
    with pytest.raises(ConfigurationError, match=message):
        measured("chosen_regression", limit, data, "limit", **OPTIONS | {name: 40})


def test_the_figure_rings_the_choice():
    axes = {"depth": [1, 3], "sigma_b": [0.0, 0.1], "ridge": [0.001, 0.1]}
    table = pd.MultiIndex.from_product(axes.values(), names=axes).to_frame(index=False)
    table = table.assign(held_out_error=np.linspace(0.1, 0.2, 8), chosen=[0, 1] + [0] * 6)
    table = with_axes(table.assign(rows=4000, accuracy=0.96), axes)
    use_style()
    drawn = figure.draw({"limit_chosen_regression": table}, {})
    drawn.draw_without_rendering()
    lines = {line.get_label(): line for line in drawn.axes[0].lines}
    assert len(lines) == 6
    assert lines["chosen"].get_xdata().tolist() == [0.1]
    assert lines["test, all 4,000 images"].get_ydata()[0] == pytest.approx(4.0)
    plt.close(drawn)
