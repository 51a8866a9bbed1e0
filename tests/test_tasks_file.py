"""A data set of one's own, in an npz or HDF5 file."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from plans import build_plan

from ntkflow.errors import ConfigurationError
from ntkstudy.data.arrays_file import read_rows, read_shapes
from ntkstudy.options import read_options
from ntkstudy.registry import TASKS

RNG = np.random.default_rng(0)
NUMBERS = {
    "inputs": RNG.normal(size=(5, 2, 3)),
    "targets": RNG.normal(size=(5, 2)),
    "test_inputs": RNG.normal(size=(4, 2, 3)),
    "test_targets": RNG.normal(size=(4, 2)),
}
LABELS = NUMBERS | {"targets": np.array([0, 2, 1, 1, 2]), "test_targets": np.array([2, 0, 0, 1])}


def write_npz(path, arrays: dict) -> str:
    np.savez(path, **arrays)
    return str(path)


def write_hdf5(path, arrays: dict) -> str:
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values
    return str(path)


FORMATS = [("a.npz", write_npz), ("a.h5", write_hdf5)]
formats = pytest.mark.parametrize(("name", "write"), FORMATS)


def make(path: str, **changes) -> dict:
    """Arrays of the data set, by name."""
    task = TASKS["file"]
    options = read_options(task.options, {"kind": "file", "path": path} | changes)
    return {name: one.values for name, one in task.make(options, [path]).items()}


@formats
def test_numbers_are_taken_as_they_are_and_inputs_are_flattened(tmp_path, name, write):
    made = make(write(tmp_path / name, NUMBERS))
    np.testing.assert_array_equal(made["train/x"], NUMBERS["inputs"].reshape(5, 6))
    np.testing.assert_array_equal(made["train/y"], NUMBERS["targets"])
    np.testing.assert_array_equal(made["probe/x"], NUMBERS["test_inputs"].reshape(4, 6))
    np.testing.assert_array_equal(made["probe/y"], NUMBERS["test_targets"])
    assert made["probe/row"].tolist() == [0, 1, 2, 3]
    assert made["labels/position"].tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(made["labels/label"], NUMBERS["targets"][:, 0])
    norms = [np.sqrt((row**2).sum()) for row in NUMBERS["inputs"]]
    np.testing.assert_allclose(made["labels/norm"], norms, rtol=1e-14)


@formats
def test_labels_become_one_hot(tmp_path, name, write):
    made = make(write(tmp_path / name, LABELS), classes=3, train_points=3)
    assert made["train/y"].tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]
    assert made["probe/y"].tolist() == [[0, 0, 1], [1, 0, 0], [1, 0, 0], [0, 1, 0]]
    assert made["labels/label"].tolist() == [0, 2, 1]
    np.testing.assert_array_equal(made["train/x"], LABELS["inputs"][:3].reshape(3, 6))


@formats
def test_one_number_a_row_is_one_output(tmp_path, name, write):
    made = make(write(tmp_path / name, LABELS))
    assert made["train/y"].tolist() == [[0], [2], [1], [1], [2]]


@formats
@pytest.mark.parametrize(
    ("changes", "sizes"),
    [
        ({}, (5, 4, 6, 1)),
        ({"classes": 3}, (5, 4, 6, 3)),
        ({"train_points": 2}, (2, 4, 6, 1)),
    ],
)
def test_sizes_are_those_of_the_arrays(tmp_path, name, write, changes, sizes):
    path = write(tmp_path / name, LABELS)
    task, block = TASKS["file"], {"kind": "file", "path": path} | changes
    found = task.sizes(read_options(task.options, block))
    assert (found.train, found.probe, found.inputs, found.outputs) == sizes
    made = make(path, **changes)
    assert (*made["train/x"].shape, made["train/y"].shape[1]) == (sizes[0], *sizes[2:])
    assert task.labels(read_options(task.options, block)) == ("classes" in changes)


def test_more_rows_than_there_are_is_a_mistake(tmp_path):
    path = write_npz(tmp_path / "a.npz", LABELS)
    task, block = TASKS["file"], {"kind": "file", "path": path, "train_points": 9}
    with pytest.raises(ConfigurationError, match=r"train_points: 9 is not allowed; .* at most 5"):
        task.sizes(read_options(task.options, block))


@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_a_truncated_file_is_named(tmp_path, kept):
    rng = np.random.default_rng(0)
    big = {"inputs": rng.standard_normal((500, 9)), "targets": rng.standard_normal(500)}
    few = {"test_inputs": np.ones((2, 9)), "test_targets": np.ones(2)}
    path = write_npz(tmp_path / "a.npz", big | few)
    whole = Path(path).read_bytes()
    Path(path).write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(ConfigurationError, match=r"task\.path: .*a\.npz': is "):
        read_shapes(path)


def test_shapes_are_read_without_the_values(tmp_path, monkeypatch):
    path = write_npz(tmp_path / "a.npz", NUMBERS)

    def refuse(*arguments):
        pytest.fail("values are read")

    monkeypatch.setattr(np.lib.npyio.NpzFile, "__getitem__", refuse)
    assert read_shapes(path)["inputs"] == (5, 2, 3)


def test_a_plan_names_the_file_as_what_the_data_set_is_made_from(tmp_path):
    path = write_npz(tmp_path / "a.npz", LABELS)
    plan = build_plan(task={"kind": "file", "path": path, "classes": 3}, measurements=[])
    assert plan.task_files("e", "all") == [path]
    assert plan.facts("e", plan.cells("e")[0]).sizes.outputs == 3
    assert plan.tables("e")["dataset"].group == "labels"


# Errors


def without(name: str) -> dict:
    return {key: values for key, values in LABELS.items() if key != name}


WRONG = [
    (without("test_targets"), "array 'test_targets' is missing; allowed: an npz or HDF5 file with"),
    (LABELS | {"targets": np.zeros(4)},
     "inputs (5, 2, 3) and targets (4,) do not fit; allowed: inputs (M, ...) and targets (M,) or"),
    (LABELS | {"test_targets": np.zeros((4, 1, 1))},
     "test_inputs (4, 2, 3) and test_targets (4, 1, 1) do not fit; allowed: inputs (M, ...)"),
    (LABELS | {"inputs": np.zeros(5)}, "inputs (5,) and targets (5,) do not fit; allowed: inputs"),
    (LABELS | {"targets": np.array(1.0)}, "inputs (5, 2, 3) and targets () do not fit; allowed: "),
    (LABELS | {"test_inputs": np.zeros((4, 3, 2))},
     "inputs (5, 2, 3) and test_inputs (4, 3, 2) differ; allowed: inputs of one shape"),
    (LABELS | {"targets": np.array([b"a"] * 5)},
     "targets holds values of type |S1; allowed: real numbers"),
    (LABELS | {"inputs": np.zeros((5, 2, 3), complex)},
     "inputs holds values of type complex128; allowed: real numbers"),
]  # fmt: skip


def problem_of(path: str, call) -> str:
    with pytest.raises(ConfigurationError) as error:
        call()
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith(f"task.path: {path!r}: ")
    return text.removeprefix(f"task.path: {path!r}: ")


@formats
@pytest.mark.parametrize(("arrays", "problem"), WRONG)
def test_arrays_that_do_not_fit_are_refused_at_planning(tmp_path, name, write, arrays, problem):
    path = write(tmp_path / name, arrays)
    assert problem_of(path, lambda: read_shapes(path)).startswith(problem)
    with pytest.raises(ConfigurationError) as error:
        build_plan(task={"kind": "file", "path": path})
    assert str(error.value).startswith(f"a.yaml: experiments.e: task.path: {path!r}: {problem}")


BAD_VALUES = [
    ("inputs", np.full((5, 2, 3), np.nan), None,
     "inputs holds a number that is not finite; allowed: finite numbers"),
    ("test_targets", np.array([0, 1, np.inf, 0]), None,
     "test_targets holds a number that is not finite; allowed: finite numbers"),
    ("targets", np.array([0, 1, 2, 3, 0]), 3,
     "targets holds other values; allowed: labels 0 ... 2, one a row"),
    ("targets", np.array([0, 1, -1, 0, 0]), 3, "targets holds other values; allowed: labels 0"),
    ("test_targets", np.array([0, 1, 0.5, 0]), 3, "test_targets holds other values; allowed: "),
    ("targets", np.eye(5, 3), 3, "targets holds other values; allowed: labels 0 ... 2, one a row"),
]  # fmt: skip


@pytest.mark.parametrize(("array", "values", "classes", "problem"), BAD_VALUES)
def test_values_that_cannot_be_are_refused(tmp_path, array, values, classes, problem):
    path = write_npz(tmp_path / "a.npz", LABELS | {array: values})
    assert problem_of(path, lambda: read_rows(path, None, classes)).startswith(problem)


def test_a_group_is_no_array(tmp_path):
    path = write_hdf5(tmp_path / "a.h5", without("targets") | {"targets/a": np.zeros(5)})
    assert problem_of(path, lambda: read_shapes(path)).startswith("array 'targets' is missing; ")


def test_a_missing_file_a_folder_and_other_files_are_named(tmp_path):
    missing, other = tmp_path / "no.npz", tmp_path / "a.csv"
    other.write_text("inputs,targets\n")
    allowed = "allowed: an npz or HDF5 file with the arrays inputs, targets, test_inputs, test_targ"
    for path, problem in ((missing, "does not exist"), (tmp_path, "does not exist"),
                          (other, "is of another type")):  # fmt: skip
        found = problem_of(str(path), lambda path=path: read_shapes(str(path)))
        assert found.startswith(f"{problem}; {allowed}")


def test_a_damaged_npz_file_is_of_another_type(tmp_path):
    path = tmp_path / "a.npz"
    whole = write_npz(path, NUMBERS)
    path.write_bytes(path.read_bytes()[:-40])
    assert problem_of(whole, lambda: read_shapes(whole)).startswith("is of another type")


def test_every_file_of_a_sweep_is_looked_at(tmp_path):
    path = write_npz(tmp_path / "a.npz", LABELS)
    paths = {"task.path": [path, f"{tmp_path}/no.npz"]}
    with pytest.raises(ConfigurationError, match=r"'.*/no\.npz': does not exist"):
        build_plan(task={"kind": "file", "path": path}, sweep=paths, measurements=[])
