"""What an edit runs again: every row of the table in docs/reruns.md, tried."""

import re
import shutil
from pathlib import Path

import pytest
from workflow import PROJECT, TINY, plan, snakemake, write_overlay

pytestmark = pytest.mark.slow

EXP001 = "config/experiments/exp001.yaml"
TABLES = Path("results/tiny/kernel_profile/tables")


def append(file, text="\n# Edited.\n"):
    """An edit that adds a line to a file."""

    def edit(project):
        path = project / file
        path.write_text(path.read_text() + text)

    return edit


def replace(file, old, new):
    """An edit that replaces a word of a file."""

    def edit(project):
        path = project / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return edit


def change(**changes):
    """An edit of the experiment in the overlay."""

    def edit(project):
        block = TINY["experiments"]["kernel_profile"]
        block = block | {
            key: block.get(key, {}) | value if isinstance(value, dict) else value
            for key, value in changes.items()
        }
        write_overlay(project, "tiny", TINY | {"experiments": {"kernel_profile": block}})

    return edit


def touch(project):
    for path in [*project.glob("scripts/**/*.py"), *project.glob("results/**/*")]:
        path.touch()


def copy(project):
    old = project.rename(project.with_name("old"))
    shutil.copytree(old, project, copy_function=shutil.copy)


ONE_WIDTH = {"sweep": {"network.width": [4]}, "seeds_per_job": 1}
EDITS = {
    "nothing": lambda project: None,
    "touched files": touch,
    "copied folder": copy,
    "comment in a configuration": append(EXP001, "# Edited.\n"),
    "unused module": append("scripts/ntkstudy/networks/cnn.py"),
    "comment in a script": append("scripts/extract_ntk.py"),
    "script": replace(
        "scripts/measure_initialization.py", "def main(", "EDITED = 1\n\n\ndef main("
    ),
    "library module": append("scripts/ntkflow/training/losses.py"),
    "training key": change(training={"steps": 4}),
    "network key": change(network={"sigma_b": 0.2}),
    "criterion": replace("config/claims/exp001.yaml", "0.15", "0.16"),
    "caption": replace("scripts/figures/profiles.py", '"""', '"""Edited: '),
    "figure style": append("scripts/ntkstudy/report/plotting.py"),
    "title": change(title="Another title"),
    "style sheet": append("report/template/style.css", "\n/* Edited. */\n"),
}


def documented():
    """Jobs by case, as docs/reruns.md says."""
    table = (PROJECT / "docs/reruns.md").read_text().split("| case |")[1].split("\n\n")[0]
    rows = [re.split(r" *\| *", line.strip("| ")) for line in table.splitlines()[2:]]
    return {
        case: {rule: int(count) for rule, count in re.findall(r"(\w+) (\d+)", jobs)}
        for case, _, jobs in rows
    }


def test_every_case_is_tried():
    assert documented().keys() == {*EDITS, "one seed more"}


@pytest.mark.parametrize("case", EDITS)
def test_an_edit_runs_what_the_table_says(finished, case):
    EDITS[case](finished)
    done = plan(finished)
    assert done.status == 0, done.output
    assert done.jobs == documented()[case]
    assert done.idle == (not done.jobs)


def test_one_seed_more_trains_one_block_and_changes_its_tables(finished):
    change(**ONE_WIDTH)(finished)
    done = snakemake(finished, config="config/tiny.yaml")
    assert done.status == 0, done.output
    before = {path.stem: path.read_bytes() for path in (finished / TABLES).glob("*.csv")}
    change(**ONE_WIDTH, seeds=3)(finished)
    done = snakemake(finished, config="config/tiny.yaml")
    assert done.status == 0, done.output
    assert done.jobs == documented()["one seed more"]
    assert "Training kernel_profile, width~4, seeds 2-2" in done.messages
    after = {path.stem: path.read_bytes() for path in (finished / TABLES).glob("*.csv")}
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"losses", "networks", "trained_profile"}
    assert plan(finished).idle
