"""Docstrings have their sections in one order, name what there is, and are in British spelling."""

import ast
import inspect
import re
from pathlib import Path

import pytest
import yaml

import ntkflow

ROOT = Path(__file__).parents[1]
SECTIONS = ["Args", "Attributes", "Returns", "Yields", "Raises", "Examples"]
HEADING = re.compile(
    r"^(Args?|Arguments|Attributes|Returns?|Yields|Raises|Examples?|Notes?):$", re.MULTILINE
)
MODULES = sorted(
    path for part in ("ntkflow", "ntkstudy") for path in (ROOT / "scripts" / part).rglob("*.py")
)
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
AMERICAN = (
    r"\b(behavior|colors?|colored|centers?|centered|neighbor\w*|gr[a]ys?|favor\w*|model(ed|ing)|"
    r"label(ed|ing)|travel(ed|ing)|artifacts?|(anal|paral)yz\w+|"
    r"(optim|initial|normal|regular|general|linear|factor|summar|symmetr|organ|minim|maxim|"
    r"param?etr|discret|visual|recogn|real|emphas|orthogonal|random|diagonal)"
    r"iz(e|es|ed|ing|ation|ations))\b"
)
# Words of the field that torch and papers spell like this.
TERMS = {"normalization", "parameterization", "initialization", "regularization"}


def docstrings():
    """Every docstring, cleaned, by the names of its module and of what it describes."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, kinds) and (text := ast.get_docstring(node)):
                yield f"{path.relative_to(ROOT)}: {getattr(node, 'name', '')}", text


def sections(text):
    return HEADING.findall(text)


def in_order(text):
    found = sections(text)
    last = text.split("Examples:\n")[-1].splitlines() if "Examples" in found else []
    named = [each for each in SECTIONS if each in found]
    return found == named and all(line.startswith("    ") for line in last if line)


def test_sections_stand_in_one_order_and_examples_last():
    assert [name for name, text in docstrings() if not in_order(text)] == []


def test_a_docstring_in_another_order_is_noticed():
    assert in_order("A.\n\nArgs:\n    a: c\n\nB.\n\nExamples:\n    b")
    assert not in_order("A.\n\nReturns:\n    b\n\nArgs:\n    a: c")
    assert not in_order("A.\n\nExample:\n    b")
    assert not in_order("A.\n\nExamples:\n    b\n\nB.")


def described(text, section):
    """Names that a section of a docstring explains."""
    body = re.search(rf"^{section}:\n((?:    .*\n|\n)*)", f"{text}\n", re.M)
    return re.findall(r"^    (\w+):", body[1], re.M) if body else []


@pytest.mark.parametrize("name", ntkflow.__all__)
def test_arguments_that_are_described_exist(name):
    thing = getattr(ntkflow, name)
    parameters = inspect.signature(thing).parameters
    more = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    wrong = set(described(inspect.getdoc(thing), "Args")) - parameters.keys()
    assert more or not wrong


def prose(text):
    """Text without code."""
    text = re.sub(r"```.*?```|<!--.*?-->", "", text, flags=re.S)
    return re.sub(r"`[^`]*`|\]\([^)]*\)|^\s*(>>>|\.\.\. ).*$|^(    .*)$", "", text, flags=re.M)


def american(text):
    found = (match[0].lower() for match in re.finditer(AMERICAN, prose(text), re.IGNORECASE))
    return [word for word in found if word not in TERMS]


# Pages of results quote the titles of sources.
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if not page.name.startswith("results_")],
    ids=lambda page: page.name,
)
def test_pages_are_in_british_spelling(page):
    assert american(page.read_text(encoding="utf-8")) == []


def test_docstrings_are_in_british_spelling():
    assert {name: found for name, text in docstrings() if (found := american(text))} == {}


def shown():
    """Texts that a report shows, by where they stand: captions, configuration, templates."""
    for path in (*ROOT.glob("scripts/figures/*.py"), *ROOT.glob("scripts/animations/*.py")):
        caption = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        yield path.name, re.sub(r"\{[\w.]+\}", "", caption)
    for path in ROOT.glob("config/*/*.yaml"):
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
        document.pop("title", None)  # of the source
        for text in strings(document):
            yield f"{path.parent.name}/{path.name}", text
    for path in (*ROOT.glob("report/*/*.j2"), *ROOT.glob("report/**/*.rst")):
        text = path.read_text(encoding="utf-8")
        yield path.name, re.sub(r"\{[{%#].*?[}%#]\}|<[^>]+>", " ", text, flags=re.S)


def strings(value):
    """Sentences in a document of YAML."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from strings(each)
    elif isinstance(value, str) and " " in value:
        yield value


def test_what_a_report_shows_is_in_british_spelling():
    texts = list(shown())
    assert len(texts) > 500
    assert {where: found for where, text in texts if (found := american(text))} == {}


def test_american_spelling_is_noticed():
    text = "A centered color, `normalize`d.\n\n```python\ncolor\n```\n"
    assert american(text) == ["centered", "color"]
    assert american("initialization of the parameterization") == []
