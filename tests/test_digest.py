import pickle

from ntkstudy.plan.digest import LONGEST, Digested, files_digest

LONG = {"experiments": {"e": {"title": "T" * LONGEST}}, "seeds": [0, 1]}


def test_short_configurations_are_written_out():
    assert repr(Digested({"kind": "modes"})) == "{'kind': 'modes'}"


def test_long_configurations_differ_in_writing_where_they_differ():
    text = repr(Digested(LONG))
    assert len(text) < 100
    assert repr(Digested(LONG)) == text
    assert repr(Digested(LONG | {"seeds": [0, 2]})) != text
    inside = {"experiments": {"e": {"title": "T" * LONGEST + "."}}, "seeds": [0, 1]}
    assert repr(Digested(inside)) != text
    reordered = {key: LONG[key] for key in reversed(LONG)}
    assert repr(Digested(reordered)) != text  # the report keeps the order of experiments


def test_scripts_get_a_plain_dictionary():
    passed = pickle.loads(pickle.dumps(Digested(LONG)))
    assert type(passed) is dict
    assert passed == LONG


def test_files_have_another_checksum_when_a_content_or_a_name_changes(tmp_path):
    files = [tmp_path / "a.py", tmp_path / "b.py"]
    for file in files:
        file.write_text("x = 1\n")
    digest = files_digest(files, tmp_path)
    assert files_digest(reversed(files), tmp_path) == digest
    for file in files:
        file.touch()
    assert files_digest(files, tmp_path) == digest
    files[1].write_text("x = 2\n")
    changed = files_digest(files, tmp_path)
    renamed = [files[0], files[1].rename(tmp_path / "c.py")]
    assert len({digest, changed, files_digest(renamed, tmp_path)}) == 3
