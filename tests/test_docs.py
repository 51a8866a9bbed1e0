"""The documentation builds without a warning, and opens as files that load nothing else.

What builds it is slow: a minute, and once for every process that runs such a test.
"""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from browser import start_browser

import ntkflow

ROOT = Path(__file__).parents[1]
LOADED = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*?\bsrc=\"?([^\"\s>]+)|"
    r"<link\b[^>]*?\brel=\"?(?:stylesheet|icon|preconnect|preload)[^>]*?\bhref=\"?([^\"\s>]+)"
)
REQUESTS = "return performance.getEntriesByType('resource').map(each => each.name)"
SEARCH = """
    document.querySelector('[data-md-toggle=search]').click();
    const field = document.querySelector('[data-md-component=search-query]');
    field.value = 'early_stopping_time';
    field.dispatchEvent(new KeyboardEvent('keyup', { bubbles: true }));
    return new Promise(done => {
        let tries = 0;
        const look = () => {
            const found = document.querySelector('.md-search-result__link');
            if (found || ++tries > 200) done(found ? found.href : 'nothing found');
            else setTimeout(look, 50);
        };
        look();
    });"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs") / "site"
    call = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder]
    known = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(call, cwd=ROOT, env=known, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def api(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return importlib.import_module("write_api_docs")


def test_pages_of_the_reference_are_those_of_the_code(api):
    kept = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / api.FOLDER).iterdir()}
    assert kept == api.pages()
    named = re.findall(r"heading: (\w+)", "".join(kept.values()))
    assert sorted(named) == ntkflow.__all__


@pytest.mark.slow
def test_every_name_has_its_docstring_in_the_reference(site, api):
    for part, names in api.parts().items():
        page = (site / "api" / f"{part}.html").read_text(encoding="utf-8")
        for name, module in names.items():
            assert f'id="{module}.{name}"' in page
        assert page.count("Examples:") >= len(names)
        # Text that begins with > would be taken for a quotation, and <K, K'> for a tag.
        assert not re.search(r"<blockquote>|<em>|<[A-Za-z]\w*[,^(]|<[A-Z]", page)


@pytest.mark.slow
def test_pages_load_nothing_from_elsewhere(site):
    pages = set(site.rglob("*.html")) - {site / "404.html"}  # which only servers show
    assert len(pages) > 25
    for page in pages:
        for found in LOADED.findall(page.read_text(encoding="utf-8")):
            address = "".join(found)
            assert address.startswith("data:") or (page.parent / address.split("?")[0]).is_file()


def test_make_help_lists_every_target():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (targets,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = dict(re.findall(r"^make (\S+) +(\S.*)$", done.stdout, re.MULTILINE))
    assert listed.keys() == set(targets.split())


def test_readme_is_short_and_links_every_page():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 150
    linked = set(re.findall(r"\]\(docs/(\w+\.md)", "\n".join(lines)))
    assert linked == {page.name for page in (ROOT / "docs").glob("*.md")}


def test_a_run_takes_as_long_in_one_place_as_in_another():
    texts = (
        (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/commands.md")
    )
    told = [re.findall(r"make report\b[^\n=]*about (\d+) minutes", text) for text in texts]
    assert told[0] == told[1] != []


@pytest.mark.slow
def test_search_works_in_a_page_opened_as_a_file(site, tmp_path):
    with start_browser(tmp_path) as browser:
        browser.open((site / "index.html").as_uri())
        found = browser.run(SEARCH)
        assert "api/dynamics.html" in found
        assert all(name.startswith(("file:", "data:")) for name in browser.run(REQUESTS))
        assert browser.read_log() == []
