"""What a configuration or a data file of somebody else cannot do."""

import ast
import copy
import io
import os
import pickle
import re
import urllib.request
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import yaml
from plans import EXPERIMENT, load, wrap
from report_model import build_model

from ntkflow.errors import ConfigurationError
from ntkstudy.data.arrays_file import NAMES, read_rows, read_shapes
from ntkstudy.data.downloading import _KeepTls
from ntkstudy.plan.configuration import read_yaml
from ntkstudy.plan.confined import check_confined
from ntkstudy.plan.sweeps import _label
from ntkstudy.report.page import render
from ntkstudy.report.vector_graphics import embed_svg

ROOT = Path(__file__).parents[1]
TEMPLATE = ROOT / "report" / "template"
HOSTILE = (
    "\"'><script>alert(1)</script><img src=x onerror=alert(2)> `--` ${{7*7}} &lt; javascript:x"
)


# Data files are data


class Payload:
    """An object that runs code when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("harmed",)


def test_arrays_of_objects_are_refused_unread(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arrays = {name: np.zeros((3, 2)) for name in NAMES}
    np.savez("data.npz", **arrays | {"targets": np.array([Payload()] * 3, dtype=object)})
    for read in (lambda: read_shapes("data.npz"), lambda: read_rows("data.npz", None, None)):
        with pytest.raises(ConfigurationError, match="targets holds values of type object"):
            read()
    Path("plain.npz").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(ConfigurationError, match="is of another type"):
        read_shapes("plain.npz")
    assert not Path("harmed").exists()


def calls(file: Path) -> list[tuple[str, dict[str, str]]]:
    """Every call in a file: the dotted name, and keywords with what is given."""
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            given = {word.arg: ast.unparse(word.value) for word in node.keywords if word.arg}
            found.append((ast.unparse(node.func), given))
    return found


def test_nothing_is_unpickled_evaluated_or_given_to_a_shell():
    forbidden = r"(pickle|marshal|shelve|dill)\.\w+|os\.(system|popen|exec\w+|spawn\w+)|eval|exec"
    for file in (ROOT / "scripts").rglob("*.py"):
        for name, given in calls(file):
            where = f"{file.relative_to(ROOT)}: {name}"
            assert not re.fullmatch(forbidden, name), where
            assert given.get("shell", "False") == "False", where
            assert given.get("allow_pickle", "False") == "False", where
            if name == "torch.load":
                assert given.get("weights_only") == "True", where
            if name == "yaml.load":
                assert given["Loader"] == "_StrictLoader", where
    for file in (ROOT / "rules").glob("*.smk"):
        assert not re.search(r"^\s*(shell|run|wrapper|notebook):", file.read_text(), re.M), file


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.mkdir [harmed]\n",
        "a: !!python/name:os.system\n",
        "__use_yte__: true\n?if True:\n  a: 1\n",
    ],
)
def test_yaml_makes_plain_values_only(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=r"^mine\.yaml: "):
        read_yaml("mine.yaml")
    assert not Path("harmed").exists()


# Names stay below results/


@pytest.mark.parametrize(
    "folder",
    [
        *("..", "results/..", "results/../scripts", "/tmp/x", "scripts", "results/.hidden"),
        *("results//x", "results/x/", "~/x", "results/$(touch x)", "results/a b", "results\n"),
    ],
)
def test_results_lie_below_results(tmp_path, folder):
    with pytest.raises(ConfigurationError, match=r"results: .* is not allowed; allowed: "):
        load(tmp_path, wrap(e=EXPERIMENT) | {"results": folder})


@pytest.mark.parametrize("name", ["../e", "/e", "e/f", "e;touch", "$(e)", "e\n", ".", "é"])
def test_names_of_experiments_are_no_paths(tmp_path, name):
    with pytest.raises(ConfigurationError, match="experiments"):
        load(tmp_path, wrap(**{name: EXPERIMENT}))


@pytest.mark.parametrize("figure", ["../../x", "/etc/passwd", "profiles;x"])
def test_names_of_figures_are_no_paths(tmp_path, figure):
    with pytest.raises(ConfigurationError, match=r"\.e\.figures\[0\]: .* is not allowed"):
        load(tmp_path, wrap(e=copy.deepcopy(EXPERIMENT) | {"figures": [figure]}))


@pytest.mark.parametrize(
    "path", ["../../etc/a.npz", "/a; touch x.npz", "$(x).npz", "`x`|y&z\n.npz"]
)
def test_swept_texts_become_harmless_folders(path):
    assert re.fullmatch(r"path~[\w.+-]+", _label({"path": path}))


def test_links_lead_nowhere_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    Path("results/mine").mkdir(parents=True)
    check_confined("results/mine", ["e"])
    Path("results/mine/e").symlink_to(outside)
    with pytest.raises(
        ConfigurationError, match=r"'results/mine/e' leads to '.*/outside'; allowed"
    ):
        check_confined("results/mine", ["e"])
    Path("results/other").symlink_to(outside)
    with pytest.raises(ConfigurationError, match=r"'results/other' leads to "):
        check_confined("results/other", [])
    # A link of one's own to a larger disk.
    Path("results").rename("kept")
    Path("results").symlink_to(outside)
    check_confined("results/mine", ["e"])


# The report


class Elements(HTMLParser):
    """Elements and attributes of a page."""

    def __init__(self, html: str):
        super().__init__()
        self.tags, self.attributes = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs


def spoil(value):
    """The same model with every text of an author's replaced by a hostile one."""
    if isinstance(value, dict):
        kept = {"svg", "verdict", "source", "status", "role", "kind", "src", "still", "frames"}
        return {
            key: each if key in kept and isinstance(each, str) else spoil(each)
            for key, each in value.items()
        }
    if isinstance(value, list):
        return [spoil(each) for each in value]
    return HOSTILE if isinstance(value, str) else value


def test_the_report_escapes_every_text():
    model = build_model()
    plain, spoilt = Elements(render(model, TEMPLATE)), Elements(render(spoil(model), TEMPLATE))
    assert spoilt.tags.count("script") == plain.tags.count("script")
    assert not [name for name, _ in spoilt.attributes if name.startswith("on")]
    links = [value or "" for name, value in spoilt.attributes if name in ("href", "src")]
    assert not [link for link in links if link.strip().lower().startswith("javascript:")]
    assert {link for link in links if link == "x"} == set()
    labels = [value for name, value in spoilt.attributes if name == "aria-label"]
    assert [label for label in labels if HOSTILE in label]


def test_texts_in_figures_are_no_elements():
    figure, axes = plt.subplots()
    axes.set_title(HOSTILE.replace("$", ""))
    buffer = io.StringIO()
    with plt.rc_context({"svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg")
    plt.close(figure)
    found = Elements(str(embed_svg(buffer.getvalue(), prefix="a-", label=HOSTILE)))
    assert not {"script", "img"} & set(found.tags)
    assert not [name for name, _ in found.attributes if name.startswith("on")]


# Downloads


def test_mirrors_use_tls(tmp_path):
    with pytest.raises(ConfigurationError, match=r"mnist_mirrors.*starts with https://"):
        load(tmp_path, wrap(e=EXPERIMENT) | {"mnist_mirrors": ["http://example.org/mnist"]})
    schema = yaml.safe_load((ROOT / "config/schema.yaml").read_text())
    assert all(url.startswith("https:") for url in schema["properties"]["mnist_mirrors"]["default"])


def test_no_mirror_leads_away_from_tls():
    request = urllib.request.Request("https://example.org/a.gz")
    follow = _KeepTls().redirect_request
    with pytest.raises(OSError, match=r"leads from https to http://example\.org/b"):
        follow(request, None, 302, "Found", {}, "http://example.org/b")
    assert follow(request, None, 302, "Found", {}, "https://example.org/b").full_url.endswith("/b")
