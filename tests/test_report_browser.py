from pathlib import Path

import pytest
from browser import start_browser
from report_model import build_model

from ntkstudy.report.page import render

pytestmark = pytest.mark.slow

TEMPLATE = Path(__file__).parents[1] / "report" / "template"

SHOWN = "return [...document.querySelectorAll('#claim-rows > tr')].filter(row => row.offsetHeight)"
SHOWN_IDS = f"{SHOWN}.map(row => row.querySelector('code').textContent)"
COUNT = "return document.getElementById('filter-count').textContent"
SETTLE = "return new Promise(done => setTimeout(done, 50))"
HASH = "return location.hash"
CHIP_COUNTS = "return [...document.querySelectorAll('.chip-count')].map(e => e.textContent)"
BACKGROUND = "return getComputedStyle(document.body).backgroundColor"
GLYPH_FILL = """
    const glyph = document.querySelector('.plot [style*="fill: currentColor"]');
    return getComputedStyle(glyph).fill"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with start_browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    page = tmp_path_factory.mktemp("report") / "index.html"
    page.write_text(render(build_model(), TEMPLATE), encoding="utf-8")
    return page.as_uri()


@pytest.fixture(autouse=True)
def _wide_screen(browser):
    browser.set_screen(1280)


def test_page_loads_alone_and_without_errors(browser, address):
    browser.open(address)
    assert (
        browser.run(
            "return performance.getEntriesByType('resource').map(e => e.name)"
            ".filter(name => !name.startsWith('data:'))"
        )
        == []
    )
    assert browser.read_log() == []


def test_shared_address_shows_the_filtered_view(browser, address):
    browser.open(f"{address}#source=exp001&verdict=reproduced")
    assert browser.run(SHOWN_IDS) == ["exp001.profile-concentrates", "exp001.script"]
    assert browser.run(COUNT) == "2 of 10 claims"
    assert browser.run(CHIP_COUNTS) == ["2", "1", "1", "0", "0", "0", "0"]


def test_filter_writes_its_state_into_the_address(browser, address):
    browser.open(address)
    browser.run(
        "const s = document.getElementById('filter-source'); s.value = 'lazy-blog';"
        "s.dispatchEvent(new Event('input', {bubbles: true}))"
    )
    browser.run("document.querySelector('[data-verdict=not-run]').click()")
    assert browser.run(SHOWN_IDS) == ["lazy-blog.kappa"]
    assert browser.run(HASH) == "#source=lazy-blog&verdict=not-run"


def test_filter_works_from_the_keyboard(browser, address):
    browser.open(address)
    browser.run("document.querySelector('[data-verdict=corrected]').focus()")
    browser.press(" ")
    assert browser.run(COUNT) == "1 of 10 claims"
    assert browser.run("return document.activeElement.getAttribute('aria-pressed')") == "true"
    browser.press(" ")
    assert browser.run(COUNT) == "10 of 10 claims"


def test_words_filter_and_reset(browser, address):
    browser.open(f"{address}#words=concentrates%202.1")
    assert browser.run(COUNT) == "1 of 10 claims"
    browser.run("document.querySelector('[type=reset]').click()")
    browser.run(SETTLE)
    assert browser.run(COUNT) == "10 of 10 claims"


def test_counts_by_source_link_to_the_filtered_view(browser, address):
    browser.open(address)
    browser.run("document.querySelector('.tally a[href$=contradicted]').click()")
    browser.run(SETTLE)
    assert browser.run(SHOWN_IDS) == ["exp001.simple-flat"]


@pytest.mark.parametrize("width", [360, 800, 1280, 1600])
def test_page_never_scrolls_sideways(browser, address, width):
    browser.set_screen(width)
    browser.open(address)
    browser.run("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    overflow = "const e = document.documentElement; return e.scrollWidth - e.clientWidth"
    assert browser.run(overflow) == 0


def test_figures_and_page_follow_the_colour_scheme(browser, address):
    backgrounds = set()
    for scheme in ("light", "dark"):
        browser.set_screen(1280, scheme)
        browser.open(address)
        backgrounds.add(browser.run(BACKGROUND))
        ink = browser.run("return getComputedStyle(document.body).color")
        assert browser.run(GLYPH_FILL) == ink
    assert len(backgrounds) == 2


def test_theme_button_overrides_the_scheme_and_is_remembered(browser, address):
    browser.open(address)
    light = browser.run(BACKGROUND)
    for _ in ("light", "dark"):
        browser.run("document.getElementById('theme').click()")
    dark = browser.run(BACKGROUND)
    browser.open(address)
    assert browser.run(BACKGROUND) == dark != light
    browser.run("localStorage.clear()")


def test_page_is_complete_without_scripts(browser, address):
    browser.command("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(f"{address}#source=exp001")
    rows, form = browser.run(
        "const [table, form] = ['#claim-rows > tr', '#filter'].map("
        "s => [...document.querySelectorAll(s)].filter(e => e.offsetHeight));"
        "return [table.length, form.length]"
    )
    browser.command("Emulation.setScriptExecutionDisabled", value=False)
    assert (rows, form) == (10, 0)


def test_frames_become_a_player(browser, address):
    browser.open(address)
    shown = "return [...document.querySelectorAll('.frames img')].map(image => !image.hidden)"
    assert browser.run(shown) == [True, False]
    browser.run("""
        document.querySelector('.animation').open = true;
        document.querySelector('.player input').focus()""")
    browser.press("\ue014")  # the right arrow key
    assert browser.run(shown) == [False, True]
