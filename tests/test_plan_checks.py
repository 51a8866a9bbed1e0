"""Mistakes that a schema cannot find."""

import re

import pytest
from plans import EXPERIMENT, ROOT, SCHEMA, build_plan, load, wrap

from ntkflow.errors import ConfigurationError
from ntkstudy.plan.checks import check_plan
from ntkstudy.plan.planning import Plan
from ntkstudy.plan.stages import FOLDERS
from ntkstudy.schemas import complete

MODULE = {"kind": "module", "name": "a.b:C", "options": {"width": 2}}


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
            {"network": MODULE, "sweep": {"network.name.width": [4]}, "measurements": []},
            "sweep.network.name.width: cannot be swept; allowed: task.<key>, network.<key>, "
            "training.<key>",
        ),
        (
            {"sweep": {"network": [4]}},
            "sweep.network: cannot be swept; allowed: task.<key>, network.<key>, training.<key>",
        ),
        (
            {
                "network": MODULE,
                "sweep": {"network.options.seeds": [1], "task.data_seed": [0], "task.seeds": [1]},
                "measurements": [],
            },
            "sweep.network.options.seeds: two axes are called 'seeds'; "
            "allowed: different last parts",
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
            "measurements[0].kind: 'function' (prediction) is not allowed here: it needs plain "
            "gradient descent (training.optimizer sgd, l1 0, l2 0) "
            "(in cell width~4/learning_rate~0.5)",
        ),
        (
            {"measurements": 2 * EXPERIMENT["measurements"]},
            "measurements[1].kind: 'profile' appears twice; allowed once",
        ),
        (
            {"sweep": {"network.dropout": [0.0, 0.5]}},
            "measurements[0].kind: 'profile' (initialization) is not allowed here: it needs a "
            "network without dropout and batch normalisation (in cell dropout~0.5)",
        ),
        (
            {"network": EXPERIMENT["network"] | {"normalization": "batch", "dropout": 0.1}},
            "measurements[0].kind: 'profile' (initialization) is not allowed here: it needs a "
            "network without dropout and batch normalisation (in cell width~4/learning_rate~0.5)",
        ),
        (
            {"network": EXPERIMENT["network"] | {"normalization": "batch"},
             "measurements": [],
             "training": EXPERIMENT["training"] | {"engine": "dense"}},
            "training.engine: 'dense' is not allowed with network.normalization; allowed: auto, "
            "general, loop",
        ),
        (
            {"sweep": {"network.dropout": [0.5]},
             "measurements": [],
             "training": EXPERIMENT["training"] | {"centred": True}},
            "training.centred: True is not allowed with network.dropout; allowed: False",
        ),
    ],
)  # fmt: skip
def test_mistakes_in_an_experiment(changes, problem):
    with pytest.raises(ConfigurationError) as error:
        build_plan(**changes)
    assert str(error.value) == f"a.yaml: experiments.e.{problem}"


def test_what_is_measured_in_evaluation_takes_networks_with_modes():
    kinds = ("gram", "gram_spectrum", "gram_rank", "classification")
    build_plan(
        task={"kind": "mnist", "train_points": 10, "test_points": 10, "test_from": "test"},
        sweep={"network.dropout": [0.0, 0.5], "network.normalization": ["none", "batch"]},
        measurements=[{"kind": kind, "when": ["trained", "training"]} for kind in kinds],
    )


def test_flat_inputs_of_a_convolution_are_square():
    with pytest.raises(ConfigurationError) as error:
        build_plan(
            network={"kind": "cnn", "depth": 1, "width": 2},
            measurements=[],
            sweep={"network.width": [2]},
        )
    assert str(error.value) == (
        "a.yaml: experiments.e.network.kind: 'cnn' is not allowed here: with width 2, 2 inputs it "
        "needs square images as inputs (in cell width~2)"
    )


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


def test_folders_of_the_results_are_no_names_of_experiments():
    rules = "".join(file.read_text() for file in (ROOT / "rules").glob("*.smk"))
    assert set(re.findall(r"\{RESULTS\}/(\w+)/", rules)) == set(FOLDERS)
    for name in FOLDERS:
        problem = rf"experiments\.{name}: is a folder of the results; allowed: a name other than"
        with pytest.raises(ConfigurationError, match=problem):
            check_plan(Plan(complete(wrap(**{name: EXPERIMENT}), SCHEMA), SCHEMA))


def test_rules_may_be_names_of_experiments():
    check_plan(Plan(complete(wrap(train_ensemble=EXPERIMENT, all=EXPERIMENT), SCHEMA), SCHEMA))
