"""Words for what the configuration says: captions, protocols and the report's view of a plan."""

import ast
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import ConfigurationError
from .imports import tables_drawn
from .planning import Plan


def check_figures(plan: Plan, figure_folder: str | Path) -> None:
    """Refuse figures without a script, or of tables that the experiment does not make.

    Raises:
        ConfigurationError: naming the experiment, the figure and what is allowed.
    """
    known = sorted(path.stem for path in Path(figure_folder).glob("*.py"))
    for name, block in plan.config["experiments"].items():
        where = f"{plan.source}: experiments.{name}.figures"
        for figure in block["figures"]:
            if figure not in known:
                raise ConfigurationError(
                    f"{where}: {figure!r} is unknown; allowed: {', '.join(known)}"
                )
            for table in missing_tables(plan, name, f"{figure_folder}/{figure}.py"):
                if not plan.config["partial"]:
                    made = ", ".join(plan.tables(name))
                    raise ConfigurationError(
                        f"{where}: {figure!r} draws table {table!r}; made here: {made}"
                    )


def missing_tables(plan: Plan, experiment: str, script: str | Path) -> list[str]:
    """Tables that a figure script draws and the experiment does not make."""
    return [table for table in tables_drawn(script) if table not in plan.tables(experiment)]


def caption(script: str | Path, block: Mapping[str, Any]) -> str:
    """Caption of a figure: its script's docstring, `{training.steps}` replaced from the experiment.

    Args:
        script: a file of scripts/figures.
        block: the experiment's block of the configuration.
    """
    tree = ast.parse(Path(script).read_text(encoding="utf-8"))
    text = " ".join((ast.get_docstring(tree) or "").split())
    return re.sub(r"\{([a-z_.]+)\}", lambda match: _value(block, match[1]), text)


def protocol(block: Mapping[str, Any]) -> list[list[str]]:
    """Exact values of an experiment as (key, value) pairs, swept keys with their list."""
    sweep = block.get("sweep", {})
    rows = []
    for section in ("task", "network", "training"):
        for key, value in block.get(section, {}).items():
            swept = sweep.get(f"{section}.{key}")
            text = f"{_join(swept)} (swept)" if swept else _text(value)
            rows.append([f"{section}.{key}", text])
    for entry in block["measurements"]:
        details = [f"{key} {_text(value)}" for key, value in entry.items() if key != "kind"]
        rows.append([f"measurement {entry['kind']}", ", ".join(details)])
    for key in ("seeds", "initializations"):
        rows.append([key, _text(block[key])])
    for rule in block["overrides"]:
        where, values = (_join(f"{k} = {v}" for k, v in rule[part].items()) for part in rule)
        rows.append([f"where {where}", values])
    return rows


def report_config(plan: Plan, figure_folder: str) -> dict[str, Any]:
    """What the report's job may know: every experiment's texts, protocol, captions and status."""
    experiments = {}
    for name, block in plan.config["experiments"].items():
        run = name in plan.experiments
        reason = "" if run else "disabled" if not block["enabled"] else "left out of this run"
        experiments[name] = {
            **{key: block[key] for key in ("title", "source", "question", "explanation")},
            "status": "run" if run else "not run",
            "status_reason": reason,
            "protocol": protocol(block),
            "captions": {
                figure: caption(f"{figure_folder}/{figure}.py", block)
                for figure in block["figures"]
            },
        }
    return {
        "results": plan.results,
        "experiments": experiments,
        "config": plan.config,
        "seeds": "Networks use seeds 0, 1, ... of their cell; data use the task's data_seed.",
    }


def _value(block: Mapping[str, Any], key: str) -> str:
    for part in key.split("."):
        block = block[part]
    return _text(block)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return _join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _join(values) -> str:
    return ", ".join(_text(value) for value in values)
