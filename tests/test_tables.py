import numpy as np
import pandas as pd
import pytest

from ntkflow.errors import StorageError
from ntkstudy.data.seal import seal
from ntkstudy.data.storage import Array, write_file
from ntkstudy.data.tables import (
    axes_of,
    read_group,
    read_groups,
    read_table,
    with_axes,
    write_table,
)

CONFIG = {"stage": "ntk", "experiment": "e", "cell": {"width": 4, "rate": 0.5}, "seeds": [7, 9]}
GAMMA = np.array([-np.pi, 0.0, 1.0])
THETA = np.arange(6.0).reshape(2, 3)


def read(folder, arrays, **changes) -> pd.DataFrame:
    write_file(folder / "a.h5", CONFIG | changes, {f"g/{k}": v for k, v in arrays.items()})
    return read_group(folder / "a.h5", "ntk", "g")


def test_axes_become_rows_and_cells_columns(tmp_path):
    arrays = {"theta": Array(THETA, ["seed", "gamma"]), "gamma": Array(GAMMA, ["gamma"])}
    table = read(tmp_path, arrays)
    assert list(table) == ["width", "rate", "seed", "gamma", "theta"]
    assert axes_of(table) == ["width", "rate", "seed", "gamma"]
    assert axes_of(table, besides=("seed", "gamma")) == ["width", "rate"]
    assert table["width"].eq(4).all()
    for (seed, gamma), rows in table.groupby(["seed", "gamma"]):
        value = THETA[CONFIG["seeds"].index(seed), list(GAMMA).index(gamma)]
        assert rows["theta"].tolist() == [value]


def test_smaller_arrays_are_repeated_in_whatever_order_their_axes_stand(tmp_path):
    arrays = {
        "a": Array(THETA, ["seed", "gamma"]),
        "b": Array(THETA.T, ["gamma", "seed"]),
        "c": Array(np.array([10.0, 20.0]), ["seed"]),
        "d": Array(np.array(3.0), []),
    }
    table = read(tmp_path, arrays)
    assert table["a"].tolist() == table["b"].tolist() == list(range(6))
    assert table["c"].tolist() == [10.0] * 3 + [20.0] * 3
    assert table["d"].eq(3).all()
    assert table["gamma"].tolist() == [0, 1, 2] * 2


@pytest.mark.parametrize("dims", [["sample", "coordinate"], ["coordinate", "sample"]])
def test_wide_axes_become_columns(tmp_path, dims):
    x = np.arange(8.0).reshape(4, 2)
    values = x if dims[0] == "sample" else x.T
    table = read(tmp_path, {"x": Array(values, dims)}, cell={}, seeds=[])
    assert list(table) == ["sample", "x_0", "x_1"]
    assert axes_of(table) == ["sample"]
    np.testing.assert_array_equal(table[["x_0", "x_1"]], x)


def test_two_wide_axes_make_a_column_each(tmp_path):
    block = np.arange(8.0).reshape(2, 2, 2)
    table = read(tmp_path, {"k": Array(block, ["seed", "output", "coordinate"])})
    assert list(table)[3:] == ["k_0_0", "k_0_1", "k_1_0", "k_1_1"]
    assert table["k_1_0"].tolist() == [2.0, 6.0]


def test_swept_lists_are_one_value(tmp_path):
    table = read(tmp_path, {"a": Array(np.zeros(2), ["seed"])}, cell={"widths": [4, 8, 16]})
    assert table["widths"].tolist() == ["[4, 8, 16]"] * 2


def test_csv_keeps_nan_infinity_and_nine_digits(tmp_path):
    values = np.array([[np.nan, np.inf, -np.inf], [np.float32(1 / 3), np.pi, 1e-30]])
    table = read(tmp_path, {"theta": Array(values, ["seed", "gamma"])})
    write_table(tmp_path / "t.csv", table)
    again = read_table(tmp_path / "t.csv")["theta"].to_numpy().reshape(2, 3)
    np.testing.assert_allclose(again, values, rtol=5e-9)
    assert np.float32(again[1, 0]) == np.float32(1 / 3)


def test_names_are_coordinates(tmp_path):
    arrays = {
        "fits/fit": Array(np.array(["network", "limit"], dtype="S"), ["fit"]),
        "fits/accuracy": Array(np.array([[0.5, 0.7]]), ["seed", "fit"]),
    }
    cfg = {"experiment": "e", "stage": "machines", "cell": {}, "seeds": [4]}
    write_file(tmp_path / "a.h5", cfg, arrays)
    table = read_group(tmp_path / "a.h5", "machines", "fits")
    assert table["fit"].tolist() == ["network", "limit"]
    assert table["accuracy"].tolist() == [0.5, 0.7]
    assert axes_of(table) == ["seed", "fit"]


def test_files_of_a_stage_are_one_table(tmp_path):
    for first in (0, 2):
        arrays = {"g/a": Array(np.array([first, first + 1.0]), ["seed"])}
        cfg = CONFIG | {"seeds": [first, first + 1]}
        write_file(tmp_path / f"{first}.h5", cfg, arrays)
    table = read_groups([tmp_path / "0.h5", tmp_path / "2.h5"], "ntk", "g")
    assert table["a"].tolist() == table["seed"].tolist() == table.index.tolist() == [0, 1, 2, 3]
    assert axes_of(table) == ["width", "rate", "seed"]


@pytest.mark.parametrize("axes", [[], ["seed"], ["width", "fit"]])
def test_tables_keep_their_axes_in_a_comment(axes, tmp_path):
    table = pd.DataFrame({"width": [1, 2], "seed": [0, 1], "fit": ["# 1", "2"], "a": [0.5, 1.0]})
    write_table(tmp_path / "t.csv", with_axes(table, axes))
    again = read_table(tmp_path / "t.csv")
    assert axes_of(again) == axes
    pd.testing.assert_frame_equal(again, table)
    head, *lines, checksum = (tmp_path / "t.csv").read_text().splitlines()
    assert head.split() == ["#", "axes:", *", ".join(axes).split()]
    assert lines == ["width,seed,fit,a", "1,0,# 1,0.5", "2,1,2,1"]
    assert checksum.startswith("# sha256 of all above: ")
    assert "axes" not in table.attrs


def test_tables_without_axes_are_refused(tmp_path):
    (tmp_path / "t.csv").write_text("width,a\n1,2\n")
    seal(tmp_path / "t.csv")
    with pytest.raises(StorageError) as error:
        read_table(tmp_path / "t.csv")
    assert str(error.value) == (
        f"{tmp_path / 't.csv'}: begins with 'width,a'; allowed: a comment '# axes: ...'"
    )
