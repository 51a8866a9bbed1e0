import re
from xml.etree import ElementTree

import pytest

from ntkstudy.report.diagram import draw_rules, layers, needed_edges

EDGES = {("a", "b"), ("b", "c"), ("a", "c"), ("a", "d")}


def test_every_arrow_points_down():
    rows = layers("dcba", EDGES)
    assert rows == [["a"], ["d", "b"], ["c"]]


def test_arrows_in_a_circle_are_refused():
    with pytest.raises(ValueError, match=r"circle: \['a', 'b'\]"):
        layers("ab", {("a", "b"), ("b", "a")})


def test_arrows_that_a_longer_way_says_are_left_out():
    assert needed_edges(EDGES) == EDGES - {("a", "c")}


def test_picture_holds_every_rule_and_arrow_and_is_escaped():
    notes = {"a": "1 job", "b": "<b>", "c": "", "d": "2 jobs"}
    svg = draw_rules(notes, EDGES, label='4 "rules"')
    root = ElementTree.fromstring(svg)
    texts = [element.text for element in root.iter("text")]
    assert texts == ["a", "1 job", "b", "<b>", "c", None, "d", "2 jobs"]
    assert len(root.findall("path")) == 3
    assert root.get("aria-label") == '4 "rules"'
    width = float(root.get("viewBox").split()[2])
    # Text of 12 pixels at three quarters of its size has 9.
    assert float(re.search(r"min-width: (\d+)px", svg)[1]) >= 0.75 * width
