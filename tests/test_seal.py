import hashlib

import h5py
import numpy as np
import pytest

from ntkflow.errors import StorageError
from ntkstudy.data import seal as sealing
from ntkstudy.data.seal import check_seal, seal


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as data:
        data["values"] = np.arange(1000.0)
    seal(path)
    return path


def test_the_last_line_is_what_sha256sum_says_of_the_rest(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("seed,loss\n0,1.5\n")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    seal(path)
    assert path.read_text().splitlines()[-1] == f"# sha256 of all above: {digest}"
    assert check_seal(path, "table") == len("seed,loss\n0,1.5\n")


def test_hdf5_reads_a_sealed_file(file):
    with h5py.File(file) as data:
        np.testing.assert_array_equal(data["values"], np.arange(1000.0))


@pytest.mark.parametrize("share", np.linspace(0, 0.999, 12))
def test_no_changed_byte_passes(file, share):
    content = bytearray(file.read_bytes())
    content[int(share * len(content))] ^= 1
    file.write_bytes(content)
    with pytest.raises(StorageError, match=r"a\.h5: (damaged: its SHA|truncated or another)"):
        check_seal(file, "ntk")


@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.99])
def test_no_truncated_file_passes(file, kept):
    content = file.read_bytes()
    file.write_bytes(content[: kept if kept in (0, 10) else int(kept * len(content))])
    with pytest.raises(StorageError, match=r"a\.h5: truncated or another file; expected a 'ntk'"):
        check_seal(file, "ntk")


def test_an_unchanged_file_is_read_once(file, monkeypatch):
    read = []
    digest = sealing._digest
    monkeypatch.setattr(sealing, "_digest", lambda *each: read.append(each) or digest(*each))
    for _ in range(3):
        check_seal(file, "ntk")
    assert len(read) == 1


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(StorageError, match="cannot be read: Is a directory; allowed: a readable"):
        check_seal(tmp_path, "ntk")
