"""Experiments stand in one file a source; a mistake is reported where it was made."""

import shutil

import pytest
import yaml
from plans import EXPERIMENT, ROOT

from ntkflow.errors import ConfigurationError
from ntkstudy.plan.layers import source_files
from ntkstudy.plan.loading import load_plan
from ntkstudy.plan.planning import Plan


def load(folder, experiments: dict[str, dict], *overlays: dict, base=None) -> Plan:
    """A plan of config.yaml, experiments/<source>.yaml and overlays in a folder."""
    files = [folder / "config.yaml"]
    files[0].write_text(yaml.safe_dump({"results": "results/x"} | (base or {})))
    (folder / "experiments").mkdir(exist_ok=True)
    for source, data in experiments.items():
        (folder / "experiments" / f"{source}.yaml").write_text(yaml.safe_dump(data))
    for index, overlay in enumerate(overlays):
        files.append(folder / f"{index}.yaml")
        files[-1].write_text(yaml.safe_dump(overlay))
    return load_plan(files, ROOT / "config" / "schema.yaml")


def of(source, *names, **changes) -> dict:
    block = EXPERIMENT | {"source": source} | changes
    return {"experiments": dict.fromkeys(names, block)}


def test_experiments_come_in_the_order_of_their_sources(tmp_path):
    files = {"ours": of("ours", "a"), "exp001": of("exp001", "c", "b"), "slides": of("slides", "d")}
    plan = load(tmp_path, files, {"experiments": {"d": {"seeds": 3}, "b": {"seeds": 4}}})
    assert plan.experiments == ["b", "c", "d", "a"]  # safe_dump sorts within a file
    assert [plan.block(name)["seeds"] for name in plan.experiments] == [4, 5, 3, 5]


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"ours": of("ours", "a", seeds=-1)}, "experiments.a.seeds: -1 is not allowed; allowed: "),
        ({"ours": of("ours", "a", seeds=0)}, "experiments.a.seeds: 0 is not allowed; allowed: "),
        ({"ours": of("ours", "a", sweep={"network.width": ["x"]})},
         "experiments.a.sweep.network.width[0]: 'x' is not allowed; allowed: integer >= 1"),
        ({"ours": of("ours", "a") | {"only": []}}, "only: unknown key; allowed: experiments"),
        ({"ours": {"experiments": []}}, "experiments: [] is not allowed; allowed: mapping"),
        ({"ours": {"experiments": {"a": 3}}}, "experiments.a: 3 is not allowed; allowed: mapping"),
        ({"ours": of("slides", "a")},
         "experiments.a.source: 'slides' is not allowed; allowed: ours, the name of the file"),
    ],
)  # fmt: skip
def test_a_mistake_names_the_file_of_the_source(tmp_path, files, problem):
    with pytest.raises(ConfigurationError) as error:
        load(tmp_path, {"exp001": of("exp001", "b")} | files, {"threads": 1})
    file = tmp_path / "experiments" / "ours.yaml"
    assert str(error.value).startswith(f"{file}: {problem}")


def test_a_mistake_in_an_overlay_names_the_overlay(tmp_path):
    files, wrong = {"ours": of("ours", "a")}, {"experiments": {"a": {"seeds": -1}}}
    with pytest.raises(ConfigurationError) as error:
        load(tmp_path, files, {"threads": 1}, wrong, {"experiments": {"a": {"initializations": 3}}})
    assert str(error.value).startswith(f"{tmp_path / '1.yaml'}: experiments.a.seeds: -1 is not")


def test_a_mistake_beside_the_experiments_names_the_file_that_has_it(tmp_path):
    with pytest.raises(ConfigurationError) as error:
        load(tmp_path, {"ours": of("ours", "a")}, base={"threads": 0})
    assert str(error.value).startswith(f"{tmp_path / 'config.yaml'}: threads: 0 is not allowed")


@pytest.mark.parametrize("base", [{}, of("ours", "b")])
def test_an_experiment_stands_once(tmp_path, base):
    files = {"exp001": of("exp001", "a", "b"), "ours": of("ours", "a")}
    with pytest.raises(ConfigurationError) as error:
        load(tmp_path, files, base=base)
    first, second = ("config.yaml", "exp001") if base else ("exp001", "ours")
    named = [name if "." in name else f"experiments/{name}.yaml" for name in (first, second)]
    first, second = (tmp_path / name for name in named)
    experiment = "b" if base else "a"
    problem = f"experiments.{experiment}: stands in {first} too; allowed once"
    assert str(error.value) == f"{second}: {problem}"


def test_a_file_that_is_called_like_no_source_is_refused(tmp_path):
    with pytest.raises(ConfigurationError) as error:
        load(tmp_path, {"our": of("ours", "a")})
    file = tmp_path / "experiments" / "our.yaml"
    assert str(error.value).startswith(f"{file}: 'our' is no source; allowed: exp001, ")
    assert str(error.value).endswith("did you mean ours?")


def test_files_come_in_the_order_of_the_sources(tmp_path):
    for name in ("a", "c", "b"):
        (tmp_path / f"{name}.yaml").touch()
    assert list(source_files(tmp_path, ["c", "d", "a", "b"])) == ["c", "a", "b"]


def test_errors_after_planning_name_the_last_file_with_a_word_on_the_experiment(tmp_path):
    files = {"ours": of("ours", "a", "b")}
    plan = load(tmp_path, files, {"experiments": {"a": {"seeds": 3}}}, {"threads": 2})
    assert plan.file_of("a") == str(tmp_path / "0.yaml")
    assert plan.file_of("b") == str(tmp_path / "experiments" / "ours.yaml")


def test_what_a_source_publishes_reaches_the_figures_and_no_job(tmp_path):
    published = {"movement": [[10, 0.426], ["wide", 0.0]]}
    plan = load(tmp_path, {"ours": of("ours", "a", published=published)})
    assert plan.figure_config("a")["published"] == published
    label = plan.cells("a", "train")[0].label
    assert "published" not in plan.job_config("train", "a", label)


def test_the_projects_files_are_read_with_their_repetitions(tmp_path):
    shutil.copytree(ROOT / "config", tmp_path / "config")
    plan = load_plan([tmp_path / "config" / "config.yaml"], tmp_path / "config" / "schema.yaml")
    tasks = [plan.block(name)["task"] for name in ("spectral_bias", "parity_null", "kernel_drift")]
    assert len({tuple(task["phases"]) for task in tasks}) == 1
    assert [task["probe_points"] for task in tasks] == [720, 360, 720]
    assert [task["train_points"] for task in tasks] == [None, None, 256]
