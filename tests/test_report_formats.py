"""Figures and numbers as the report writes them."""

import math
import re

import pytest
from report_model import draw_figure

from ntkstudy.numbers import format_interval, format_measured, format_number, signs
from ntkstudy.report import vector_graphics
from ntkstudy.report.page import format_duration


def test_embedded_figure_is_clean_and_responsive():
    svg = vector_graphics.embed_svg(draw_figure("profiles"), prefix="f7-", label='a "plot" <of> it')
    assert svg.startswith('<div class="plot" style="width: 460.8pt; min-width: 312pt; ')
    assert 'aspect-ratio: 460.8 / 244.8">' in svg
    assert not re.search(r"metadata|<style|<\?xml|DOCTYPE|xmlns|http", svg)
    assert 'role="img" aria-label="a &quot;plot&quot; &lt;of&gt; it"' in svg
    assert " width=" not in svg.split(">")[1]
    ids = set(re.findall(r' id="([^"]*)"', svg))
    references = set(re.findall(r'url\(#([^)]*)\)|href="#([^"]*)"', svg))
    assert all(i.startswith("f7-") for i in ids)
    assert {a or b for a, b in references} <= ids


@pytest.mark.parametrize(
    ("scales", "least"), [((), 0), (("0.1",), 68), (("0.1", "0.07"), 97), (("0.06",), 100)]
)
def test_a_figure_shrinks_until_its_smallest_text_has_nine_pixels(scales, least):
    texts = "".join(f'<g transform="translate(1 2) scale({s} -{s})"/>' for s in scales)
    svg = vector_graphics.embed_svg(
        f'<svg width="100pt" height="50pt">{texts}</svg>', prefix="", label=""
    )
    assert f"min-width: {least:g}pt" in svg


def test_coordinates_are_rounded_but_transforms_are_not():
    path = '<path d="M 1.23456 -0.5&#10;L 2e-05 9.999" transform="scale(0.015625)"/>'
    root = f'<svg width="10pt" height="5pt">{path}</svg>'
    svg = vector_graphics.embed_svg(root, prefix="", label="")
    assert 'd="M 1.23 -0.5 L 2e-05 10" transform="scale(0.015625)"' in svg


@pytest.mark.parametrize(
    ("value", "uncertainty", "text"),
    [
        (None, None, "—"),
        (0.28251, 0.0024, "0.2825"),
        (-0.5123, 0.049, "−0.512"),
        (0.99996, 0.0010, "1.0000"),
        (12345.0, 340.0, "12340"),
        (0.0, 0.012, "0.000"),
        (-0.0001, 0.01, "0.000"),
        (0.2825, 0.0, "0.2825"),
        (0.2825, math.inf, "0.2825"),
        (0.5, None, "0.5"),
        (-0.0643512, None, "−0.06435"),
        (9.99996, None, "10"),
        (1.2342e-7, 2.1e-9, "1.234×10⁻⁷"),
        (-1.5e-9, 2e-10, "−1.50×10⁻⁹"),
        (123456789.0, None, "1.235×10⁸"),
        (999999.7, None, "1×10⁶"),
        (0.0, None, "0"),
        (30000, None, "30000"),
        (-7, None, "−7"),
        (math.nan, None, "not a number"),
        (-math.inf, None, "−∞"),
    ],
)
def test_format_number(value, uncertainty, text):
    assert format_number(value, uncertainty) == text


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.2801, 0.28512, "0.2801 to 0.2851"),
        (None, 0.5, "≤ 0.5"),
        (0.25, None, "≥ 0.25"),
        (None, None, "—"),
        (0.5, 0.5, "0.5 to 0.5"),
        (0, 0.25, "0 to 0.25"),
        (0.051, 226.3, "0.051 to 230"),
        (-0.0021, 0.52, "−0.0021 to 0.52"),
        (-1e-17, 0.52, "0.00 to 0.52"),
    ],
)
def test_format_interval(low, high, text):
    assert format_interval(low, high) == text


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.3, 0.5, "0.40"),
        (0.05, 226.0, "0.40"),
        (None, 226.0, "0.4"),
        (0.4, 0.5, "0.400"),
        (0.5, 2.5, "0.4"),
        (0.2, 0.4000000000000001, "0.40"),
    ],
)
def test_a_number_is_given_to_the_digits_that_the_nearer_end_leaves(low, high, text):
    assert format_measured({"value": 0.4, "low": low, "high": high}) == text


def test_an_end_is_told_as_in_the_interval():
    judged = {"value": 0.4, "low": 0.051, "high": 226.3}
    assert [format_measured(judged, end) for end in ("low", "high")] == ["0.051", "230"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "—"), (0.4213, "0.42 s"), (9.97, "10 s"), (242.3, "4 min 2 s"), (3855, "1 h 04 min")],
)
def test_format_duration(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("-0.65 to -0.35", "−0.65 to −0.35"),
        ("above -.5", "above −.5"),
        ("1e-4 at most", "1e-4 at most"),
        ("2-sided, x-1", "2-sided, x-1"),
    ],
)
def test_what_is_allowed_has_minus_signs(text, shown):
    assert signs(text) == shown
