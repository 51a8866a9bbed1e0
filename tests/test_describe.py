import copy
from pathlib import Path

import pytest
from plans import ROOT, SCHEMA, build_plan

from ntkflow.errors import ConfigurationError
from ntkstudy.plan.describe import caption, drawable_figures, needed_tables, protocol, report_config
from ntkstudy.plan.loading import load_plan
from ntkstudy.plan.planning import Plan

CONFIG = ROOT / "config"
FIGURES, ANIMATIONS = ROOT / "scripts" / "figures", ROOT / "scripts" / "animations"


@pytest.fixture
def plan():
    return load_plan([CONFIG / "config.yaml"], CONFIG / "schema.yaml")


def change(plan, **changes) -> Plan:
    config = copy.deepcopy(plan.config)
    config["experiments"]["kernel_profile"] |= changes
    return Plan(config, SCHEMA, source="a.yaml")


def figure(folder: Path, text: str) -> Path:
    file = folder / "one.py"
    file.write_text(text)
    return file


def test_captions_fill_in_values(tmp_path):
    script = figure(tmp_path, '"""After {training.steps} steps\n\nof {task.points}."""\n')
    block = {"training": {"steps": 200.0}, "task": {"points": [1, 2]}}
    assert caption(script, block) == "After 200 steps of 1, 2."
    with pytest.raises(ConfigurationError, match=r"one\.py: the caption names 'training', which"):
        caption(script, {})


@pytest.mark.parametrize("scale", ["quick", "full"])
def test_own_captions_are_complete(scale):
    plan = load_plan([CONFIG / "config.yaml", CONFIG / f"{scale}.yaml"], CONFIG / "schema.yaml")
    for name in plan.experiments:
        for drawn in drawable_figures(plan, name, str(FIGURES)):
            text = caption(FIGURES / f"{drawn}.py", plan.block(name))
            assert len(text) > 40
            assert "{" not in text


def test_protocol_holds_exact_values(plan):
    rows, defaults = map(dict, protocol(plan.block("kernel_profile"), plan.experiment_schema))
    assert rows["network.width"] == "100, 500, 2048 (swept)"
    assert rows["network.sigma_b"] == "0.1"
    assert rows["where network.width = 2048"] == "seeds = 5, seeds_per_job = 5"
    assert rows["measurement profile"] == "when initialization, trained, limit"
    assert defaults["measurement profile"] == "anchor_angle 0"
    assert defaults["network.activation"] == "relu"
    assert defaults["network.sigma_w_last"] == "null"
    assert defaults["training.centred"] == "false"


def test_every_value_is_in_the_protocol_once(plan):
    sections = ("task", "network", "training")
    for name in plan.experiments:
        block = plan.block(name)
        rows, defaults = protocol(block, plan.experiment_schema)
        keys = [key for key, _ in rows + defaults if key.startswith(sections)]
        assert sorted(keys) == sorted(f"{s}.{key}" for s in sections for key in block.get(s, {}))


def test_options_of_a_module_are_in_the_protocol_one_by_one():
    network = {"kind": "module", "name": "a:B", "options": {"width": 2, "gain": {"first": 0.5}}}
    sweep = {"network.options.width": [4, 8], "network.options.gain.last": [1.5]}
    plan = build_plan(network=network, sweep=sweep, measurements=[])
    rows = dict(protocol(plan.block("e"), plan.experiment_schema)[0])
    assert {key: text for key, text in rows.items() if key.startswith("network")} == {
        "network.kind": "module",
        "network.name": "a:B",
        "network.options.width": "4, 8 (swept)",
        "network.options.gain.first": "0.5",
        "network.options.gain.last": "1.5 (swept)",
    }
    assert [cell.label for cell in plan.cells("e")] == ["last~1.5/width~4", "last~1.5/width~8"]


def test_protocol_does_not_depend_on_the_order_of_keys(plan):
    block = plan.block("kernel_profile")
    turned = [dict(reversed(rule.items())) for rule in block["overrides"]]
    schema = plan.experiment_schema
    assert protocol(block | {"overrides": turned}, schema) == protocol(block, schema)


def test_tables_of_a_figure_are_read_from_its_script(tmp_path):
    script = figure(tmp_path, 'def draw(tables, cfg):\n    return tables["a"], tables["b"]["c"]\n')
    assert needed_tables(script) == {"a", "b"}


def test_unknown_figures_and_missing_tables_are_refused(plan):
    with pytest.raises(ConfigurationError) as error:
        drawable_figures(change(plan, figures=["profile"]), "kernel_profile", str(FIGURES))
    known = ", ".join(sorted(path.stem for path in FIGURES.glob("*.py")))
    assert str(error.value) == (
        "a.yaml: experiments.kernel_profile.figures[0]: 'profile' is unknown; allowed: " + known
    )
    narrow = change(plan, measurements=[{"kind": "profile", "when": ["limit"]}])
    with pytest.raises(ConfigurationError, match=r"figures\[0\]: 'profiles' needs the table train"):
        drawable_figures(narrow, "kernel_profile", str(FIGURES))


def test_partial_runs_draw_what_they_can(plan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan.config["partial"] = True
    assert drawable_figures(plan, "kernel_profile", str(FIGURES)) == []
    file = Path(plan.stage_file("dataset", "kernel_profile", "all"))
    file.parent.mkdir(parents=True)
    file.touch()
    assert drawable_figures(plan, "kernel_profile", str(FIGURES)) == ["training_points"]


def test_report_knows_what_was_left_out(plan):
    assert "kernel_profile" not in change(plan, enabled=False).experiments
    for changed, reason in ((change(plan, enabled=False), "disabled"), (plan, "")):
        block = report_config(changed, str(FIGURES), str(ANIMATIONS))["experiments"][
            "kernel_profile"
        ]
        assert block["status_reason"] == reason
        assert block["status"] == ("not run" if reason else "run")
        assert bool(block["captions"]) is not bool(reason)
