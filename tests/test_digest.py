import pickle

from ntkstudy.plan.digest import LONGEST, Digested

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
