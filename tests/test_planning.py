import copy
import json
import re
from pathlib import Path

import pytest
import yaml
from plans import EXPERIMENT, ROOT, SCHEMA, build_plan, load, wrap

from ntkflow.errors import ConfigurationError
from ntkstudy.plan.confined import check_writable
from ntkstudy.plan.describe import drawable_figures
from ntkstudy.plan.loading import load_plan
from ntkstudy.plan.planning import Plan
from ntkstudy.schemas import complete

FIGURES = ROOT / "scripts" / "figures"
SCALES = {"default": [], "quick": ["quick.yaml"], "full": ["full.yaml"]}


def labels(plan: Plan, stage: str | None = None) -> list[str]:
    return [cell.label for cell in plan.cells("e", stage)]


def test_cells_are_all_combinations_and_stages_see_only_their_axes():
    plan = build_plan()
    assert labels(plan) == [
        "width~4/learning_rate~0.5",
        "width~4/learning_rate~1",
        "width~8/learning_rate~0.5",
        "width~8/learning_rate~1",
    ]
    assert labels(plan, "train") == labels(plan, "ntk") == labels(plan)
    assert labels(plan, "initialization") == ["width~4", "width~8"]
    assert labels(plan, "dataset") == labels(plan, "limit") == ["all"]


def test_without_a_sweep_there_is_one_cell():
    experiment = {key: value for key, value in EXPERIMENT.items() if key != "sweep"}
    plan = Plan(complete(wrap(e=experiment), SCHEMA), SCHEMA)
    assert labels(plan) == ["all"]
    assert plan.stage_files("train", "e")[0] == "results/x/e/all/train/0-1.h5"


def test_upstream_files_belong_to_the_cell():
    plan = build_plan(sweep={"task.train_points": [8, 9], "network.width": [4, 8]})
    label = "width~8/train_points~9"
    assert label in labels(plan, "train")
    found = plan.upstream_file("train", "dataset", "e", label)
    assert found == "results/x/e/train_points~9/dataset.h5"
    assert plan.upstream_file("limit", "dataset", "e", "train_points~8").endswith("~8/dataset.h5")


def test_seed_blocks_are_aligned():
    label = "width~4/learning_rate~1"
    assert build_plan().blocks("e", "train", label) == ["0-1", "2-3", "4-4"]
    assert build_plan().blocks("e", "initialization", "width~4") == ["0-3", "4-5"]


@pytest.mark.parametrize("seeds", range(1, 9))
def test_one_more_seed_changes_at_most_the_last_block(seeds):
    label = "width~4/learning_rate~1"
    now, more = (build_plan(seeds=n).blocks("e", "train", label) for n in (seeds, seeds + 1))
    assert len(set(more) - set(now)) == 1
    assert more[:-1] == now[: len(more) - 1]


def test_overrides_change_the_cells_they_select():
    rule = {"where": {"network.width": 8}, "set": {"seeds": 2, "training.steps": 9}}
    plan = build_plan(overrides=[rule])
    assert plan.blocks("e", "train", "width~8/learning_rate~1") == ["0-1"]
    assert len(plan.blocks("e", "train", "width~4/learning_rate~1")) == 3
    steps = [cell.config["training"]["steps"] for cell in plan.cells("e")]
    assert steps == [3, 3, 9, 9]


def test_a_job_knows_its_sections_only():
    config = build_plan().job_config("initialization", "e", "width~8", "4-5")
    assert config == {
        "cell": {"width": 8},
        "experiment": "e",
        "measurements": [{"anchor_angle": 0.0, "kind": "profile"}],
        "modules": ["ntkstudy.measurements.profile", "ntkstudy.networks.mlp"],
        "network": {
            "activation": "relu", "activation_first": None, "bias": "normal", "depth": 1,
            "dropout": 0.0, "kind": "mlp", "normalization": "none",
            "parameterization": "ntk", "sigma_b": 0.0, "sigma_w": 1.0, "sigma_w_last": None,
            "width": 8,
        },
        "seeds": [4, 5],
        "stage": "initialization",
        "task": {
            "data_seed": 0, "kind": "gaussian_product", "probe_points": 4, "train_points": 8
        },
    }  # fmt: skip
    assert "width" not in build_plan().job_config("limit", "e", "all")["network"]


def all_configs(plan: Plan) -> list[dict]:
    return [
        plan.job_config(stage, "e", cell.label)
        for stage in ("dataset", "limit", "initialization", "train", "ntk")
        for cell in plan.cells("e", stage)
    ] + [plan.figure_config("e")]


def reverse_keys(value):
    if isinstance(value, dict):
        return {key: reverse_keys(value[key]) for key in reversed(value)}
    return [reverse_keys(item) for item in value] if isinstance(value, list) else value


def test_order_of_keys_changes_nothing():
    one, other = build_plan(), build_plan(**reverse_keys(EXPERIMENT))
    assert json.dumps(all_configs(one)) == json.dumps(all_configs(other))
    assert one.stage_files("train", "e") == other.stage_files("train", "e")


def test_numbers_written_as_integers_change_nothing():
    sweep = {"network.width": [4.0, 8], "training.learning_rate": [0.5, 1.0]}
    one, other = build_plan(), build_plan(sweep=sweep)
    assert json.dumps(all_configs(one)) == json.dumps(all_configs(other))
    rates = [cell.axes["learning_rate"] for cell in one.cells("e")]
    assert all(isinstance(rate, float) for rate in rates)


def test_swapped_values_change_the_configuration():
    network = EXPERIMENT["network"]
    one = build_plan(network=network | {"sigma_w": 2.0, "sigma_b": 0.5})
    other = build_plan(network=network | {"sigma_w": 0.5, "sigma_b": 2.0})
    label = labels(one)[0]
    assert one.job_config("train", "e", label) != other.job_config("train", "e", label)


def test_job_configurations_are_copies():
    plan = build_plan()
    plan.job_config("train", "e", labels(plan)[0])["network"]["depth"] = 99
    assert plan.job_config("train", "e", labels(plan)[0])["network"]["depth"] == 1


def test_stages_and_tables_follow_from_the_measurements():
    assert set(build_plan().tables("e")) == {
        "dataset", "losses", "networks",
        "initialization_profile", "trained_profile", "limit_profile",
    }  # fmt: skip
    plan = build_plan(measurements=[{"kind": "profile", "when": ["limit"]}])
    assert set(plan.tables("e")) == {"dataset", "losses", "networks", "limit_profile"}
    untrained = {
        key: value for key, value in EXPERIMENT.items() if key not in ("training", "sweep")
    }
    plan = Plan(complete(wrap(e=untrained), SCHEMA), SCHEMA)
    assert set(plan.tables("e")) == {"dataset", "initialization_profile", "limit_profile"}


def test_partial_plans_hold_what_exists(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = load(tmp_path, wrap(e=EXPERIMENT) | {"partial": True})
    assert plan.tables("e") == {}
    file = Path("results/x/e/width~8/learning_rate~1/train/0-1.h5")
    file.parent.mkdir(parents=True)
    file.touch()
    assert plan.tables("e") == {}  # its data set is gone, so it would be made again
    Path("results/x/e/all").mkdir()
    Path("results/x/e/all/dataset.h5").touch()
    assert plan.stage_files("train", "e") == [str(file)]
    assert set(plan.tables("e")) == {"dataset", "losses", "networks"}


def test_labels_are_folder_names_that_the_rules_accept():
    pattern = re.search(r'cell="(.+)"', (ROOT / "rules" / "common.smk").read_text())[1]
    plan = build_plan(sweep={"network.activation": ["relu", "erf"], "network.sigma_b": [0, 1e-7]})
    assert "activation~erf/sigma_b~1e-07" in labels(plan)
    assert all(re.fullmatch(pattern, label) for label in [*labels(plan), "all"])


@pytest.mark.parametrize("scale", SCALES)
def test_own_configurations_plan(scale):
    files = [ROOT / "config" / name for name in ("config.yaml", *SCALES[scale])]
    plan = load_plan(files, ROOT / "config" / "schema.yaml")
    assert plan.results == f"results/{scale}"
    for name in plan.experiments:
        for table in plan.tables(name).values():
            assert plan.stage_files(table.stage, name)


def test_a_second_profile_experiment_is_one_block(tmp_path):
    source = ROOT / "config" / "experiments" / "exp001.yaml"
    base = {"results": "results/x"} | yaml.safe_load(source.read_text())
    block = copy.deepcopy(base["experiments"]["kernel_profile"])
    block["network"] |= {"depth": 1, "sigma_b": 1.0}
    plan = load(tmp_path, base, {"experiments": {"shallow": block}})
    assert plan.experiments == [*base["experiments"], "shallow"]
    assert set(plan.tables("shallow")) == set(plan.tables("kernel_profile"))
    names = ("kernel_profile", "shallow")
    figures = [drawable_figures(plan, name, str(FIGURES)) for name in names]
    assert figures[0] == figures[1]
    for stage in ("dataset", "limit", "initialization", "train", "ntk"):
        files = plan.stage_files(stage, "shallow")
        assert [file.replace("shallow", "kernel_profile") for file in files] == plan.stage_files(
            stage, "kernel_profile"
        )
        for cell in plan.cells("shallow", stage):
            assert plan.job_config(stage, "shallow", cell.label)["experiment"] == "shallow"
    assert plan.job_config("limit", "shallow", "all")["network"]["sigma_b"] == 1.0


def test_memory_of_a_task_that_trains_on_the_whole_grid():
    task = {"kind": "circle_product", "probe_points": 4000}
    plan, small = build_plan(task=task), build_plan()
    needed = [one.memory_mb("train", "e", labels(one)[-1], "0-1") for one in (plan, small)]
    assert needed[0] > needed[1]


def test_a_short_job_and_a_long_one():
    plan = build_plan()
    label = labels(plan)[-1]
    assert plan.is_short("train", "e", label, "0-1")
    assert plan.seconds("train", "e", label, "0-1") < plan.seconds("train", "e", label, "0-10000")
    assert not plan.is_short("train", "e", label, "0-10000000000")


def test_results_need_a_folder_that_can_be_written_to(tmp_path, monkeypatch):
    check_writable(tmp_path / "new" / "deep")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"^results: '.*/file/x': .* allowed: a folder"):
        check_writable(tmp_path / "file" / "x")
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(ConfigurationError, match="no write permission on"):
        check_writable(tmp_path / "new")
