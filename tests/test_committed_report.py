"""The report of a default run that the documentation keeps."""

import re
from pathlib import Path

import pytest
from browser import start_browser
from own_claims import CLAIMS

DOCS = Path(__file__).parents[1] / "docs"
PAGE, RESULTS = DOCS / "report_default.html", DOCS / "results_default.md"
LARGEST = 15e6  # bytes
LONGEST = 1000  # milliseconds to the first view
FIRST_VIEW = """
    return new Promise(done => {
        const look = () => {
            const [seen] = performance.getEntriesByName('first-contentful-paint');
            if (seen) done(seen.startTime);
            else setTimeout(look, 20);
        };
        look();
    })"""
REQUESTS = """
    return performance.getEntriesByType('resource').map(each => each.name)
        .filter(name => !name.startsWith('data:'))"""


def test_results_link_the_report_and_name_claims_that_there_are():
    text = RESULTS.read_text(encoding="utf-8")
    assert f"({PAGE.name})" in text
    assert PAGE.is_file()
    named = set(re.findall(r"^\| `([\w-]+\.[\w.-]+)` \|", text, re.MULTILINE))
    assert named == {claim["id"] for claim in CLAIMS}


@pytest.mark.slow
def test_the_report_is_small_and_seen_at_once_without_a_request(tmp_path):
    assert PAGE.stat().st_size <= LARGEST
    times, requests = [], []  # other work only makes a view later
    with start_browser(tmp_path) as browser:
        browser.set_screen(1280)
        for _ in range(5):
            browser.open(PAGE.as_uri())
            times.append(browser.run(FIRST_VIEW))
            requests += browser.run(REQUESTS)
        errors = browser.read_log()
    assert min(times) < LONGEST
    assert requests == []
    assert errors == []
