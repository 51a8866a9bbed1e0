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
    plt.close("all")
