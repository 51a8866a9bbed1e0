from pathlib import Path

import pytest
import yaml
from plans import ROOT, SCHEMA

from ntkflow.errors import ConfigurationError
from ntkstudy.plan.configuration import dotted, merge, read_yaml, validate
from ntkstudy.plan.layers import merge_layers, read_layers, source_names
from ntkstudy.schemas import complete, resolve_references

CONFIG = ROOT / "config"


def write(folder: Path, text: str) -> Path:
    file = folder / "a.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def build_config(**changes) -> dict:
    experiment = {
        "title": "t",
        "source": "ours",
        "question": "q",
        "task": {"kind": "gaussian_product"},
        "network": {"kind": "mlp", "depth": 1, "width": 4},
    }
    return {"results": "results/x", "experiments": {"e": experiment | changes}}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: key 'a' appears twice; allowed once"),
        ("e:\n  x: 1\n  x: 1\n", "line 3: key 'x' appears twice"),
        ("yes: 1\n", "line 1: key True is no text"),
        ("__use_yte__: true\n", "__use_yte__: Python templates are not allowed here"),
        ("a: [1\n", "not valid YAML: while parsing"),
        ("- 1\n", "holds list; allowed: a mapping of keys"),
        ("", "holds NoneType; allowed: a mapping of keys"),
        ("a: !!python/object:os.system x\n", "not valid YAML"),
    ],
)
def test_unreadable_files_are_one_line_errors(tmp_path, text, problem):
    file = write(tmp_path, text)
    with pytest.raises(ConfigurationError) as error:
        read_yaml(file)
    assert str(error.value).startswith(f"{file}: ")
    assert problem in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_and_binary_files_are_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"no\.yaml: cannot be read: No such file"):
        read_yaml(tmp_path / "no.yaml")
    (tmp_path / "b.yaml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(ConfigurationError, match=r"b\.yaml: not valid YAML"):
        read_yaml(tmp_path / "b.yaml")


def test_anchors_can_be_merged(tmp_path):
    file = write(tmp_path, "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\n")
    assert read_yaml(file)["b"] == {"x": 1, "y": 3}


def test_anchors_are_merged_once_and_allow_no_other_key_twice(tmp_path):
    for text, key in (("{<<: *a, <<: *a}", "<<"), ("{<<: *a, y: 3, y: 4}", "y")):
        file = write(tmp_path, f"a: &a {{x: 1, y: 2}}\nb: {text}\n")
        with pytest.raises(ConfigurationError) as error:
            read_yaml(file)
        assert str(error.value) == f"{file}: line 2: key {key!r} appears twice; allowed once"


def test_anchors_can_be_merged_into_one_another(tmp_path):
    file = write(tmp_path, "a: &a {x: 1, y: 2}\nb: &b {<<: *a, y: 3}\nc: {<<: *b, x: 4}\n")
    assert read_yaml(file)["c"] == {"x": 4, "y": 3}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"netwrk": {}}, "experiments.e.netwrk: unknown key; allowed: animations, enabled"),
        ({"task": {"kind": "gaussian_product", "n": 1}}, "experiments.e.task.n: unknown key"),
        ({"seeds": "ten"}, "experiments.e.seeds: 'ten' is not allowed; allowed: integer >= 0"),
        ({"seeds": True}, "experiments.e.seeds: True is not allowed; allowed: integer >= 0"),
        ({"seeds": -1}, "experiments.e.seeds: -1 is not allowed; allowed: integer >= 0"),
        ({"title": 3}, "experiments.e.title: 3 is not allowed; allowed: text"),
        ({"task": None}, "experiments.e.task: None is not allowed; allowed: mapping"),
        ({"task": {}}, "experiments.e.task.kind: missing; this key is required"),
        ({"sweep": {}}, "experiments.e.sweep: {} is empty; allowed: at least 1"),
        ({"sweep": {"a.b": []}}, "experiments.e.sweep.a.b: [] is empty; allowed: at least 1"),
        ({"sweep": {"a.b": [1, 1]}}, "experiments.e.sweep.a.b: [1, 1] repeats a value"),
        ({"source": "me"}, "experiments.e.source: 'me' is unknown; allowed: exp001, "),
        (
            {"overrides": [{"where": {"a": 1}, "set": {"width": 1}}]},
            "experiments.e.overrides[0].set: 'width' is not allowed; allowed: seeds, initial",
        ),
    ],
)
def test_mistakes_name_key_value_and_what_is_allowed(changes, problem):
    with pytest.raises(ConfigurationError) as error:
        validate(build_config(**changes), SCHEMA, source="my.yaml")
    assert str(error.value).startswith(f"my.yaml: {problem}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("network", "problem"),
    [
        ({"width": -3}, "width: -3 is not allowed; allowed: integer >= 1"),
        ({"width": 1.5}, "width: 1.5 is not allowed; allowed: integer >= 1"),
        ({"activation": "rellu"}, "activation: 'rellu' is unknown; allowed: relu, erf, gelu,"),
        (
            {"activation_first": "None"},
            "activation_first: 'None' is unknown; "
            "allowed: relu, erf, gelu, sin, abs, tanh, linear, null",
        ),
        ({"kind": "xyz"}, "kind: 'xyz' is unknown; allowed: cnn, mlp, rnn, lstm, gru, resnet"),
        ({"dropout": 1.0}, "dropout: 1.0 is not allowed; allowed: number >= 0 and < 1"),
        ({"normalization": "layer"}, "normalization: 'layer' is unknown; allowed: none, batch"),
        ({"sigma_b": -0.1}, "sigma_b: -0.1 is not allowed; allowed: number >= 0"),
        ({"sigma_b": float("nan")}, "sigma_b: nan is not allowed; allowed: a finite number"),
        ({"sigma_w": float("inf")}, "sigma_w: inf is not allowed; allowed: a finite number"),
    ],
)
def test_mistakes_in_a_network(network, problem):
    config = build_config(network={"kind": "mlp", "depth": 1, "width": 4} | network)
    with pytest.raises(ConfigurationError) as error:
        validate(config, SCHEMA, source="my.yaml")
    assert str(error.value).startswith(f"my.yaml: experiments.e.network.{problem}")


@pytest.mark.parametrize(
    ("changes", "meant"),
    [
        ({"netwrk": {}}, "network"),
        ({"network": {"kind": "mlp", "depth": 1, "width": 4, "activation": "rellu"}}, "relu"),
        ({"network": {"kind": "mlp", "depth": 1, "width": 4, "sigmab": 0.1}}, "sigma_b"),
    ],
)
def test_a_misspelt_word_brings_the_one_that_was_meant(changes, meant):
    with pytest.raises(ConfigurationError, match=f"; did you mean {meant}\\?$"):
        validate(build_config(**changes), SCHEMA, source="my.yaml")


@pytest.mark.parametrize("name", ["Big", "1st", "a-b", "a/b"])
def test_names_of_experiments(name):
    config = {"results": "r", "experiments": {name: build_config()["experiments"]["e"]}}
    with pytest.raises(ConfigurationError, match="allowed: a name of lower-case letters"):
        validate(config, SCHEMA, source="my.yaml")


@pytest.mark.parametrize("text", ["1e-2", "1E-2", "1e2", "1.5e3", "-2.e4", "+1e+2"])
def test_numbers_that_yaml_takes_for_text_get_a_hint_that_works(text):
    training = {"learning_rate": yaml.safe_load(text), "steps": 1}
    with pytest.raises(ConfigurationError, match=r"learning_rate: .* allowed: number > 0") as error:
        validate(build_config(training=training), SCHEMA, source="my.yaml")
    hint = str(error.value).split(f"YAML reads {text} as text: write ")[1].removesuffix(")")
    assert yaml.safe_load(hint) == float(text)


def test_hint_for_a_hundredth():
    training = {"learning_rate": "1e-2", "steps": 1}
    with pytest.raises(ConfigurationError, match=r"write 1\.0e-2\)$"):
        validate(build_config(training=training), SCHEMA, source="my.yaml")


def test_merge_replaces_lists_and_sweeps_as_a_whole():
    base = {"a": {"x": 1, "y": [1, 2]}, "sweep": {"w": [1]}}
    merged = merge(base, {"a": {"y": [3]}, "sweep": {"d": [2]}})
    assert merged == {"a": {"x": 1, "y": [3]}, "sweep": {"d": [2]}}
    assert base == {"a": {"x": 1, "y": [1, 2]}, "sweep": {"w": [1]}}


def test_dotted_paths():
    assert dotted(["experiments", "a", "sweep", 0, "x"]) == "experiments.a.sweep[0].x"


def test_complete_gives_one_form_whatever_was_written():
    network = {"width": 4.0, "sigma_b": 1, "kind": "mlp", "depth": 1}
    network = complete(build_config(network=network), SCHEMA)["experiments"]["e"]["network"]
    assert list(network.items()) == [
        ("kind", "mlp"), ("activation", "relu"), ("parameterization", "ntk"),
        ("sigma_w", 1.0), ("sigma_b", 1.0),
        ("bias", "normal"), ("depth", 1), ("width", 4),
        ("activation_first", None), ("sigma_w_last", None),
        ("normalization", "none"), ("dropout", 0.0),
    ]  # fmt: skip
    assert isinstance(network["sigma_b"], float)
    assert isinstance(network["width"], int)


def test_numbers_that_may_be_absent_have_one_form_too():
    schema = {"type": ["integer", "null"]}
    assert [repr(complete(value, schema)) for value in (4.0, 4, None)] == ["4", "4", "None"]


def test_defaults_are_not_shared():
    config = build_config()
    config["experiments"]["f"] = build_config()["experiments"]["e"]
    first, second = complete(config, SCHEMA)["experiments"].values()
    first["measurements"].append(1)
    first["task"]["train_points"] = 3
    again = complete(config, SCHEMA)["experiments"]["e"]
    assert second["measurements"] == again["measurements"] == []
    assert second["task"]["train_points"] == again["task"]["train_points"] == 512


def test_complete_is_valid_and_changes_nothing_twice():
    for overlay in ("quick", "full"):
        files = [CONFIG / "config.yaml", CONFIG / f"{overlay}.yaml"]
        config = merge_layers(read_layers(files, source_names(SCHEMA))).data
        done = complete(config, SCHEMA)
        validate(done, SCHEMA, source="completed")
        assert complete(done, SCHEMA) == done


def test_references_are_resolved_wherever_they_are():
    schema = {"a": [{"$ref": "#/$defs/x", "description": "here"}]}
    definitions = {"x": {"b": {"$ref": "#/$defs/y"}}, "y": {"type": "string"}}
    expected = {"a": [{"b": {"type": "string"}, "description": "here"}]}
    assert resolve_references(schema, definitions) == expected


def rules_of(schema, path=()):
    """Every property of a schema with its path, those of items and branches included."""
    for key, rule in schema.get("properties", {}).items():
        yield (*path, key), rule
        yield from rules_of(rule, (*path, key))
    inner = [schema[key] for key in ("items", "additionalProperties") if schema.get(key)]
    for rule in [*inner, *(branch["then"] for branch in schema.get("allOf", []))]:
        yield from rules_of(rule, path)


def test_every_key_is_described_and_every_default_is_allowed():
    for path, rule in rules_of(SCHEMA):
        assert rule.get("description"), path
        if "default" in rule:
            validate(rule["default"], rule, source="default", at=path)
