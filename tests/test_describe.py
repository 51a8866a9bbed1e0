import ast
import copy
from pathlib import Path

import pytest
from plans import ROOT, SCHEMA, build_plan, study_plan

from ntkflow.errors import ConfigurationError
from ntkstudy.plan.describe import (
    caption,
    check_findings,
    check_picture,
    drawable_figures,
    needed_tables,
    protocol,
    report_config,
    usual_only,
)
from ntkstudy.plan.planning import Plan

CONFIG = ROOT / "config"
FIGURES, ANIMATIONS = ROOT / "scripts" / "figures", ROOT / "scripts" / "animations"


@pytest.fixture
def plan():
    return study_plan()


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
    plan = study_plan(f"{scale}.yaml")
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


def test_the_protocol_leaves_out_what_no_stage_reads(plan):
    block, schema = plan.block("kernel_profile"), plan.experiment_schema
    assert {"seeds", "initializations"} <= dict(protocol(block, schema)[0]).keys()
    theory = dict(protocol(block, schema, ["dataset", "theory"])[0])
    assert not {"seeds", "initializations"} & theory.keys()
    assert "training.steps" in theory
    limit = dict(protocol({**block, "sweep": {}}, schema, ["dataset", "limit"])[0])
    assert not {"network.width", "training.steps"} & limit.keys()
    assert "network.depth" in limit


def test_a_picture_that_cannot_be_drawn_is_refused(plan):
    check_picture(plan, str(FIGURES))
    plan.config["report"]["picture"] = ""
    check_picture(plan, str(FIGURES))
    plan.config["report"]["picture"] = "kernel_profil/profiles"
    with pytest.raises(ConfigurationError, match=r"report\.picture: 'kernel_profil' is unknown"):
        check_picture(plan, str(FIGURES))
    plan.config["report"]["picture"] = "kernel_profile/profile"
    with pytest.raises(ConfigurationError, match=r"'profile' is unknown; .* did you mean profiles"):
        check_picture(plan, str(FIGURES))


def test_a_finding_that_nothing_claims_is_refused(plan, tmp_path):
    files = [str(file) for file in sorted((FIGURES.parents[1] / "config/claims").glob("*.yaml"))]
    check_findings(plan, files)
    own = tmp_path / "own.yaml"
    own.write_text("claims:\n  - {statement: s, id: own.claim}\n")
    plan.config["report"]["findings"].append("own.claim")
    check_findings(plan, [*files, str(own)])
    place = len(plan.config["report"]["findings"]) - 1
    with pytest.raises(ConfigurationError, match=rf"findings\[{place}\]: 'own.claim' is unknown"):
        check_findings(plan, files)


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


@pytest.mark.parametrize("names", [("losses",), ("b", "a"), ()])
def test_tables_of_a_figure_are_read_from_its_script(names, tmp_path):
    script = figure(tmp_path, f"import nowhere\n\nTABLES = {names!r}\nOTHER = 1\n")
    assert needed_tables(script) == set(names)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("OTHER = ('a',)\ndraw.TABLES = ('a',)", "missing"),
        ("TABLES = ('losses')", "'losses'"),
        ("TABLES = ('a', 1)", "('a', 1)"),
        ("TABLES = tuple(names)", "tuple(names)"),
    ],
)
def test_scripts_that_do_not_declare_their_tables_are_refused(text, value, tmp_path):
    script = figure(tmp_path, text)
    with pytest.raises(ConfigurationError) as error:
        needed_tables(script)
    assert str(error.value) == (
        f"{script}: TABLES is {value}; allowed: a tuple of the names of the tables that it draws"
    )


def used_tables(text: str) -> set[str]:
    """Names in `tables["..."]`, which must be all that is done with `tables`."""
    nodes = list(ast.walk(ast.parse(text)))
    uses = [node for node in nodes if isinstance(node, ast.Name) and node.id == "tables"]
    names = [
        ast.literal_eval(node.slice)
        for node in nodes
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "tables"
    ]
    assert len(names) == len(uses)
    return set(names)


def test_every_use_of_a_table_is_seen():
    assert used_tables('def draw(tables, cfg):\n    f(tables["a"], tables["b"]["c"])') == {"a", "b"}
    for hidden in ('tables.get("a")', "draw_all(tables)", "tables[name]"):
        with pytest.raises((AssertionError, ValueError)):
            used_tables(hidden)


@pytest.mark.parametrize("script", [*FIGURES.glob("*.py"), *ANIMATIONS.glob("*.py")])
def test_figures_declare_the_tables_that_they_use(script):
    assert needed_tables(script) == used_tables(script.read_text(encoding="utf-8"))


def test_unknown_figures_and_missing_tables_are_refused(plan):
    with pytest.raises(ConfigurationError) as error:
        drawable_figures(change(plan, figures=["profile"]), "kernel_profile", str(FIGURES))
    known = ", ".join(sorted(path.stem for path in FIGURES.glob("*.py")))
    assert str(error.value) == (
        "a.yaml: experiments.kernel_profile.figures[0]: 'profile' is unknown; "
        f"allowed: {known}; did you mean profiles?"
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


def test_a_run_is_restricted_where_the_command_line_asks_for_less(tmp_path):
    plan = build_plan()
    overlays = [str(tmp_path / name) for name in ("a.yaml", "b.yaml", "c.yaml")]
    for file, only in zip(overlays, ("only: [x]", "only: [y, z]", "threads: 1"), strict=True):
        Path(file).write_text(only)
    assert usual_only([], {"only": []}) == []
    assert usual_only(overlays, {"only": []}) == ["y", "z"]
    for usual, restricted in ((None, False), (plan.config["only"], False), (["other"], True)):
        found = report_config(plan, str(FIGURES), str(ANIMATIONS), plain_only=usual)
        assert found["restricted"] == restricted
