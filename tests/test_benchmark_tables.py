"""Tables of `make bench` name the machine that each was measured on."""

import importlib.util
from pathlib import Path

import pytest

RUN = Path(__file__).parents[1] / "benchmarks" / "run.py"
WORK = "print('work,ours_s')\nprint('{name},1')\n"


def load():
    spec = importlib.util.spec_from_file_location("run", RUN)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The script in a folder of its own, with two benchmarks."""
    module = load()
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text(WORK.format(name=name))
    places = dict(HERE=tmp_path, RESULTS=tmp_path, PAGE=tmp_path / "performance.md")
    places |= dict(MACHINES=tmp_path / "machines.json", SCRIPTS={"one.py": "One", "two.py": "Two"})
    for name, place in places.items():
        monkeypatch.setattr(module, name, place)
    module.PAGE.write_text(f"before\n{module.START}\nold\n{module.END}\nafter\n")
    return module


def measured_on(module, machine, *scripts, monkeypatch):
    monkeypatch.setattr(module, "machine", lambda: machine)
    monkeypatch.setattr(module.sys, "argv", ["run.py", *scripts])
    module.main()
    return module.PAGE.read_text()


def test_a_table_measured_alone_leaves_the_others_with_their_machine(run, monkeypatch):
    measured_on(run, "first machine", monkeypatch=monkeypatch)
    text = measured_on(run, "second machine", "two.py", monkeypatch=monkeypatch)
    head, one, two = text.split("**")[0], *text.split("**")[2::2]
    assert head.startswith("before\n")
    assert "machine" not in head
    assert "Measured on: first machine." in one
    assert "| one | 1 |" in one
    assert "Measured on: second machine." in two
    assert "| two | 1 |" in two
    assert text.endswith(f"{run.END}\nafter\n")
    assert "old" not in text


def test_a_benchmark_that_was_never_run_has_no_table(run, monkeypatch):
    text = measured_on(run, "a machine", "one.py", monkeypatch=monkeypatch)
    assert "**One**" in text
    assert "**Two**" not in text


def test_kept_results_name_their_machines():
    module = load()
    kept = {
        script for script in module.SCRIPTS | module.ALONE if module.result_file(script).exists()
    }
    assert kept == module.machines().keys()


def test_kept_results_are_those_of_the_page():
    module = load()
    assert module.tables() in module.PAGE.read_text(encoding="utf-8")
