import re
from pathlib import Path

import pytest
from report_model import build_model

from ntkstudy.report.frozen import NOTE, frozen
from ntkstudy.report.page import render

TEMPLATE = Path(__file__).parents[1] / "report" / "template"


def test_a_frozen_report_keeps_everything_but_animations_and_links_to_other_files():
    whole = render(build_model(), TEMPLATE)
    page = frozen(whole)
    assert whole.count('<details class="animation">') > 0
    assert whole.count('href="../') > 1
    assert page.count('<details class="animation">') == page.count('href="../') == 0
    assert page.count(NOTE) == 1
    for pattern in (
        r'<article class="claim[^>]*>',
        r"<svg",
        r"<figure id=",
        r"<code>profile.csv</code>",
    ):
        assert len(re.findall(pattern, page)) == len(re.findall(pattern, whole)) > 0
    for tag in ("details", "figure", "a", "p"):
        assert len(re.findall(rf"<{tag}[ >]", page)) == page.count(f"</{tag}>")


def test_a_page_that_is_no_report_is_refused():
    with pytest.raises(ValueError, match="no report"):
        frozen("<p>another page</p>")
