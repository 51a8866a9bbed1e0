import ast
import json
from pathlib import Path

import pytest

from ntkstudy.plan.parsed import NAME, Kept, import_statements

ROOT = Path(__file__).parents[1]
DEEP = """
from . import a
def f():
    try:
        import b.c, d
    except E:
        from ..g import h as i, j
    else:
        if x: import k
    with y:
        match z:
            case 1:
                from l import *
class C:
    async def g(self):
        for _ in q:
            while r: from m import n
        else: import o
text = '''
import nothing
'''
"""


def test_statements_at_any_depth():
    assert import_statements(DEEP) == [
        [1, "", ["a"]],
        [0, "b.c", []],
        [0, "d", []],
        [2, "g", ["h", "j"]],
        [0, "k", []],
        [0, "l", ["*"]],
        [0, "m", ["n"]],
        [0, "o", []],
    ]


def test_none_of_this_project_is_missed():
    for file in sorted((ROOT / "scripts" / "ntkstudy").rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        nodes = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Import | ast.ImportFrom)]
        assert len(import_statements(text)) == sum(
            len(node.names) if isinstance(node, ast.Import) else 1 for node in nodes
        ), file


@pytest.fixture
def source(tmp_path):
    file = tmp_path / "source.py"
    file.write_text("import a\n")
    return file


def kept_in(folder, source):
    one = Kept()
    one.use(folder)
    found = one.read(source)
    one.write()
    return found


def test_contents_are_parsed_once(tmp_path, source, monkeypatch):
    assert kept_in(tmp_path, source) == [[0, "a", []]]
    monkeypatch.setattr("ntkstudy.plan.parsed.import_statements", None)
    assert kept_in(tmp_path, source) == [[0, "a", []]]


def test_an_edit_is_seen_whatever_its_time(tmp_path, source):
    kept_in(tmp_path, source)
    source.write_text("import b\n")
    assert kept_in(tmp_path, source) == [[0, "b", []]]
    assert len(json.loads((tmp_path / NAME).read_text())) == 1  # the old one is forgotten


@pytest.mark.parametrize("text", ["", "{", "\x00"])
def test_what_cannot_be_read_is_parsed(tmp_path, source, text):
    (tmp_path / NAME).write_text(text)
    assert kept_in(tmp_path, source) == [[0, "a", []]]


def test_nothing_is_kept_without_a_folder(tmp_path, source):
    assert kept_in(tmp_path / "none", source) == [[0, "a", []]]
    assert not (tmp_path / "none").exists()
