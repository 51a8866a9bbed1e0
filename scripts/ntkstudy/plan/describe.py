"""Words for what the configuration says: captions, protocols and the report's view of a plan."""

import ast
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ntkflow.errors import ConfigurationError, unknown

from ..schemas import keys_at_default
from .changes import changed_keys
from .configuration import read_yaml
from .planning import Plan
from .stages import STAGES

_CLAIM_ID = re.compile(r"^ *(?:- )?id: *(\S+)$", re.MULTILINE)


def caption(script: str | Path, block: Mapping[str, Any]) -> str:
    """Caption of a figure: its script's docstring, `{training.steps}` replaced from the experiment.

    Args:
        script: a file of scripts/figures.
        block: the experiment's block of the configuration.

    Raises:
        ConfigurationError: if the caption names a key that the experiment lacks.
    """
    text = " ".join((ast.get_docstring(_parse(script)) or "").split())
    try:
        return re.sub(r"\{([a-z_.]+)\}", lambda match: _value(block, match[1]), text)
    except KeyError as error:
        raise ConfigurationError(
            f"{script}: the caption names {error}, which this experiment does not have"
        ) from None


def needed_tables(script: str | Path) -> set[str]:
    """Tables that a figure or an animation draws: the literal `TABLES` of its script.

    Args:
        script: a file of scripts/figures or scripts/animations, which is read and not imported.

    Raises:
        ConfigurationError: if `TABLES` is missing or no tuple of names.
    """
    found = [
        ast.unparse(node.value)
        for node in _parse(script).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "TABLES"
    ]
    text = found[0] if found else "missing"
    names = _literal(text)
    if isinstance(names, tuple) and all(isinstance(name, str) for name in names):
        return set(names)
    raise ConfigurationError(
        f"{script}: TABLES is {text}; allowed: a tuple of the names of the tables that it draws"
    )


def drawable_figures(plan: Plan, experiment: str, folder: str) -> list[str]:
    """Figures of an experiment; of a partial run, those whose tables exist.

    Args:
        plan: the plan of the run.
        experiment: a name in it.
        folder: of the scripts; its name, figures or animations, is the key in the configuration.

    Raises:
        ConfigurationError: if a figure has no script, or the experiment does not make its tables.
    """
    figures, tables = [], set(plan.table_names(experiment))
    kind = Path(folder).name
    for index, name in enumerate(plan.block(experiment)[kind]):
        script = Path(folder, f"{name}.py")
        where = f"{plan.file_of(experiment)}: experiments.{experiment}.{kind}[{index}]"
        if not script.exists():
            raise unknown(where, name, sorted(path.stem for path in Path(folder).glob("*.py")))
        missing = sorted(needed_tables(script) - tables)
        if not missing:
            figures.append(name)
        elif not plan.config["partial"]:
            raise ConfigurationError(
                f"{where}: {name!r} needs the table {missing[0]}; allowed: figures that draw "
                f"{', '.join(sorted(tables))}"
            )
    return figures


def _parse(script: str | Path) -> ast.Module:
    return ast.parse(Path(script).read_text(encoding="utf-8"))


def _literal(text: str) -> Any:
    """Value of an expression that holds constants only, else None."""
    try:
        return ast.literal_eval(text)
    except ValueError:
        return None


def protocol(
    block: Mapping[str, Any], schema: Mapping, stages: Collection[str] = tuple(STAGES)
) -> tuple[list[list[str]], list[list[str]]]:
    """Exact values of an experiment as (key, value) pairs, swept keys with their list.

    Args:
        block: a completed block of the configuration.
        schema: `Plan.experiment_schema`, which knows the defaults.
        stages: names of those that the experiment has; a key that none of them reads is left out.

    Returns:
        Values that are swept or differ from the default, and the rest.
    """
    rules, sweep = schema["properties"], block.get("sweep", {})
    rows, defaults = [], []
    for section in ("task", "network", "training"):
        values = block.get(section, {})
        usual = keys_at_default(values, rules[section])
        axes = {key: None for key in sweep if key.startswith(f"{section}.")}
        for key, value in (_leaves(section, values) | axes).items():
            swept = sweep.get(key)
            if not swept and not any(STAGES[stage].reads_key(key) for stage in stages):
                continue
            text = f"{_join(swept)} (swept)" if swept else as_text(value)
            chosen = swept or key.split(".")[1] not in usual
            (rows if chosen else defaults).append([key, text])
    for entry in block["measurements"]:
        usual = keys_at_default(entry, rules["measurements"]["items"])
        for target, at_default in ((rows, False), (defaults, True)):
            keys = [key for key in entry if key != "kind" and (key in usual) == at_default]
            if keys:
                details = ", ".join(f"{key} {as_text(entry[key])}" for key in keys)
                target.append([f"measurement {entry['kind']}", details])
    counted = {STAGES[stage].seeds for stage in stages}
    for key in ("seeds", "initializations"):
        if key in counted:
            rows.append([key, as_text(block[key])])
    for rule in block["overrides"]:
        where, values = (
            _join(f"{key} = {as_text(value)}" for key, value in rule[part].items())
            for part in ("where", "set")
        )
        rows.append([f"where {where}", values])
    return rows, defaults


def check_picture(plan: Plan, folder: str) -> None:
    """Refuse a picture of the first screen that no run could draw.

    Args:
        plan: the plan of the run.
        folder: of the scripts of figures.

    Raises:
        ConfigurationError: if its experiment or its script is unknown.
    """
    if not plan.config["report"]["picture"]:
        return
    experiment, name = plan.config["report"]["picture"].split("/")
    where = f"{plan.source}: report.picture"
    if experiment not in plan.config["experiments"]:
        raise unknown(where, experiment, list(plan.config["experiments"]))
    if not Path(folder, f"{name}.py").exists():
        raise unknown(where, name, sorted(path.stem for path in Path(folder).glob("*.py")))


def check_findings(plan: Plan, files: Iterable[str]) -> None:
    """Refuse findings of the first screen that no file claims.

    Args:
        plan: the plan of the run.
        files: of claims.

    Raises:
        ConfigurationError: if one of them is unknown.
    """
    wanted = plan.config["report"]["findings"]
    texts = {file: Path(file).read_text(encoding="utf-8") for file in files} if wanted else {}
    # As claims are written, one line has the id; to parse all files would be a tenth of a plan.
    known = {name for text in texts.values() for name in _CLAIM_ID.findall(text)}
    if known.issuperset(wanted):
        return
    ids = [claim["id"] for file in texts for claim in read_yaml(file)["claims"]]
    for index, name in enumerate(wanted):
        if name not in ids:
            raise unknown(f"{plan.source}: report.findings[{index}]", name, ids)


def usual_only(overlays: Sequence[str], defaults: Mapping[str, Any]) -> list[str]:
    """`only` as the files of a run say it, without what its command line asks for.

    Args:
        overlays: files of the configuration on top of the default scale's.
        defaults: configuration of the default scale.
    """
    said = [data["only"] for data in map(read_yaml, overlays) if "only" in data]
    return [defaults["only"], *said][-1]


def report_config(
    plan: Plan,
    figure_folder: str,
    animation_folder: str = "scripts/animations",
    *,
    overlays: Sequence[str] = (),
    defaults: Mapping[str, Any] | None = None,
    plain_only: Sequence[str] | None = None,
) -> dict[str, Any]:
    """What the report's job may know: every experiment's texts, protocol, captions and status.

    Args:
        plan: the plan of the run.
        figure_folder: of the scripts of figures.
        animation_folder: of the scripts of animations.
        overlays: files of the configuration on top of the default scale's.
        defaults: configuration of the default scale; None: that of the plan.
        plain_only: `only` of a plain run, as `usual_only` reads it; None: that of the plan.
    """
    experiments = {}
    for name, block in plan.config["experiments"].items():
        run = name in plan.experiments
        stages = [stage for stage in STAGES if plan.has_stage(name, stage)]
        rows, usual = protocol(block, plan.experiment_schema, stages)
        reason = "" if run else "disabled" if not block["enabled"] else "left out of this run"
        experiments[name] = {
            **{key: block[key] for key in ("title", "source", "question", "explanation")},
            "status": "run" if run else "not run",
            "status_reason": reason,
            "protocol": rows,
            "defaults": usual,
            "tables": {
                table: plan.table_file(name, table) for table in plan.table_names(name) if run
            },
            "captions": {
                drawn: caption(f"{folder}/{drawn}.py", block)
                for folder in (figure_folder, animation_folder)
                for drawn in (drawable_figures(plan, name, folder) if run else [])
            },
        }
    changes = changed_keys(plan.config, defaults or plan.config, plan.experiments)
    return {
        "results": plan.results,
        "front": plan.config["report"],
        "experiments": experiments,
        "config": plan.config,
        "overlays": list(overlays),
        "only": plan.config["only"],
        "restricted": plain_only is not None and plan.config["only"] != list(plain_only),
        "changes": [
            [name, key, *("—" if value is None else as_text(value) or "none" for value in sides)]
            for name, key, *sides in changes
        ],
        "seeds": "Networks use seeds 0, 1, ... of their cell; data use the task's data_seed.",
    }


def _leaves(path: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted key, those of mappings inside each by its own."""
    leaves: dict[str, Any] = {}
    for key, value in values.items():
        inner = isinstance(value, Mapping) and value
        leaves |= _leaves(f"{path}.{key}", value) if inner else {f"{path}.{key}": value}
    return leaves


def _value(block: Mapping[str, Any], key: str) -> str:
    for part in key.split("."):
        block = block[part]
    return as_text(block)


def as_text(value: Any) -> str:
    """A value as YAML writes it, lists without brackets."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, list):
        return _join(value)
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return str(value)


def _join(values) -> str:
    return ", ".join(as_text(value) for value in values)
