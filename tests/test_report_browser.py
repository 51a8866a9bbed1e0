import base64
import shutil
from pathlib import Path

import pytest
from browser import start_browser
from report_model import build_model, claim

from ntkstudy.report.comparison_page import comparison_page
from ntkstudy.report.page import VERDICTS, render

pytestmark = pytest.mark.slow

TEMPLATE = Path(__file__).parents[1] / "report" / "template"

AXE = TEMPLATE.parents[1] / "node_modules" / "axe-core" / "axe.min.js"

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


@pytest.fixture
def browser(tmp_path):
    with start_browser(tmp_path) as browser:
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


def test_kinds_are_a_filter_and_the_scoreboard_links_to_it(browser, address):
    browser.open(address)
    browser.run("document.querySelector('.score a[href*=trivial]').click()")
    browser.run(SETTLE)
    assert browser.run(SHOWN_IDS) == ["slides.exact"]
    assert browser.run("return document.getElementById('filter-kind').value") == "trivial"


def sort_by(browser, key: str) -> tuple[list[str], str | None, str]:
    """Verdicts of the rows after a click on a column's head, its direction, and the address."""
    browser.run(f"document.querySelector('[data-sort={key}] button').click()")
    verdicts = (
        "return [...document.querySelectorAll('#claim-rows > tr')].map(r => r.dataset.verdict)"
    )
    direction = f"return document.querySelector('[data-sort={key}]').getAttribute('aria-sort')"
    return browser.run(verdicts), browser.run(direction), browser.run(HASH)


def test_heads_sort_the_table_both_ways_and_back(browser, address):
    browser.open(address)
    ranks = [verdict.replace(" ", "-") for verdict in VERDICTS]
    given = [claim["verdict"].replace(" ", "-") for claim in build_model()["claims"]]
    up, down, back = (sort_by(browser, "verdict") for _ in range(3))
    assert up == (sorted(given, key=ranks.index), "ascending", "#sort=verdict")
    falling = sorted(given, key=lambda verdict: -ranks.index(verdict))
    assert down == (falling, "descending", "#sort=-verdict")
    assert back == (given, None, "#claims")


def test_a_shared_address_keeps_order_and_filter(browser, address):
    browser.open(f"{address}#source=exp001&sort=-verdict")
    assert browser.run(SHOWN_IDS) == [
        "exp001.simple-flat",
        "exp001.profile-inflation",
        "exp001.profile-concentrates",
        "exp001.script",
    ]


ZOOMED = """
    const picture = document.querySelector('#zoom .stage').firstElementChild;
    return picture && picture.getBoundingClientRect().width"""
CLOSED = """
    return new Promise(done => {
        const wait = () => document.getElementById('zoom').open ? setTimeout(wait, 20) : done();
        wait();
    })"""
ZOOM_CAPTION = "return document.querySelector('.zoom-caption').textContent"


def test_figures_enlarge_by_the_keyboard_and_go_back(browser, address):
    browser.open(address)
    count = "return document.querySelectorAll('.zoomable > .plot').length"
    before = browser.run(count)
    small = browser.run("return document.querySelector('.figures .plot').clientWidth")
    browser.run("document.querySelector('.figures .enlarge').focus()")
    browser.press(" ")
    fitted = browser.run(ZOOMED)
    assert fitted > 1.2 * small
    assert browser.run(ZOOM_CAPTION).startswith("Figure 1.")
    browser.press("+")
    assert browser.run(ZOOMED) == pytest.approx(1.25 * fitted, rel=0.01)
    browser.press("0")
    assert browser.run(ZOOMED) == pytest.approx(fitted, rel=0.01)
    browser.press("n")
    assert browser.run(ZOOM_CAPTION).startswith("Figure 2.")
    browser.press("p")
    browser.press("\ue00c")  # escape
    browser.run(CLOSED)
    assert browser.run("return document.activeElement.className") == "enlarge"
    assert browser.run(count) == before
    assert browser.run("return document.querySelector('.figures .plot').clientWidth") == small


@pytest.mark.parametrize("width", [360, 1280])
def test_text_of_figures_is_never_drawn_below_nine_pixels(browser, address, width):
    browser.set_screen(width)
    browser.open(address)
    scale = """
        return [...document.querySelectorAll('.plot svg')].map(
            svg => svg.getBoundingClientRect().width / svg.viewBox.baseVal.width)"""
    points = 10  # of the font, in the units of the view box
    assert min(browser.run(scale)) * points >= 9


def test_page_prints_with_everything_unfolded(browser, address):
    browser.open(address)
    folded = "return document.querySelectorAll('main details:not([open])').length"
    before = browser.run(folded)
    assert before > 0
    browser.run("dispatchEvent(new Event('beforeprint'))")
    assert browser.run(folded) == 0
    browser.run("dispatchEvent(new Event('afterprint'))")
    assert browser.run(folded) == before
    pdf = base64.b64decode(browser.command("Page.printToPDF", preferCSSPageSize=True)["data"])
    assert pdf.startswith(b"%PDF")
    assert pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") >= 3


SCREENS = pytest.mark.parametrize(
    ("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light")]
)


@pytest.fixture(scope="module")
def axe():
    """Source of axe-core."""
    if not AXE.exists() and shutil.which("npm") is None:
        pytest.skip("axe-core is missing, and npm too, which would install it")
    assert AXE.exists(), "axe-core is missing: `make test-slow`, or `npm install`, brings it"
    return AXE.read_text(encoding="utf-8")


def violations(browser, axe) -> list[str]:
    """What axe-core finds serious on the page that is open."""
    browser.run(axe)
    return browser.run("""
        return axe.run(document, {resultTypes: ["violations"]}).then(result => result.violations
            .filter(one => ["serious", "critical"].includes(one.impact))
            .map(one => `${one.id}: ${one.nodes.map(node => node.html).slice(0, 3)}`))""")


@SCREENS
def test_page_is_accessible(browser, address, axe, width, scheme):
    browser.set_screen(width, scheme)
    browser.open(address)
    browser.run("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert violations(browser, axe) == []


@SCREENS
def test_an_enlarged_figure_is_accessible(browser, address, axe, width, scheme):
    browser.set_screen(width, scheme)
    browser.open(address)
    browser.run("document.querySelector('.figures .enlarge').click()")
    assert browser.run("return document.getElementById('zoom').open")
    assert violations(browser, axe) == []


@SCREENS
def test_the_page_of_two_runs_is_accessible(browser, tmp_path, axe, width, scheme):
    first = {claim["id"]: claim for claim in build_model()["claims"]}
    second = first | {"a.new": claim("a.new", "e", "contradicted")}
    page = tmp_path / "comparison.html"
    names = ("results/a", "results/b")
    page.write_text(comparison_page(first, second, {"a.new"}, names), encoding="utf-8")
    browser.set_screen(width, scheme)
    browser.open(page.as_uri())
    browser.run("document.getElementById('only').checked = false")
    assert violations(browser, axe) == []
    assert browser.read_log() == []


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
    told = "return document.querySelector('.player input').getAttribute('aria-valuetext')"
    assert browser.run(told) == "frame 2 of 2"
    button = "document.querySelector('.player button')"
    browser.run(f"{button}.click()")
    assert browser.run(f"return {button}.textContent") == "Pause"
    browser.run("""
        return new Promise(done => {
            const slider = document.querySelector('.player input');
            const wait = () => slider.value === "0" ? done() : setTimeout(wait, 20);
            wait();
        })""")
    browser.run(f"{button}.click()")
    still = browser.run(told)
    browser.run("return new Promise(done => setTimeout(done, 450))")
    assert browser.run(told) == still
