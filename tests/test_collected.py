import json

import pandas as pd
import pytest

from ntkflow.errors import StorageError
from ntkstudy.data.collected import Tables, tables_by_experiment, write_contents
from ntkstudy.data.tables import with_axes, write_table

LOSSES = with_axes(pd.DataFrame({"seed": [0, 1], "loss": [0.1234567891234, 2.0]}), ["seed"])
RATES = with_axes(pd.DataFrame({"seed": [0], "rate": [0.5]}), ["seed"])


@pytest.fixture
def experiment(tmp_path):
    """An experiment with two collected tables and a derived one."""
    folder = tmp_path / "results" / "e"
    write_table(folder / "tables" / "losses.csv", LOSSES)
    write_table(folder / "tables" / "networks.csv", LOSSES[["seed"]])
    write_contents(folder / "tables" / "contents.json", ["losses", "networks"])
    write_table(folder / "derived" / "rates.csv", RATES)
    return folder


def files(folder):
    return [str(folder / "tables" / "contents.json"), str(folder / "derived" / "rates.csv")]


def test_tables_come_by_name_from_both_folders(experiment):
    tables = Tables(files(experiment))
    assert list(tables) == ["losses", "networks", "rates"]
    assert len(tables) == 3
    assert "loss" not in tables
    pd.testing.assert_frame_equal(tables["rates"], RATES)
    pd.testing.assert_frame_equal(tables["losses"], LOSSES, rtol=1e-9)
    assert tables["losses"] is tables["losses"]
    assert list(Tables(files(experiment)[1])) == ["rates"]


def test_unlisted_files_are_no_tables(experiment):
    write_table(experiment / "tables" / "old.csv", RATES)
    assert "old" not in Tables(files(experiment))


def test_contents_change_when_a_table_does(experiment):
    path = experiment / "tables" / "contents.json"
    before = json.loads(path.read_text())
    write_table(experiment / "tables" / "losses.csv", LOSSES)
    write_contents(path, before)
    assert json.loads(path.read_text()) == before
    write_table(experiment / "tables" / "losses.csv", LOSSES * 2)
    write_contents(path, before)
    after = json.loads(path.read_text())
    assert after["losses"] != before["losses"]
    assert after["networks"] == before["networks"]


def test_missing_table_is_named(experiment):
    (experiment / "tables" / "losses.csv").unlink()
    tables = Tables(files(experiment))
    assert len(tables["networks"]) == 2
    with pytest.raises(StorageError) as error:
        tables["losses"]
    folder = experiment / "tables"
    assert str(error.value).startswith(f"{folder}/losses.csv: is missing (`make mend`, with its ")


def test_a_table_that_lost_rows_is_named(experiment):
    path = experiment / "tables" / "losses.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-2]))
    with pytest.raises(StorageError, match=r"losses\.csv: truncated or another file; expected a"):
        Tables(files(experiment))["losses"]


def test_a_damaged_list_is_named(experiment):
    path = experiment / "tables" / "contents.json"
    path.write_text(path.read_text()[:20])
    with pytest.raises(StorageError, match=r"contents\.json: damaged: is no list of tables"):
        Tables(files(experiment))


def test_files_of_several_experiments_are_told_apart(experiment):
    write_table(experiment.parent / "f" / "derived" / "rates.csv", RATES * 2)
    more = [*files(experiment), str(experiment.parent / "f" / "derived" / "rates.csv")]
    tables = tables_by_experiment(more)
    assert {name: list(table) for name, table in tables.items()} == {
        "e": ["losses", "networks", "rates"],
        "f": ["rates"],
    }
    assert tables["f"]["rates"]["rate"].item() == 1.0
    assert tables_by_experiment([]) == {}
