"""Words for what the configuration says: captions, protocols and the report's view of a plan."""

import ast
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .planning import Plan


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


def report_config(plan: Plan, scripts: str) -> dict[str, Any]:
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
                name: caption(f"{scripts}/{kind}/{name}.py", block)
                for kind in ("figures", "animations")
                for name in block[kind]
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
