"""Damaged files made anew: here jobs write the text of their record's configuration."""

import json
import sys

import pytest

import mend_results
from mend_results import damaged_files, mend
from ntkstudy.data.collected import write_contents
from ntkstudy.data.seal import seal

SCRIPT = """
import json, sys
from pathlib import Path

record = json.loads(Path(sys.argv[1]).read_text())
for file in record["input"].values():
    assert "damaged" not in Path(file).read_text()
for file in record["output"].values():
    Path(file).write_text(record["cfg"])
"""


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Two files, the second made of the first, and tables; every job's script is that above."""
    monkeypatch.chdir(tmp_path)
    results = tmp_path / "results"
    names = {"b": [], "a": ["b"]}
    for name, made_of in names.items():
        path = results / "e" / f"{name}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name} as it was\n")
        seal(path)
        inputs = {each: str(results / "e" / f"{each}.h5") for each in made_of}
        record = {"input": inputs, "output": {"file": str(path)}, "threads": 1}
        log = results / "logs" / "copy" / f"{name}.json"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(json.dumps(record | {"cfg": path.read_text()}))
    (tmp_path / "copy.py").write_text(SCRIPT)
    monkeypatch.setattr(mend_results, "__file__", str(tmp_path / "mend_results.py"))
    return results


def damage(path):
    path.write_text(path.read_text().replace("as it was", "damaged..."))


def test_what_others_are_made_of_comes_first(results, capsys):
    before = {path: path.read_bytes() for path in (results / "e").iterdir()}
    for path in before:
        damage(path)
    assert len(list(damaged_files(results))) == 2
    assert mend(results) == 0
    assert {path: path.read_bytes() for path in before} == before
    made = [line for line in capsys.readouterr().out.splitlines() if line.endswith("made anew")]
    assert made == [f"{results}/e/{name}.h5: made anew" for name in "ba"]
    assert mend(results) == 0
    assert capsys.readouterr().out == f"{results}: every file is as it was written\n"


def test_a_file_without_a_record_is_named(results, capsys):
    (results / "logs" / "copy" / "b.json").unlink()
    damage(results / "e" / "b.h5")
    assert mend(results) == 1
    problem = "no job has left a record of making it; delete it and run again"
    assert capsys.readouterr().out.endswith(f"{results}/e/b.h5: {problem}\n")


def test_a_listed_table_that_is_missing_is_found(results):
    table = results / "e" / "tables" / "losses.csv"
    table.parent.mkdir()
    table.write_text("# axes: seed\nseed\n0\n")
    seal(table)
    write_contents(table.with_name("contents.json"), ["losses"])
    assert list(damaged_files(results)) == []
    table.unlink()
    ((path, problem),) = damaged_files(results)
    assert (path.name, problem) == ("contents.json", f"{path}: its table losses is missing")


def test_an_unknown_scale_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["mend_results.py", "--scale", "none"])
    assert mend_results.main() == 2
    assert capsys.readouterr().out.startswith("config/none.yaml: ")
