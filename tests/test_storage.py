import json
import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import h5py
import numpy as np
import pytest

from ntkflow.errors import StorageError
from ntkstudy.data.seal import seal
from ntkstudy.data.storage import (
    Array,
    git_revision,
    open_file,
    replacing,
    software_versions,
    write_file,
)

CONFIG = {"stage": "ntk", "experiment": "e", "cell": {"width": 4}, "seeds": [2, 3], "network": {}}
ARRAYS = {
    "profile/gamma": Array(np.linspace(-1, 1, 3), ["gamma"], "radian"),
    "profile/theta": Array(np.arange(6.0).reshape(2, 3), ["seed", "gamma"], "trace"),
}


@pytest.fixture
def file(tmp_path):
    write_file(tmp_path / "a" / "b.h5", CONFIG, ARRAYS, device="cpu", dtype="float32")
    return tmp_path / "a" / "b.h5"


def test_what_is_written_is_read(file):
    with open_file(file, "ntk") as data:
        assert (data.cell, data.seeds, data.config) == ({"width": 4}, [2, 3], CONFIG)
        assert data.names("profile") == ["gamma", "theta"]
        for name, array in ARRAYS.items():
            found = data.array(name)
            np.testing.assert_array_equal(found.values, array.values)
            assert (found.dims, found.units) == (array.dims, array.units)
        np.testing.assert_array_equal(data.array("profile/theta", 1).values, [3.0, 4.0, 5.0])


def test_files_say_where_they_come_from(file):
    with h5py.File(file) as data:
        attributes = dict(data.attrs)
    assert attributes["format"] == 2
    assert attributes["device"] == "cpu"
    assert json.loads(attributes["versions"]) == software_versions()
    assert attributes["revision"] == git_revision()
    assert {"python", "ntkflow", "torch", "numpy", "h5py"} <= set(software_versions())


def truncate(file):
    os.truncate(file, file.stat().st_size // 2)


def change_format(file):
    with h5py.File(file, "a") as data:
        data.attrs["format"] = 99
    seal(file)


def change_a_byte(file):
    content = bytearray(file.read_bytes())
    where = content.index(np.float64(4.0).tobytes())
    content[where] ^= 1
    file.write_bytes(content)


def replace_by_text(file):
    file.write_text("no HDF5")


def replace_by_foreign(file):
    file.unlink()
    h5py.File(file, "w").close()
    seal(file)


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (Path.unlink, "does not exist; expected a 'ntk' file"),
        (truncate, "truncated or another file; expected a 'ntk' file (`make mend`"),
        (replace_by_text, "truncated or another file; expected a 'ntk' file"),
        (change_a_byte, "damaged: its SHA-256 is "),
        (change_format, "has format 99; expected format 2"),
        (replace_by_foreign, "is a file of stage 'none'; expected stage 'ntk'"),
    ],
)
def test_bad_files_are_one_line_errors(file, spoil, problem):
    spoil(file)
    with pytest.raises(StorageError) as error, open_file(file, "ntk"):
        pass
    assert str(error.value).startswith(f"{file}: {problem}")
    assert "\n" not in str(error.value)


def test_wrong_stage_group_and_dataset(file):
    with pytest.raises(StorageError, match="is a file of stage 'ntk'; expected stage 'train'"):
        open_file(file, "train").__enter__()
    with open_file(file, "ntk") as data:
        with pytest.raises(StorageError, match="dataset 'profile/x' is missing"):
            data.array("profile/x")
        with pytest.raises(StorageError, match="group 'x' is missing; it holds profile"):
            data.names("x")


def test_a_file_without_permission(file, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(StorageError, match="cannot be read: Permission denied"):
        open_file(file, "ntk").__enter__()


def full_disk(monkeypatch, free):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage(1e9, 1e9 - free, free))


def test_a_full_disk_is_an_error_that_leaves_nothing(tmp_path, monkeypatch):
    full_disk(monkeypatch, free=100)
    with pytest.raises(StorageError, match=r"b\.h5: cannot be written: No space left on device"):
        write_file(tmp_path / "b.h5", CONFIG, ARRAYS)
    assert list(tmp_path.iterdir()) == []


def test_an_exception_inside_leaves_no_half_written_output(tmp_path):
    def write(fail):
        with replacing(tmp_path / "a.txt") as temporary:
            temporary.write_text("new")
            if fail:
                raise KeyError("a bug")

    with pytest.raises(KeyError):
        write(fail=True)
    assert list(tmp_path.iterdir()) == []
    write(fail=False)
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_what_a_killed_job_left_goes_with_the_next_write(tmp_path):
    for name in (".a.txt.17.part", ".a.txt.17.part.new", ".a.txt.18.part", ".b.txt.17.part"):
        (tmp_path / name).touch()
    with replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
    assert sorted(file.name for file in tmp_path.iterdir()) == [".b.txt.17.part", "a.txt"]


def test_a_failed_write_keeps_the_old_file(file, monkeypatch):
    before = file.read_bytes()
    full_disk(monkeypatch, free=100)
    with pytest.raises(StorageError):
        write_file(file, CONFIG, ARRAYS)
    assert file.read_bytes() == before


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"file/b\.h5: cannot be written: .*; allowed: a folder"):
        write_file(tmp_path / "file" / "b.h5", CONFIG, ARRAYS)


def test_no_permission_to_write(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(StorageError, match="Permission denied; allowed: a folder that this user"):
        write_file(tmp_path / "b.h5", CONFIG, ARRAYS)


def test_revision_is_empty_without_git(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert git_revision() == ""


@pytest.mark.parametrize(
    "name",
    [
        *("ntkflow", "ntkstudy.plan.loading", "ntkstudy.data.storage", "ntkstudy.claims"),
        *("ntkstudy.report.plotting", "ntkstudy.data.tables", "ntkflow.linalg.spectra"),
    ],
)
def test_light_modules_import_no_torch(name):
    code = f"import sys, {name}; sys.exit('torch' in sys.modules)"
    subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1] / "scripts"
    )
