import copy
import json
import re
from pathlib import Path

import pytest
import yaml

from ntkflow.configuration import complete, read_schema
from ntkflow.describe import drawable_figures
from ntkflow.errors import ConfigurationError
from ntkflow.plan_checks import check_plan
from ntkflow.planning import Plan, check_writable, load_plan
from ntkflow.stages import RESERVED

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "scripts" / "figures"
SCHEMA = read_schema(ROOT / "config" / "schema.yaml")
SCALES = {"default": [], "quick": ["quick.yaml"], "full": ["full.yaml"]}
EXPERIMENT = {
    "title": "t",
    "source": "ours",
    "question": "q",
    "task": {"kind": "gaussian_product", "train_points": 8, "probe_points": 4},
    "network": {"kind": "mlp", "depth": 1, "width": 4},
    "training": {"learning_rate": 0.5, "steps": 3},
    "measurements": [{"kind": "profile", "when": ["initialization", "trained", "limit"]}],
    "sweep": {"network.width": [4, 8], "training.learning_rate": [0.5, 1]},
    "seeds": 5,
    "initializations": 6,
    "seeds_per_job": 2,
    "initializations_per_job": 4,
}


def load(folder: Path, *configs: dict, overrides=None) -> Plan:
    files = []
    for index, config in enumerate(configs):
        files.append(folder / f"{index}.yaml")
        files[-1].write_text(yaml.safe_dump(config, sort_keys=False))
    return load_plan(files, ROOT / "config" / "schema.yaml", overrides)


def wrap(**experiments) -> dict:
    return {"results": "results/x", "experiments": experiments}


def build_plan(**changes) -> Plan:
    plan = Plan(complete(wrap(e=EXPERIMENT | changes), SCHEMA), SCHEMA, source="a.yaml")
    check_plan(plan)
    return plan


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


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"sweep": {"network.width": [4, "8"]}},
            "sweep.network.width[1]: '8' is not allowed; allowed: integer >= 1",
        ),
        (
            {"sweep": {"training.learning_rate": ["1e-2"]}},
            "sweep.training.learning_rate[0]: '1e-2' is not allowed; allowed: number > 0 "
            "(YAML reads 1e-2 as text: write 1.0e-2)",
        ),
        (
            {"sweep": {"network.wdth": [4]}},
            "sweep.network.wdth[0]: unknown key; allowed: activation, activation_first, bias, "
            "depth, dropout, kind, normalization, parameterization, sigma_b, sigma_w, "
            "sigma_w_last, width; did you mean width?",
        ),
        (
            {"sweep": {"seeds": [4]}},
            "sweep.seeds: cannot be swept; allowed: task.<key>, network.<key>, training.<key>",
        ),
        (
            {"sweep": {"network.width.x": [4]}},
            "sweep.network.width.x: cannot be swept; allowed: task.<key>, network.<key>, "
            "training.<key>",
        ),
        (
            {"sweep": {"network.kind": ["mlp"], "task.kind": ["gaussian_product"]}},
            "sweep.network.kind: two axes are called 'kind'; allowed: different last parts",
        ),
        (
            {"sweep": {"network.sigma_w": [1.0, 1.00000001]}},
            "sweep: two cells are called 'sigma_w~1'; allowed: values that differ when named",
        ),
        (
            {"overrides": [{"where": {"network.depth": 1}, "set": {"seeds": 2}}]},
            "overrides[0].where.network.depth: not a swept key; allowed: network.width, "
            "training.learning_rate",
        ),
        (
            {"overrides": [{"where": {"network.width": 8}, "set": {"seeds": -1}}]},
            "overrides[0].set.seeds: -1 is not allowed; allowed: integer >= 0",
        ),
        (
            {"overrides": [{"where": {"network.width": 8}, "set": {"training.step": 0}}]},
            "overrides[0].set.training.step: unknown key; allowed: centred, decay, dtype, "
            "engine, l1, l2, learning_rate, loss, optimizer, output_scale, records, snapshots, "
            "spacing, steps; did you mean steps?",
        ),
        (
            {"overrides": [
                {"where": {"training.learning_rate": 1}, "set": {"initializations": 2}}
            ]},
            "overrides: initializations differ between cells that share one initialization folder, "
            "'width~4'; allowed: overrides where that folder's axes have a value",
        ),
        (
            {
                "measurements": [{"kind": "function", "when": ["prediction"]}],
                "training": {"learning_rate": 0.5, "steps": 3, "l2": 0.1},
            },
            "training.l2: 0.1 has no prediction at infinite width; allowed: 0.0",
        ),
        (
            {"measurements": 2 * EXPERIMENT["measurements"]},
            "measurements[1].kind: 'profile' appears twice; allowed once",
        ),
        (
            {"sweep": {"network.dropout": [0.0, 0.5]}},
            "measurements[0].kind: 'profile' is not allowed with network.dropout 0.5; allowed: "
            "gram, gram_spectrum, gram_rank, classification",
        ),
        (
            {"network": EXPERIMENT["network"] | {"normalization": "batch", "dropout": 0.1}},
            "measurements[0].kind: 'profile' is not allowed with network.normalization batch and "
            "network.dropout 0.1; allowed: gram, gram_spectrum, gram_rank, classification",
        ),
        (
            {"network": EXPERIMENT["network"] | {"normalization": "batch"},
             "training": EXPERIMENT["training"] | {"engine": "dense"}},
            "training.engine: 'dense' is not allowed with network.normalization; allowed: auto, "
            "general",
        ),
        (
            {"sweep": {"network.dropout": [0.5]},
             "training": EXPERIMENT["training"] | {"centred": True}},
            "training.centred: True is not allowed with network.dropout; allowed: False",
        ),
    ],
)  # fmt: skip
def test_mistakes_in_an_experiment(changes, problem):
    with pytest.raises(ConfigurationError) as error:
        build_plan(**changes)
    assert str(error.value) == f"a.yaml: experiments.e.{problem}"


def test_an_override_needs_its_section():
    experiment = {key: value for key, value in EXPERIMENT.items() if key != "training"}
    experiment["sweep"] = {"network.width": [4]}
    experiment["overrides"] = [{"where": {"network.width": 4}, "set": {"training.steps": 1}}]
    with pytest.raises(ConfigurationError, match=r"\.set\.training\.steps: the experiment has no"):
        check_plan(Plan(complete(wrap(e=experiment), SCHEMA), SCHEMA))


def test_errors_name_the_file_that_brought_the_mistake(tmp_path):
    good = wrap(e=EXPERIMENT)
    bad = {"experiments": {"e": {"sweep": {"network.width": ["8"]}}}}
    with pytest.raises(ConfigurationError, match=r"/1\.yaml: experiments\.e\.sweep"):
        load(tmp_path, good, bad, {"results": "results/y"})
    with pytest.raises(ConfigurationError, match=r"/0\.yaml: experiments\.e\.sweep"):
        load(tmp_path, wrap(e=EXPERIMENT | bad["experiments"]["e"]), {"results": "results/y"})
    with pytest.raises(ConfigurationError, match=r"/1\.yaml: experiments\.e\.seeds: -1"):
        load(tmp_path, good, {"experiments": {"e": {"seeds": -1}}}, {"results": "results/y"})


def test_a_misspelt_experiment_is_no_new_one(tmp_path):
    good, other = wrap(circle=EXPERIMENT), {"experiments": {"circel": {"seeds": 3}}}
    with pytest.raises(ConfigurationError) as error:
        load(tmp_path, good, other)
    assert str(error.value) == (
        f"{tmp_path}/1.yaml: experiments.circel: is no experiment of {tmp_path}/0.yaml, and a new "
        "one needs a title; allowed: circle; did you mean circle?"
    )
    whole = {"experiments": {"circel": EXPERIMENT}}
    assert load(tmp_path, good, whole).experiments == ["circle", "circel"]


def test_names_on_the_command_line(tmp_path):
    good = wrap(e=EXPERIMENT, f=EXPERIMENT | {"enabled": False})
    assert load(tmp_path, good).experiments == ["e"]
    assert load(tmp_path, good, overrides={"only": ["f"]}).experiments == []
    assert load(tmp_path, good, overrides={"only": ["ours"]}).experiments == ["e"]
    assert load(tmp_path, good, overrides={"only": ["e", "ours"]}).experiments == ["e"]
    message = r"^--config: only: 'g' is unknown; allowed: e, f, ours$"
    with pytest.raises(ConfigurationError, match=message):
        load(tmp_path, good, overrides={"only": ["g"]})
    with pytest.raises(ConfigurationError, match=r"^--config: threads: 0 is not allowed"):
        load(tmp_path, good, overrides={"threads": 0})


def test_rules_and_folders_are_no_names_of_experiments():
    rules = {"report", "logs", "benchmarks", "downloads"}
    for file in [ROOT / "Snakefile", *(ROOT / "rules").glob("*.smk")]:
        rules |= set(re.findall(r"^rule (\w+):", file.read_text(), re.MULTILINE))
    assert rules == RESERVED
    with pytest.raises(ConfigurationError, match=r"experiments\.report: this name is taken"):
        check_plan(Plan(complete(wrap(report=EXPERIMENT), SCHEMA), SCHEMA))


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
    base = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
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


def test_results_need_a_folder_that_can_be_written_to(tmp_path, monkeypatch):
    check_writable(tmp_path / "new" / "deep")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"^results: '.*/file/x': .* allowed: a folder"):
        check_writable(tmp_path / "file" / "x")
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(ConfigurationError, match="no write permission on"):
        check_writable(tmp_path / "new")
