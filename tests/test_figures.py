import importlib

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from ntkstudy.claims.uncertainty import interval
from ntkstudy.data.tables import axes_of, with_axes
from ntkstudy.data.targets import circle_grid
from ntkstudy.report.intervals import draw_intervals, slope_interval, tell_slope
from ntkstudy.report.plotting import (
    save_figure,
    use_style,
    with_configured,
)

GAMMA = circle_grid(8)
CONFIG = {
    "network": {"width": 50, "depth": 3},
    "measurements": [{"kind": "profile", "anchor_angle": 0.0}],
}


# All are drawn from tables of a run in test_every_figure.py.
PROFILE_FIGURES = ["profiles", "spread_against_width", "training_points"]


def product(**axes) -> pd.DataFrame:
    table = pd.MultiIndex.from_product(axes.values(), names=axes).to_frame(index=False)
    table = table.assign(theta=5.1 * np.random.default_rng(0).random(len(table)))
    return with_axes(table, axes)


def build_tables(**swept) -> dict[str, pd.DataFrame]:
    x = np.random.default_rng(1).standard_normal((9, 2))
    limits = {key: values for key, values in swept.items() if key != "width"}
    return {
        "initialization_profile": product(**swept, seed=range(4), gamma=GAMMA),
        "trained_profile": product(**swept, seed=range(3), step=[0, 20], gamma=GAMMA),
        "limit_profile": product(**limits, gamma=GAMMA),
        "dataset": pd.DataFrame({"x_0": x[:, 0], "x_1": x[:, 1], "y_0": x.prod(axis=1)}),
    }


@pytest.fixture(autouse=True)
def style():
    use_style()
    yield
    plt.close("all")


def draw(name, config=CONFIG, **swept):
    return importlib.import_module(f"figures.{name}").draw(build_tables(**swept), config)


@pytest.mark.parametrize("swept", [{}, {"width": [10, 40]}, {"width": [10, 40], "depth": [1, 2]}])
@pytest.mark.parametrize("name", PROFILE_FIGURES)
def test_axes_are_labelled(name, swept):
    figure = draw(name, **swept)
    figure.draw_without_rendering()
    for axes in figure.axes:
        if axes.get_label() != "<colorbar>":
            assert axes.get_xlabel()
    assert figure.axes[0].get_ylabel()
    assert figure.legends or any(axes.get_legend() for axes in figure.axes)


def test_profiles_draw_one_line_a_network_and_step():
    figure = draw("profiles", width=[10, 40], depth=[1, 2])
    assert [axes.get_title() for axes in figure.axes] == [
        "width 10, depth 1", "width 10, depth 2", "width 40, depth 1", "width 40, depth 2",
    ]  # fmt: skip
    for axes in figure.axes:
        assert axes.get_ylim()[0] == 0
        assert axes.get_ylim()[1] > 5
        assert [len(line.get_xdata()) for line in axes.lines] == [8] * (3 * 2 + 1)
    styles = [line.get_linestyle() for line in figure.axes[0].lines]
    assert styles == ["-", ":"] * 3 + ["-"]


def test_profiles_show_the_limit_of_their_own_cell():
    tables = build_tables(width=[10], depth=[1, 2])
    figure = importlib.import_module("figures.profiles").draw(tables, CONFIG)
    for axes, depth in zip(figure.axes, [1, 2], strict=True):
        limit = tables["limit_profile"].set_index("depth").loc[depth, "theta"]
        np.testing.assert_array_equal(axes.lines[-1].get_ydata(), limit)


@pytest.mark.parametrize("anchor", [0.0, np.pi / 4, 2.5])
def test_spread_is_taken_at_the_anchor_and_opposite(anchor):
    config = CONFIG | {"measurements": [{"kind": "profile", "anchor_angle": anchor}]}
    tables = build_tables(width=[10, 40])
    figure = importlib.import_module("figures.spread_against_width").draw(tables, config)
    table = tables["initialization_profile"]
    for container, angle in zip(figure.axes[0].containers, (anchor, anchor + np.pi), strict=True):
        shown = container.lines[0].get_ydata()
        nearest = GAMMA[np.argmin(np.abs(np.exp(1j * GAMMA) - np.exp(1j * angle)))]
        rows = table[np.isclose(table["gamma"], nearest)]
        np.testing.assert_allclose(shown, rows.groupby("width")["theta"].std())


def test_training_points_mark_the_anchor():
    config = CONFIG | {"measurements": [{"kind": "profile", "anchor_angle": np.pi / 2}]}
    axes = draw("training_points", config).axes[0]
    marker = next(line for line in axes.lines if line.get_label().startswith("anchor"))
    np.testing.assert_allclose([*marker.get_xdata(), *marker.get_ydata()], [0, 1], atol=1e-12)


def test_equal_figures_give_equal_files(tmp_path):
    for folder in ("a", "b"):
        save_figure(
            draw("profiles", width=[10]),
            tmp_path / folder / "f.svg",
            tmp_path / folder / "f.png",
            name="f",
        )
    for suffix in ("svg", "png"):
        first, second = ((tmp_path / folder / f"f.{suffix}").read_bytes() for folder in "ab")
        assert first == second
    assert not plt.get_fignums()


def test_a_configured_value_is_an_axis_where_it_is_not_swept():
    table = with_configured(product(width=[10, 40], seed=[0]), CONFIG, "network.width")
    assert table["width"].tolist() == [10, 40]
    table = with_configured(table, CONFIG, "network.width", "network.depth")
    assert table["depth"].tolist() == [3, 3]
    assert axes_of(table) == ["width", "seed", "depth"]


@pytest.mark.parametrize(
    ("statistic", "centre"), [("mean", np.mean), ("std", lambda sample: sample.std(ddof=1))]
)
def test_bars_end_where_the_interval_does(statistic, centre):
    samples = [np.random.default_rng(seed).random(10 + seed) for seed in range(2)]
    _, axes = plt.subplots()
    draw_intervals(axes, [1, 4], samples, statistic)
    (container,) = axes.containers
    np.testing.assert_allclose(container.lines[0].get_ydata(), [centre(one) for one in samples])
    for sample, bar in zip(samples, container.lines[2][0].get_segments(), strict=True):
        # Bars reach as far up as the interval's upper end, and as far down as its lower one.
        np.testing.assert_allclose(bar[:, 1], interval(sample, statistic).ends)


def test_a_slope_is_told_with_half_its_interval():
    widths, noise = [10, 100, 1000], np.random.default_rng(0).normal(1, 0.05, (3, 20))
    table = pd.DataFrame(
        [(w, v / w) for w, row in zip(widths, noise, strict=True) for v in row],
        columns=["width", "value"],
    )
    slope, found = slope_interval(table, "width", "value")
    means = table.groupby("width")["value"].mean()
    assert slope == pytest.approx(np.polyfit(np.log(widths), np.log(means), 1)[0])
    assert found.low < -1 < found.high
    half = (found.high - found.low) / 2
    assert 0 < half < 0.02
    assert tell_slope(table, "width", "value") == f"−{-slope:.2f} ± {half:.2f}"
    alone = table.groupby("width", as_index=False).first()
    assert tell_slope(alone, "width", "value").count("±") == 0
