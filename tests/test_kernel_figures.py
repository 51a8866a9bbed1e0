import importlib

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from ntkstudy.data.tables import axes_of, with_axes
from ntkstudy.report.plotting import use_style

PUBLISHED = {
    "accuracy": [["network", 0.848], ["sample block random", 0.744], ["trained block ridge", 0.8]],
    "nngp_accuracy": [[1000, 0.928]],
    "gigabytes": [[1000, 3.0]],
}
CONFIG = {"network": {"kind": "mlp"}, "training": {"steps": 9}, "published": PUBLISHED}
FITS = ["network", "sample block random", "sample block zero", "limit mean ridge"]


def grid(columns, **axes) -> pd.DataFrame:
    table = pd.MultiIndex.from_product(axes.values(), names=axes).to_frame(index=False)
    rng = np.random.default_rng(0)
    values = {name: 0.2 + 0.5 * rng.random(len(table)) for name in columns}
    return with_axes(table.assign(**values), axes)


SPLITS = dict(data_seed=[0, 1], seed=[0], fit=FITS)
WIDTHS = dict(width=[10, 40], seed=[0, 1, 2])
COSTS = [f"{way}_{what}" for way in ("loop", "vmap", "layerwise") for what in ("seconds", "bytes")]
CASES = {
    "fit_accuracies": ("machines_kernel_classifiers", grid(["test_accuracy"], **SPLITS)),
    "accuracy_against_images": (
        "machines_kernel_classifiers",
        grid(["test_accuracy"], train_points=[10, 1000], **SPLITS),
    ),
    "kernel_corners": (
        "trained_kernel_corner",
        grid(["entry"], seed=[0], step=[0, 9], row=range(20), column=range(20)),
    ),
    "distance_from_limit": (
        "initialization_limit_distance",
        grid(["sample", "mean_square"], **WIDTHS),
    ),
    "coupling_against_width": (
        "trained_block_structure",
        grid(["coupling"], step=[0, 9], **WIDTHS),
    ),
    "gap_against_width": ("trained_limit_gap", grid(["gap"], step=[0, 9], **WIDTHS)),
    "kernel_costs": ("initialization_kernel_cost", grid(COSTS, train_points=[5, 9], seed=[0, 1])),
}


@pytest.fixture(autouse=True)
def style():
    use_style()
    yield
    plt.close("all")


def draw(name, table=None):
    key, given = CASES[name]
    module = importlib.import_module(f"figures.{name}")
    return module.draw({key: given if table is None else table}, CONFIG)


@pytest.mark.parametrize("name", CASES)
def test_axes_are_labelled(name):
    figure = draw(name)
    figure.draw_without_rendering()
    assert figure.axes[0].get_xlabel()
    assert figure.axes[0].get_ylabel()
    keyed = figure.legends or any(axes.get_legend() for axes in figure.axes)
    assert keyed or name == "kernel_corners"


def test_one_row_a_fit_and_published_values_beside():
    axes = draw("fit_accuracies").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == FITS
    crosses = [line for line in axes.lines if line.get_marker() == "x"]
    assert [float(line.get_xdata()[0]) for line in crosses] == [0.848, 0.744]


def test_differences_are_those_of_the_same_split():
    table = CASES["fit_accuracies"][1]
    wide = table.pivot(index="data_seed", columns="fit", values="test_accuracy")
    found = {
        line.get_ydata()[0]: line.get_xdata()
        for line in draw("fit_accuracies").axes[1].lines
        if line.get_marker() == "o"
    }
    for row, name in enumerate(FITS):
        np.testing.assert_allclose(found[row], wide[name] - wide["network"])


def test_a_swept_read_out_gets_a_panel_each():
    table = CASES["fit_accuracies"][1]
    both = pd.concat([table.assign(head="flatten"), table.assign(head="gap")])
    both = with_axes(both, ["head", *axes_of(table)])
    titles = [axes.get_title() for axes in draw("fit_accuracies", both).axes]
    assert titles == ["read-out: flatten", "read-out: gap"]


def test_a_mean_lost_in_noise_is_shown_by_its_upper_end():
    table = CASES["distance_from_limit"][1]
    noisy = table.assign(mean_square=[-0.02, 0.01, -0.01] * 2)
    axes = draw("distance_from_limit", noisy).axes[0]
    triangles = next(line for line in axes.lines if line.get_marker() == "v")
    assert len(triangles.get_xdata()) == 2
