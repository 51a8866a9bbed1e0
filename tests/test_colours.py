import ast
import itertools
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb

from ntkstudy.report.colours import COLOURS, INK, LIMIT_COLOUR, MOST, QUANTITIES, SCALES
from ntkstudy.report.plotting import draw_median, few, spread_colours

SCRIPTS = [*Path(__file__).parents[1].glob("scripts/figures/*.py")]
SCRIPTS += Path(__file__).parents[1].glob("scripts/animations/*.py")
# Colours that differ by less look alike: CIE 1976.
APART = 10


def lab(colour) -> np.ndarray:
    """CIE L*a*b* of a colour, under the white of a screen."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    ratio = np.array(to_xyz) @ linear / [0.95047, 1, 1.08883]
    f = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("count", [2, 5, MOST])
def test_neighbours_on_an_axis_can_be_told_apart(scale, count):
    colours = spread_colours(range(count), scale)
    places = [lab(colour) for colour in colours.values()]
    assert list(colours) == list(range(count))
    for first, second in itertools.pairwise(places):
        assert np.linalg.norm(second - first) > APART
    lightness = [place[0] for place in places]
    assert lightness == sorted(lightness)


def test_of_many_values_the_ends_and_some_between_are_shown():
    assert few([3, 1, 2, 1]) == [1, 2, 3]
    shown = few([2, 4, 6, 8, 10, 100, 1000, 3000, 10000])
    assert len(shown) == MOST
    assert (shown[0], shown[-1]) == (2, 10000)
    assert shown == sorted(set(shown))


def test_quantities_have_colours_of_the_palette_and_a_figure():
    assert set(QUANTITIES.values()) <= {*COLOURS, LIMIT_COLOUR, INK}
    text = "".join(script.read_text(encoding="utf-8") for script in SCRIPTS)
    assert "QUANTITIES" in text
    assert all(f'"{name}"' in text for name in QUANTITIES)


# Columns of tables, and the quantity that each is.
COLUMNS = {
    "lambda_max": "lambda_max",
    "trace": "trace",
    "effective_rank": "rank",
    "alignment": "alignment",
    "drift": "drift",
    "relative": "movement",
    "scaled": "movement",
    "distance": "movement",
    "gap": "to_limit",
    "to_mean": "to_limit",
    "to_ridge": "to_ridge",
    "train_gap": "to_linearized",
    "probe_gap": "to_linearized",
    "train_accuracy": "train",
    "test_accuracy": "test",
}
# Figures in which colours tell lines of such a column apart, and what the lines are.
SERIES = {
    "accuracy_against_images": "learners",
    "architecture_regularization": "regularisations",
    "drift_against_width": "steps",
    "estimate_wide": "estimates",
    "fit_accuracies": "kernels and machines",
    "gap_against_kappa": "widths",
    "kernel_in_training": "widths",
    "losses_by_width": "widths",
    "losses_in_training": "widths, penalties",
    "relative_error_against_width": "steps",
    "scaling_with_width": "activations",
    "top_eigenvalue_against_l2": "decays",
    "top_eigenvalue_in_training": "widths, penalties",
    "weight_movement": "widths",
}
# Names of columns that mean another thing there.
OTHERS = {("dispersion_against_beta", "relative"), ("large_network", "trace"),
          ("large_network", "alignment"), ("architecture_choice", "lambda_max"),
          ("architecture_choice", "trace"), ("architecture_choice", "effective_rank")}  # fmt: skip


def quantities(script: Path) -> tuple[set[str], set[str]]:
    """Columns of `COLUMNS` that a script names, and quantities whose colours it takes."""
    tree = ast.parse(script.read_text(encoding="utf-8"))
    texts = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    taken: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "QUANTITIES":
            constants = {ast.literal_eval(one) for one in ast.walk(node.slice)
                         if isinstance(one, ast.Constant)}  # fmt: skip
            taken |= (constants or texts) & QUANTITIES.keys()
        if isinstance(node, ast.keyword) and node.arg == "quantity":
            taken.add(ast.literal_eval(node.value))
    return texts & COLUMNS.keys(), taken


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_column_has_the_colour_of_its_quantity_in_every_figure(script):
    columns, taken = quantities(script)
    columns -= {column for figure, column in OTHERS if figure == script.stem}
    if script.stem in SERIES:
        assert columns
        return
    assert {COLUMNS[column] for column in columns} <= taken


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_no_two_quantities_of_a_figure_share_a_colour(script):
    apart = {"architecture_spectra": {"lambda_max"}}  # in axes of their own
    _, taken = quantities(script)
    colours = [QUANTITIES[name] for name in sorted(taken - apart.get(script.stem, set()))]
    assert len(colours) == len(set(colours))


def test_figures_take_their_colours_from_one_place_and_have_text_to_read():
    # White is for lines on images.
    named = re.compile(
        r"\"#[0-9a-f]{6}\"|(?:color|colour|\bc)=\"(?!none|white)[a-z]+\""
    )  # white: on images
    small = re.compile(r"(?:fontsize|labelsize)=(?:[0-7](?!\d)|\"x+-small\")")
    for script in SCRIPTS:
        text = script.read_text(encoding="utf-8")
        assert not named.findall(text), script.name
        assert not small.findall(text), script.name


def test_a_median_has_its_band():
    table = pd.DataFrame({"x": [2] * 11 + [4] * 11, "y": [*range(11), *range(10, 21)]})
    axes = plt.figure().add_subplot()
    draw_median(axes, table.groupby("x")["y"], colour=COLOURS[0], unit=0.5)
    line = axes.lines[0]
    np.testing.assert_allclose([line.get_xdata(), line.get_ydata()], [[1, 2], [5, 15]])
    corners = axes.collections[0].get_paths()[0].vertices
    for place, low, high in ((1, 1, 9), (2, 11, 19)):
        ends = corners[corners[:, 0] == place, 1]
        np.testing.assert_allclose([ends.min(), ends.max()], [low, high])
    groups = table.assign(other=100 - table["y"]).groupby("x")
    draw_median(axes, groups["y"], colour=COLOURS[0], along=groups["other"])
    np.testing.assert_allclose(axes.lines[1].get_xdata(), [95, 85])
    plt.close("all")


def bare_medians(text: str) -> list[str]:
    """What a script plots that is a median of groups by itself, without its band."""
    tree, found = ast.parse(text), []
    is_median = re.compile(r"\.median\(\)(?:\.\w+\([^()]*\))*$")
    medians = {
        ast.unparse(node.targets[0])
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and is_median.search(ast.unparse(node.value))
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in {
            *("plot", "loglog", "semilogx", "semilogy", "step"),
        }:
            drawn = [ast.unparse(one) for one in node.args]
            found += [one for one in drawn if one in medians or is_median.search(one)]
    return found


def test_no_figure_draws_a_median_without_its_band():
    assert bare_medians("m = g.median()\naxes.plot(m.index, m)") == ["m"]
    assert bare_medians("axes.plot(x, g['y'].median().clip(lower=1))")
    assert bare_medians("axes.plot(x, g.median() * law)") == []
    for script in SCRIPTS:
        assert bare_medians(script.read_text(encoding="utf-8")) == [], script.name
